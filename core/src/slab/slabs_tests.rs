//! Slabs of every class against a set of objects that are out.

use core::ptr::NonNull;
use std::collections::{BTreeMap, BTreeSet};
use std::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::base::bytes::is_all;
use crate::base::units::PAGE_SIZE;
use crate::check::arena::{Arena, Refuse};
use crate::check::surroundings::{TestConfig, cases, unless_miri};
use crate::provider::Capabilities;
use crate::slab::idle::Aim;

struct Model {
    arena: Arena,
    regions: Regions<TestConfig>,
    slabs: Slabs<TestConfig>,
    /// Objects that are out, by address, with their class.
    out: BTreeMap<usize, (Class, NonNull<u8>)>,
}

impl Model {
    fn new(can: Capabilities) -> Self {
        Self::with_pages(PAGE_SIZE, can)
    }

    /// Over machine pages of so many bytes.
    fn with_pages(page: usize, can: Capabilities) -> Self {
        let arena = Arena::new(page, can, 64 << 20);
        Self { arena, regions: Regions::new(), slabs: Slabs::new(), out: BTreeMap::new() }
    }

    /// Claims up to `count` and checks what came: in the last slots, aligned,
    /// apart from all others, inside their slab.
    fn claim(&mut self, class: Class, count: usize) -> Vec<NonNull<u8>> {
        let slots: Vec<_> = (0..count).map(|_| AtomicPtr::new(core::ptr::null_mut())).collect();
        let claimed = self.slabs.claim(&self.regions, &self.arena, Node(0), class, &slots);
        let (rest, got) = slots.split_at(count - claimed);
        assert!(rest.iter().all(|slot| slot.load(Relaxed).is_null()), "from the end");
        let mut new = Vec::new();
        for slot in got.iter().rev() {
            let object = NonNull::new(slot.load(Relaxed)).expect("an object");
            let start = object.addr().get();
            assert!(start.is_multiple_of(class.natural_align()), "aligned: {class:?}");
            let before = self.out.range(..=start).next_back();
            let apart = before.is_none_or(|(at, (other, _))| at + other.size() <= start);
            let behind = self.out.range(start..).next();
            let after = behind.is_none_or(|(at, _)| start + class.size() <= *at);
            assert!(apart && after, "objects overlap: {class:?}");
            for end in [object.as_ptr(), object.as_ptr().wrapping_add(class.size() - 1)] {
                let at = self.regions.locate(end).expect("in a region");
                assert_eq!(at.class(), class, "on pages of its class");
            }
            // SAFETY: the object is ours and that large.
            unsafe { object.write_bytes(class.byte(), class.size()) };
            self.out.insert(start, (class, object));
            new.push(object);
        }
        new
    }

    fn release(&mut self, objects: &[NonNull<u8>]) {
        let Some(first) = objects.first() else { return };
        let class = self.out[&first.addr().get()].0;
        for object in objects {
            let (of, _) = self.out.remove(&object.addr().get()).expect("out");
            assert_eq!(of, class);
            // SAFETY: the object is ours and that large.
            let bytes = unsafe { core::slice::from_raw_parts(object.as_ptr(), class.size()) };
            assert!(is_all(bytes, class.byte()), "somebody wrote to it");
        }
        let words: Vec<_> = objects.iter().map(|object| AtomicPtr::new(object.as_ptr())).collect();
        self.slabs.release(&self.regions, class, &words);
    }

    fn out_of(&self, class: Class) -> Vec<NonNull<u8>> {
        self.out.values().filter(|(of, _)| *of == class).map(|(_, object)| *object).collect()
    }

