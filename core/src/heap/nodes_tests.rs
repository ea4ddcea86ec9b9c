//! Heaps over four nodes: what comes from where, and where it goes.

use core::ptr::NonNull;
use std::alloc::Layout;
use std::vec::Vec;

use proptest::prelude::*;

use super::{Heap, OwnedHeap};
use crate::base::config::Config;
use crate::base::limits::{Limits, Placement};
use crate::cache::guarded::Guarded;
use crate::check::arena::{Arena, Refuse};
use crate::check::four_nodes::{CPUS, CPUS_EACH, FourNodes, NODES, NodeCpu, pretend_to_be_near};
use crate::check::surroundings::{TestConfig, TestEnv, cases, for_ever, migrate, unless_miri};
use crate::provider::{Capabilities, Node};

const LOCAL: u8 = 0;
const INTERLEAVED: u8 = 1;
const FIRST: u8 = 2;

/// A heap that knows up to eight nodes.
struct Nodes<const PLACEMENT: u8>;

impl<const PLACEMENT: u8> Config for Nodes<PLACEMENT> {
    type Pages = FourNodes;
    type Front = Guarded<NodeCpu, TestEnv, CPUS>;
    type Env = TestEnv;

    const NODES: u16 = 8;
    const LIMITS: Limits = Limits {
        placement: match PLACEMENT {
            LOCAL => Placement::Local,
            INTERLEAVED => Placement::Interleaved,
            _ => Placement::FirstNode,
        },
        ..Limits::BALANCED
    };
}

/// Small, so that nodes need several regions. In Miri one has room for the test's objects.
const STEP: usize = unless_miri(512 << 10, 2 << 20);
const PLENTY: [usize; NODES as usize] = [32 << 20; NODES as usize];
const ALL: Capabilities = Capabilities::all().difference(Capabilities::REMAP);

fn heap<const PLACEMENT: u8>() -> &'static Heap<Nodes<PLACEMENT>> {
    migrate(0);
    for_ever(Heap::new(FourNodes::new(ALL, STEP, PLENTY), Guarded::new()))
}

/// In Miri objects of a class with small sheaves: so fewer fill some.
const WORDS: Layout = Layout::new::<[u64; unless_miri(8, 2048)]>();
/// Objects of the largest sheaf.
const LARGEST: usize = unless_miri(126, 30);
/// Where no more than one sheaf is filled.
const FEW: usize = unless_miri(100, 4);
/// More than fit the largest.
const COUNT: usize = unless_miri(3000, 36);

fn take<C: Config>(heap: &Heap<C>, layout: Layout, count: usize) -> Vec<NonNull<u8>> {
    let block = |_| NonNull::new(heap.alloc(layout)).expect("memory");
    let blocks: Vec<_> = (0..count).map(block).collect();
    // SAFETY: live, not empty.
    blocks.iter().for_each(|block| unsafe { block.write(7) });
    blocks
}

fn give<C: Config>(heap: &Heap<C>, layout: Layout, blocks: Vec<NonNull<u8>>) {
    // SAFETY: live, of that layout.
    blocks.into_iter().for_each(|block| unsafe { heap.dealloc(block, layout) });
}

/// How many of the blocks are on the node.
fn on_node<C: Config>(heap: &Heap<C>, node: u16, blocks: &[NonNull<u8>]) -> usize {
    let here = |block: &&NonNull<u8>| heap.node_of(block.as_ptr()) == Some(Node(node));
    blocks.iter().filter(here).count()
}

/// One CPU of each node, with the node.
fn cpus() -> impl Iterator<Item = (usize, u16)> {
    (0..NODES).map(|node| (usize::from(node) * CPUS_EACH, node))
}

/// All that is in use goes back, and the heap is whole.
fn ends_empty<C: Config>(heap: &Heap<C>) {
    heap.reclaim();
    let stats = heap.stats();
    assert_eq!((stats.live_bytes(), stats.slab_bytes, stats.cached_bytes), (0, 0, 0));
    heap.check().expect("whole");
}

