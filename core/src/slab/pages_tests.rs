//! Pages and objects of slabs of every class and colour, by counting bytes.

use std::vec::Vec;

use super::*;
use crate::base::class::Class;
use crate::check::surroundings::unless_miri;
use crate::slab::header::tests::slab_of;

/// The pages that the bytes of an object lie in.
fn pages_by_bytes(slab: Slab, index: u32) -> u64 {
    let start = slab.object(index).addr().get() - slab.run_start().addr().get();
    let ends = [start, start + slab.info().size as usize - 1].map(|at| at / PAGE_SIZE);
    (ends[0]..=ends[1]).fold(0, |pages, page| pages | 1 << page)
}

#[test]
fn pages_and_objects_agree() {
    for class in Class::all().skip(unless_miri(0, 9)).step_by(unless_miri(1, 13)) {
        for turn in 0..3 {
            let slab = slab_of(class, turn);
            let pages = slab.info().slab_pages;
            let objects = 0..slab.info().objects;
            let by_bytes: Vec<_> = objects.clone().map(|at| pages_by_bytes(slab, at)).collect();
            assert!(objects.clone().all(|at| slab.pages_of(at) == by_bytes[at as usize]));
            let stretches = (0..pages).map(|page| page..page + 1).chain([0..pages, 1..pages]);
            for stretch in stretches {
                let on = slab.objects_on(&stretch);
                let touches = |at: &u32| by_bytes[*at as usize] & bits_of(&stretch) != 0;
                assert!(objects.clone().filter(touches).eq(on), "{class:?} {stretch:?}");
            }
        }
    }
}

#[test]
fn a_page_is_free_when_all_that_touch_it_are() {
    for class in Class::all().skip(unless_miri(0, 9)).step_by(unless_miri(1, 13)) {
        let slab = slab_of(class, 1);
        let (objects, pages) = (slab.info().objects, slab.info().slab_pages);
        let used = [objects / 3, objects - 1];
        for index in used {
            let (word, bit) = Slab::place(index);
            slab.take(word, bit);
        }
        let in_use = used.iter().fold(0, |pages, &index| pages | pages_by_bytes(slab, index));
        let held = (0..objects).fold(0, |pages, index| pages | pages_by_bytes(slab, index));
        assert_eq!(slab.free_pages(1), held & !in_use, "{class:?}");
        let mut seen = 0;
        for stretch in slab.stretches(1, 1) {
            assert_eq!(seen & bits_of(&stretch), 0, "each page once");
            seen |= bits_of(&stretch);
            let count = slab.take_pages(&stretch);
            assert_eq!(count, slab.objects_on(&stretch).len());
        }
        assert_eq!(seen, held & !in_use);
        for stretch in (Stretches { free: seen, purged: 0, unit: 1, least: 1 }) {
            assert!(slab.give_pages(&stretch).is_ok());
            assert!(slab.mark_purged(&stretch) > 0);
        }
        assert_eq!(slab.free() as usize, objects as usize - used.len());
        assert_eq!(slab.check(), Ok(()));
        assert_eq!(slab.stretches(1, 1).count(), 0, "all gone");
        assert!(bits_of(&(0..pages)) & !slab.purged() & !bits_of(&slab.kept_pages()) == 0);
    }
}

#[test]
fn objects_on_pages_that_went_back_are_claimed_last() {
    let class = Class::of(160, 8);
    let slab = slab_of(class, 0);
    slab.mark_purged(&(0..2));
    let objects = slab.info().objects as usize;
    let kept = (0..objects as u32).filter(|&at| pages_by_bytes(slab, at) & 3 == 0).count();
    let out: Vec<_> = (0..objects).map(|_| AtomicPtr::new(core::ptr::null_mut())).collect();
    assert_eq!(slab.claim_sparse(&out[..kept]), kept);
    assert_eq!(slab.purged(), 3, "nothing of them was taken");
    assert_eq!(slab.check(), Ok(()));
    assert_eq!(slab.claim_sparse(&out[..1]), 1);
    assert_eq!(slab.purged(), 2, "the lowest first");
    assert_eq!(slab.claim_sparse(&out), objects - kept - 1);
    assert_eq!((slab.purged(), slab.free()), (0, 0));
    assert_eq!(slab.check(), Ok(()));
}

#[test]
fn stretches_are_whole_machine_pages() {
    // Of the first unit one page has been taken of again since it went back.
    let stretches = Stretches { free: 0xfff, purged: 0xf0e, unit: 4, least: 1 };
    assert!(stretches.eq(core::iter::once(0..8)));
    let stretches = Stretches { free: 0xff0f, purged: 0x0f07, unit: 4, least: 1 };
    assert!(stretches.eq([0..4, 12..16]));
}

/// Also of machine pages of 16 KiB, of which the last may hold no object in part.
#[test]
fn a_slab_that_is_full_has_no_page_given_back() {
    for class in Class::all().skip(unless_miri(0, 9)).step_by(unless_miri(1, 5)) {
        let out: Vec<_> = (0..class.info().objects).map(|_| AtomicPtr::default()).collect();
        for unit in [1, 4].into_iter().filter(|&unit| unit <= class.info().slab_pages) {
            let slab = slab_of(class, 0);
            for pages in slab.stretches(unit, 1).collect::<Vec<_>>() {
                slab.take_pages(&pages);
                assert!(slab.give_pages(&pages).is_ok());
                slab.mark_purged(&pages);
            }
            assert!(slab.purged() != 0 && slab.stretches(unit, 1).next().is_none());
            assert_eq!(slab.claim_sparse(&out), out.len());
            assert_eq!((slab.free(), slab.purged()), (0, 0), "{class:?} by {unit}");
        }
    }
}