    /// S1 to S4 in every slab, and that the counts add up.
    fn check(&self) {
        let mut pages = 0;
        let mut out_of = [const { Vec::new() }; CLASSES];
        for (class, object) in self.out.values() {
            out_of[class.index()].push(*object);
        }
        for class in Class::all() {
            let info = class.info();
            let out = &out_of[class.index()];
            let stats = self.slabs.stats(class);
            assert_eq!(stats.capacity, stats.slabs * info.objects as usize);
            assert_eq!(stats.capacity - stats.free, out.len(), "live + free = capacity");
            pages += stats.slabs * info.slab_pages as usize;
            // Slabs with an object out, and how many there are of each.
            let mut used: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
            let span = info.slab_pages as usize * PAGE_SIZE;
            for object in out {
                let address = object.addr().get();
                used.entry(address & !(span - 1)).or_default().insert(address);
            }
            let state = self.slabs.nodes.first()[class.index()].lock();
            let mut listed = 0;
            state.for_each(|slab, fill| {
                listed += 1;
                assert_eq!(slab.fill(), fill, "S4: in the list of its fill");
                let start = slab.run_start().addr().get();
                assert!(start.is_multiple_of(span), "a slab is aligned to its size");
                let live = used.remove(&start).map_or(0, |objects| objects.len());
                assert_eq!(slab.free() as usize + live, info.objects as usize, "S1, S3");
                slab.check_bitmap();
            });
            assert_eq!(listed, state.partial);
            let full = used.values().all(|live| live.len() == info.objects as usize);
            assert!(full, "S4: a slab that is in no list is full");
            assert_eq!(listed as usize + used.len(), stats.slabs, "every slab is counted");
            drop(state);
        }
        self.slabs.check().expect("whole slabs");
        assert_eq!(self.regions.stats().used, pages * PAGE_SIZE);
    }
}

#[derive(Clone, Debug)]
enum Action {
    Claim(Class, usize),
    Release(Class, Vec<prop::sample::Index>),
    ReturnEmpty,
    Look,
    Purge(Aim),
    PurgeAll,
    Refuse(Refuse),
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let class = || prop::sample::select(std::vec![1u8, 2, 6, 12, 20, 28, 36, 44]);
    let class = move || class().prop_map(Class::from_index);
    let picks = prop::collection::vec(any::<prop::sample::Index>(), 1..130);
    let refuse = prop_oneof![
        2 => Just(Refuse::Nothing),
        1 => Just(Refuse::Commit),
        1 => Just(Refuse::Purge),
    ];
    let aim = (0..4u16, 1..1usize << 20).prop_map(|(looks, bytes)| Aim { looks, bytes });
    let action = prop_oneof![
        6 => (class(), 1..130usize).prop_map(|(class, count)| Action::Claim(class, count)),
        6 => (class(), picks).prop_map(|(class, picks)| Action::Release(class, picks)),
        1 => Just(Action::ReturnEmpty),
        2 => Just(Action::Look),
        2 => aim.prop_map(Action::Purge),
        1 => Just(Action::PurgeAll),
        1 => refuse.prop_map(Action::Refuse),
    ];
    prop::collection::vec(action, 1..unless_miri(60, 12))
}

proptest! {
    #![proptest_config(cases(32))]

    #[test]
    fn objects_are_apart_and_nothing_is_lost(
        actions in actions(),
        can in any::<u32>(),
        page in prop::sample::select(std::vec![4096usize, 16384]),
    ) {
        let can = Capabilities::from_bits_truncate(can) | Capabilities::RELEASE;
        let mut model = Model::with_pages(page, can);
        for action in actions {
            match action {
                Action::Claim(class, count) => drop(model.claim(class, count)),
                Action::Release(class, picks) => {
                    // In any order, each once.
                    let mut left = model.out_of(class);
                    let take = picks.len().min(left.len());
                    let some: Vec<_> = picks[..take]
                        .iter()
                        .map(|pick| left.swap_remove(pick.index(left.len())))
                        .collect();
                    model.release(&some);
                }
                Action::ReturnEmpty => model.slabs.return_empty(&model.regions),
                Action::Look => {
 model.slabs.look();
}
                Action::Purge(aim) => {
 model.slabs.purge_idle(&model.regions, &model.arena, aim);
}
                Action::PurgeAll => {
 model.slabs.purge_all(&model.regions, &model.arena);
}
                Action::Refuse(refuse) => model.arena.refuse(refuse),
            }
            model.check();
        }
        for class in Class::all() {
            let left = model.out_of(class);
            model.release(&left);
            // The last empty slab of a class is kept, no more.
            prop_assert!(model.slabs.stats(class).slabs <= 1);
        }
        model.check();
        model.slabs.return_empty(&model.regions);
        model.check();
        prop_assert_eq!(model.regions.stats().used, 0);
    }
}