#[test]
fn every_cpu_gets_memory_of_its_node() {
    let heap = heap::<LOCAL>();
    for size in [16, 64, 1000, 20_000, 100_000] {
        let layout = Layout::from_size_align(size, 8).expect("a layout");
        let count = (COUNT * 16 / size).clamp(4, unless_miri(COUNT, 20));
        for cpu in (0..CPUS).step_by(unless_miri(1, 2)) {
            migrate(cpu);
            let node = (cpu / CPUS_EACH) as u16;
            let blocks = take(heap, layout, count);
            assert_eq!(on_node(heap, node, &blocks), count, "{size} bytes, CPU {cpu}");
            let node_of = |block: &NonNull<u8>| heap.provider().node_of(*block);
            assert!(blocks.iter().all(|block| node_of(block) == node), "as the provider says");
            give(heap, layout, blocks);
        }
    }
    assert!(heap.provider().reserved().iter().all(|&bytes| bytes > 0));
    ends_empty(heap);
}

#[test]
fn what_others_free_goes_home_in_whole_sheaves() {
    let heap = heap::<LOCAL>();
    let blocks = take(heap, WORDS, COUNT);
    migrate(CPUS - 1);
    give(heap, WORDS, blocks);
    heap.check().expect("whole");
    // What is taken first is what was freed last: one sheaf.
    let own = take(heap, WORDS, COUNT);
    let local = on_node(heap, NODES - 1, &own);
    assert!(local + LARGEST >= COUNT, "{local} of {COUNT} are the taker's node's");
    migrate(0);
    let before = heap.provider().reserved();
    let home = take(heap, WORDS, COUNT / 2);
    assert_eq!(on_node(heap, 0, &home), home.len());
    assert_eq!(heap.provider().reserved(), before, "their memory is back");
    give(heap, WORDS, home);
    give(heap, WORDS, own);
    ends_empty(heap);
}

#[test]
fn what_is_freed_in_a_mixture_is_sorted() {
    let heap = heap::<LOCAL>();
    let mut mixture = Vec::new();
    let cpus = || cpus().take(unless_miri(4, 2));
    let by_node: Vec<_> = cpus()
        .map(|(cpu, _)| {
            migrate(cpu);
            take(heap, WORDS, COUNT)
        })
        .collect();
    for at in 0..COUNT {
        mixture.extend(by_node.iter().map(|blocks| blocks[at]));
    }
    migrate(2);
    give(heap, WORDS, mixture);
    heap.check().expect("whole");
    let live = heap.stats().live_bytes();
    assert_eq!(live, 0, "all that was freed is free or cached");
    for (cpu, node) in cpus() {
        migrate(cpu);
        let blocks = take(heap, WORDS, COUNT);
        let local = on_node(heap, node, &blocks);
        // But for the sheaf in use where they were freed.
        let least = if cpu == 2 { COUNT - LARGEST } else { COUNT };
        assert!(local >= least, "node {node}: {local} of {COUNT}");
        give(heap, WORDS, blocks);
    }
    ends_empty(heap);
}

#[test]
fn a_cache_that_comes_to_another_node_leaves_its_sheaves_behind() {
    let heap = heap::<LOCAL>();
    let blocks = take(heap, WORDS, COUNT);
    give(heap, WORDS, blocks);
    pretend_to_be_near(Some(2));
    let blocks = take(heap, WORDS, COUNT);
    let local = on_node(heap, 2, &blocks);
    assert!(local + LARGEST >= COUNT, "{local} of {COUNT}: the sheaf in use stays");
    give(heap, WORDS, blocks);
    pretend_to_be_near(None);
    ends_empty(heap);
}

#[test]
fn runs_of_other_nodes_are_not_kept() {
    let heap = heap::<LOCAL>();
    let layout = Layout::from_size_align(64 << 10, 4096).expect("a layout");
    let blocks = take(heap, layout, 8);
    migrate(CPUS - 1);
    give(heap, layout, blocks);
    assert_eq!(heap.stats().parked_bytes, 0);
    let own = take(heap, layout, 8);
    assert_eq!(on_node(heap, NODES - 1, &own), 8);
    give(heap, layout, own);
    assert!(heap.stats().parked_bytes > 0, "its own are");
    ends_empty(heap);
}