/// Every object of a slab of every class, and the colours of many slabs.
#[test]
fn every_class_hands_out_all_it_has_in_changing_colours() {
    for class in Class::all().skip(unless_miri(0, 13)).step_by(unless_miri(1, 22)) {
        let info = class.info();
        let mut model = Model::new(Capabilities::all());
        let mut colours = BTreeSet::new();
        for _ in 0..3 {
            let objects = model.claim(class, info.objects as usize);
            assert_eq!(objects.len(), info.objects as usize, "{class:?}");
            let first = objects.iter().min().expect("objects");
            colours.insert(first.addr().get() & (info.slab_pages as usize * PAGE_SIZE - 1));
        }
        let step = class.natural_align().max(64);
        let possible = info.colour_room as usize / step + 1;
        assert_eq!(colours.len(), possible.min(3), "{class:?}");
        model.check();
        let all = model.out_of(class);
        model.release(&all);
        model.check();
    }
}

/// Claims come from present slabs, the fullest first, before a new one.
#[test]
fn sparse_slabs_run_empty_and_go_back() {
    let class = Class::of(1024, 8);
    let per_slab = class.info().objects as usize;
    let mut model = Model::new(Capabilities::all());
    let mut slabs: Vec<_> = (0..4).map(|_| model.claim(class, per_slab)).collect();
    // One nearly empty, one half empty, the others full.
    model.release(&slabs[0].split_off(1));
    model.release(&slabs[1].split_off(per_slab / 2));
    let claimed = model.claim(class, 1);
    let span = class.info().slab_pages as usize * PAGE_SIZE - 1;
    let same =
        |one: NonNull<u8>, two: NonNull<u8>| one.addr().get() | span == two.addr().get() | span;
    assert!(same(claimed[0], slabs[1][0]), "from the fuller one");
    model.release(&[slabs[0][0]]);
    assert_eq!(model.slabs.stats(class).slabs, 3, "the empty one went back");
    model.check();
}

fn one(class: Class) -> (Model, NonNull<u8>) {
    let mut model = Model::new(Capabilities::all());
    // Two, so that the slab does not go back with the first.
    let objects = model.claim(class, 2);
    (model, objects[0])
}

fn release_raw(model: &Model, class: Class, pointers: &[*mut u8]) {
    let words: Vec<_> = pointers.iter().map(|&pointer| AtomicPtr::new(pointer)).collect();
    model.slabs.release(&model.regions, class, &words);
}

const CLASS: Class = Class::of(48, 8);

#[test]
#[should_panic(expected = "double free")]
fn an_object_released_twice_is_a_double_free() {
    let (model, object) = one(CLASS);
    release_raw(&model, CLASS, &[object.as_ptr()]);
    release_raw(&model, CLASS, &[object.as_ptr()]);
}

#[test]
#[should_panic(expected = "double free")]
fn an_object_twice_in_one_batch_is_a_double_free() {
    let (model, object) = one(CLASS);
    release_raw(&model, CLASS, &[object.as_ptr(), object.as_ptr()]);
}

#[test]
#[should_panic(expected = "invalid pointer")]
fn a_pointer_into_an_object_is_invalid() {
    let (model, object) = one(CLASS);
    release_raw(&model, CLASS, &[object.as_ptr().wrapping_add(16)]);
}

#[test]
#[should_panic(expected = "invalid pointer")]
fn a_pointer_of_nobody_s_is_invalid() {
    let (model, _) = one(CLASS);
    let mut foreign = 0u64;
    release_raw(&model, CLASS, &[(&raw mut foreign).cast()]);
}

#[test]
#[should_panic(expected = "wrong layout")]
fn an_object_of_another_class_has_a_wrong_layout() {
    let (model, object) = one(CLASS);
    release_raw(&model, Class::of(64, 8), &[object.as_ptr()]);
}