#[test]
fn a_node_without_memory_is_helped_by_others_and_then_all_is_used() {
    // Of several regions each, in Miri only the node's own.
    const REGION: usize = unless_miri(512 << 10, 256 << 10);
    let small = if cfg!(miri) { [1, 2, 1, 1] } else { [16, 2, 8, 4] }.map(|n| n * REGION);
    // Slabs are aligned to their size: of regions that small more is left over.
    let most = |bytes| bytes / 4 * unless_miri(3, 2);
    for layout in [Layout::new::<[u64; unless_miri(8, 1024)]>(), Layout::new::<[u64; 6000]>()] {
        migrate(CPUS_EACH);
        let pages = FourNodes::new(ALL, REGION, small);
        let heap: &Heap<Nodes<LOCAL>> = for_ever(Heap::new(pages, Guarded::new()));
        let mut blocks = Vec::new();
        while let Some(block) = NonNull::new(heap.alloc(layout)) {
            blocks.push(block);
        }
        let nodes: Vec<_> =
            blocks.iter().map(|block| heap.node_of(block.as_ptr()).expect("ours").0).collect();
        let first_other = nodes.iter().position(|&node| node != 1).expect("others help");
        assert!(first_other * layout.size() > most(small[1]), "its own node's come first");
        let bytes = blocks.len() * layout.size();
        assert!(bytes > most(small.iter().sum()), "{bytes} of all nodes are used");
        assert_eq!(heap.provider().reserved().iter().filter(|&&bytes| bytes > 0).count(), 4);
        // Memory that is free again is used again, on its own node first.
        give(heap, layout, blocks);
        let again = take(heap, layout, 4);
        assert!(again.iter().all(|block| heap.node_of(block.as_ptr()).is_some()));
        give(heap, layout, again);
        ends_empty(heap);
    }
}

#[test]
fn a_node_that_does_not_exist_counts_as_the_first() {
    let heap = heap::<LOCAL>();
    for node in [NODES, 7, 8, u16::MAX] {
        pretend_to_be_near(Some(node));
        let blocks = take(heap, WORDS, FEW);
        assert_eq!(on_node(heap, 0, &blocks), FEW, "node {node}");
        give(heap, WORDS, blocks);
        let reserved = crate::PageProvider::reserve_on(heap.provider(), Node(node), 4096);
        assert!(reserved.is_err(), "the provider refuses node {node}");
    }
    pretend_to_be_near(None);
    assert_eq!(heap.node_of(core::ptr::without_provenance(8)), None);
    assert_eq!(heap.provider().reserved().iter().filter(|&&bytes| bytes > 0).count(), 1);
    ends_empty(heap);
}

#[test]
fn interleaved_blocks_are_on_all_nodes_alike() {
    let heap = heap::<INTERLEAVED>();
    let layout = Layout::from_size_align(40_000, 8).expect("a layout");
    for layout in [layout, Layout::new::<[u64; 128]>()] {
        let count =
            if layout.size() < 4096 { unless_miri(COUNT, 136) } else { unless_miri(100, 24) };
        let blocks = take(heap, layout, count);
        for node in 0..NODES {
            let share = on_node(heap, node, &blocks);
            assert!(share * 8 > count && share * 2 < count, "node {node}: {share} of {count}");
        }
        give(heap, layout, blocks);
    }
    ends_empty(heap);
}

#[test]
fn where_nodes_are_not_wanted_all_is_on_the_first() {
    let heap = heap::<FIRST>();
    for cpu in 0..CPUS {
        migrate(cpu);
        let blocks = take(heap, WORDS, FEW);
        assert_eq!(on_node(heap, 0, &blocks), FEW);
        give(heap, WORDS, blocks);
    }
    assert_eq!(heap.provider().reserved()[1..], [0; 3]);
    ends_empty(heap);
}

/// Knows eight nodes, over a provider of one.
struct OneOfEight;

impl Config for OneOfEight {
    type Pages = Arena;
    type Front = Guarded<NodeCpu, TestEnv, CPUS>;
    type Env = TestEnv;

    const NODES: u16 = 8;
}

#[test]
fn one_node_takes_no_more_memory() {
    fn figures<C: Config<Pages = Arena>>(front: C::Front) -> [usize; 6] {
        let heap: &Heap<C> = for_ever(Heap::new(Arena::new(4096, ALL, 32 << 20), front));
        for cpu in [0, 1] {
            migrate(cpu);
            for size in [8, 64, 4000, 70_000] {
                let layout = Layout::from_size_align(size, 8).expect("a layout");
                let blocks = take(heap, layout, unless_miri(40, 6));
                give(heap, layout, blocks);
            }
        }
        let stats = heap.stats();
        let memory = [stats.own_bytes, stats.slab_bytes, stats.large_bytes];
        let [own, slabs, large] = memory;
        [own, slabs, large, stats.slots, stats.slabs, stats.cached_bytes]
    }
    let (one, eight) =
        (figures::<TestConfig>(Guarded::new()), figures::<OneOfEight>(Guarded::new()));
    assert_eq!(one, eight);
}

#[test]
fn a_fork_finds_the_locks_of_all_nodes_open_again() {
    let heap = heap::<LOCAL>();
    let blocks: Vec<_> = cpus()
        .flat_map(|(cpu, _)| {
            migrate(cpu);
            take(heap, WORDS, unless_miri(COUNT, FEW))
        })
        .collect();
    heap.before_fork();
    migrate(CPUS_EACH + 1);
    let lost = heap.try_alloc_nolock(Layout::new::<[u64; 32]>());
    assert!(lost.is_null(), "every lock is closed");
    // SAFETY: closed just now, by this thread.
    unsafe { heap.after_fork() };
    give(heap, WORDS, blocks);
    ends_empty(heap);
}

#[test]
fn calls_that_may_not_wait_get_what_there_is_of_any_node() {
    const SMALL: Layout = Layout::new::<[u64; 8]>();
    let heap = heap::<LOCAL>();
    let blocks = take(heap, SMALL, unless_miri(COUNT, 136));
    give(heap, SMALL, blocks);
    migrate(CPUS_EACH);
    let block = NonNull::new(heap.try_alloc_nolock(SMALL)).expect("another node's");
    assert_eq!(heap.node_of(block.as_ptr()), Some(Node(0)));
    // SAFETY: live, of that layout.
    unsafe { heap.dealloc_nolock(block, SMALL) };
    ends_empty(heap);
}

#[test]
fn a_heap_that_ends_gives_all_nodes_back() {
    migrate(0);
    let pages = FourNodes::new(ALL, STEP, PLENTY);
    let mut heap = OwnedHeap::<Nodes<LOCAL>>::new(pages, Guarded::new());
    for round in 0..2 {
        for cpu in 0..CPUS {
            migrate(cpu);
            take(&heap, WORDS, 2 * FEW);
        }
        assert!(heap.provider().reserved().iter().all(|&bytes| bytes > 0), "round {round}");
        heap.release_all().expect("taken back");
        assert_eq!(heap.provider().reserved(), [0; 4]);
    }
}

#[test]
fn a_refusal_on_the_way_loses_nothing() {
    // Until there are no more; in Miri a few of them.
    for refused in (0..).step_by(unless_miri(1, 4)) {
        let heap = heap::<LOCAL>();
        let node = heap.provider().of(1);
        node.refuse(Refuse::FromCall(refused));
        for cpu in [CPUS_EACH, 0, CPUS_EACH + 1] {
            migrate(cpu);
            let blocks = take(heap, WORDS, unless_miri(COUNT, 3 * FEW));
            heap.check().expect("whole");
            migrate(CPUS_EACH);
            give(heap, WORDS, blocks);
        }
        let calls = node.calls();
        node.refuse(Refuse::Nothing);
        ends_empty(heap);
        if calls <= refused {
            assert!(calls > 1, "{calls} calls");
            break;
        }
    }
}

proptest! {
    #![proptest_config(cases(40))]

    /// Blocks that any CPU takes and any frees keep their contents, and all go
    /// back.
    #[test]
    fn blocks_of_all_nodes_live_side_by_side(
        steps in proptest::collection::vec(
            (0..CPUS, prop_oneof![Just(16usize), Just(64), 8..3000usize, Just(50_000)], any::<u16>()),
            1..unless_miri(600, 12),
        ),
    ) {
        let heap = heap::<LOCAL>();
        let mut live: Vec<(NonNull<u8>, Layout, u8)> = Vec::new();
        let end = |(block, layout, seed): (NonNull<u8>, Layout, u8)| {
            // SAFETY: live, of that layout, with its ends written.
            unsafe {
                assert_eq!((block.read(), block.add(layout.size() - 1).read()), (seed, seed));
                heap.dealloc(block, layout);
            }
        };
        for (cpu, size, pick) in steps {
            migrate(cpu);
            let layout = Layout::from_size_align(size, 8).expect("a layout");
            for _ in 0..unless_miri(20, 5) {
                let block = NonNull::new(heap.alloc(layout)).expect("memory");
                let seed = pick as u8;
                // SAFETY: live, that large.
                unsafe { (block.write(seed), block.add(size - 1).write(seed)) };
                live.push((block, layout, seed));
            }
            if pick % 3 == 0 {
                migrate(usize::from(pick) % CPUS);
                let at = usize::from(pick) % live.len();
                live.drain(at..).for_each(end);
            }
        }
        heap.check().expect("whole");
        live.drain(..).for_each(end);
        ends_empty(heap);
    }
}