#[test]
#[should_panic(expected = "invalid pointer")]
fn an_object_of_a_slab_that_went_back_is_invalid() {
    let mut model = Model::new(Capabilities::all());
    let objects = model.claim(CLASS, 2);
    model.release(&objects);
    model.slabs.return_empty(&model.regions);
    release_raw(&model, CLASS, &[objects[0].as_ptr()]);
}

/// The bytes that a walk purges, without a limit.
fn purge(model: &Model, looks: u16) -> usize {
    let aim = Aim { looks, bytes: usize::MAX };
    model.slabs.purge_idle(&model.regions, &model.arena, aim)
}

/// A slab of 1 KiB objects with one out on each of the pages `kept`.
fn sparse(kept: &[usize]) -> (Model, Class, Vec<NonNull<u8>>) {
    let class = Class::of(1024, 8);
    let mut model = Model::new(Capabilities::all());
    let mut all = model.claim(class, class.info().objects as usize);
    all.sort();
    let (keep, free): (Vec<_>, Vec<_>) =
        all.iter().enumerate().partition(|(at, _)| at % 4 == 0 && kept.contains(&(at / 4)));
    let of =
        |list: Vec<(usize, &NonNull<u8>)>| list.into_iter().map(|(_, o)| *o).collect::<Vec<_>>();
    model.release(&of(free));
    (model, class, of(keep))
}

#[test]
fn pages_without_an_object_go_back_once_they_have_rested() {
    let (mut model, class, kept) = sparse(&[0]);
    assert_eq!(purge(&model, 1), 0, "it changed after the last look");
    model.slabs.look();
    assert_eq!(purge(&model, 2), 0, "one look is no two");
    model.slabs.look();
    assert_eq!(purge(&model, 2), 3 * PAGE_SIZE);
    assert_eq!(model.slabs.stats(class).purged, 3);
    model.check();
    let range = model.arena.take_purges();
    assert_eq!(range, [(kept[0].addr().get() + PAGE_SIZE, 3 * PAGE_SIZE)]);
    model.slabs.look();
    assert_eq!(purge(&model, 1) + model.slabs.purge_all(&model.regions, &model.arena), 0, "once");
    // What is kept is taken first, then what went back.
    let near = model.claim(class, 3);
    assert!(near.iter().all(|object| object.addr().get() < kept[0].addr().get() + PAGE_SIZE));
    assert_eq!(model.slabs.stats(class).purged, 3);
    model.claim(class, 1);
    assert_eq!(model.slabs.stats(class).purged, 2);
    model.check();
}

#[test]
fn single_pages_go_back_only_where_memory_is_short() {
    let (model, class, _) = sparse(&[0, 2]);
    model.slabs.look();
    assert_eq!(purge(&model, 1), 0);
    assert_eq!(model.slabs.purge_all(&model.regions, &model.arena), 2 * PAGE_SIZE);
    assert_eq!(model.slabs.stats(class).purged, 2);
    model.check();
}

#[test]
fn a_purge_that_is_refused_changes_nothing_and_is_not_tried_again() {
    let (mut model, class, kept) = sparse(&[0]);
    model.slabs.look();
    model.arena.refuse(Refuse::Purge);
    assert_eq!(purge(&model, 1), 0);
    assert_eq!(model.arena.calls(), 1);
    model.slabs.look();
    assert_eq!((purge(&model, 1), model.arena.calls()), (0, 1));
    assert_eq!(model.slabs.stats(class).purged, 0);
    model.check();
    model.arena.refuse(Refuse::Nothing);
    let again = model.claim(class, 1);
    model.release(&again);
    model.slabs.look();
    assert_eq!(purge(&model, 1), 3 * PAGE_SIZE, "after it has changed");
    model.release(&kept);
    model.check();
}

#[test]
fn of_a_slab_that_goes_back_its_region_knows_what_went_before() {
    let (mut model, class, kept) = sparse(&[0]);
    model.slabs.purge_all(&model.regions, &model.arena);
    model.release(&kept);
    model.slabs.return_empty(&model.regions);
    assert_eq!(model.slabs.stats(class).slabs, 0);
    assert_eq!(model.regions.stats().resident_free, PAGE_SIZE);
    model.check();
}
