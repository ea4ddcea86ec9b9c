//! Banks on several nodes of memory.

extern crate std;

use std::boxed::Box;
use std::vec::Vec;

use granule_core::PageProvider;
use granule_core::provider::Node;

use super::machine::Window;
use super::*;
use crate::HostEnv;

type TestFrames = Frames<HostEnv, 8>;

const MIB: u64 = 1 << 20;
const BASE: u64 = 64 * MIB;

/// Four MiB, of which every other is on node 1; none is on node 2, one on 3.
fn frames(window: &Window) -> TestFrames {
    let frames = TestFrames::new();
    let map = [0, 1, 0, 1, 3].map(Node);
    let map: Vec<_> = (0..)
        .zip(map)
        .map(|(mib, node)| MemoryRange::usable(window.at(mib * MIB), MIB).on_node(node))
        .collect();
    // SAFETY: the window is the test's.
    unsafe { frames.init(&map, 4096, window.direct()) }.expect("a map");
    frames
}

#[test]
fn a_bank_is_on_one_node_and_requests_may_say_which() {
    let window = Window::new(BASE, 5 * MIB as usize);
    let frames = frames(&window);
    let nodes: Vec<_> = frames.banks().map(|bank| bank.node.0).collect();
    assert_eq!((nodes, frames.nodes()), (std::vec![0, 1, 0, 1, 3], 4));
    for (node, runs) in [(0, 2), (1, 2), (2, 0), (3, 1), (9, 0)] {
        let request = Request::new(200).on_node(Node(node));
        let taken: Vec<_> = core::iter::from_fn(|| frames.alloc_with(request).ok()).collect();
        assert_eq!(taken.len(), runs, "node {node}");
        assert!(taken.iter().all(|run| frames.node_of(run.start) == Some(Node(node))));
        // SAFETY: nobody uses them.
        taken.into_iter().for_each(|run| unsafe { frames.free(run) }.expect("ours"));
    }
    assert!(frames.alloc(200).is_ok(), "any node, where nothing is said");
    assert_eq!(frames.node_of(PhysAddr::new(BASE - 1)), None);
    assert!(std::format!("{frames}").contains(", node 3"));
}

#[test]
fn neighbours_on_one_node_are_one_bank() {
    let window = Window::new(BASE, 3 * MIB as usize);
    let frames = TestFrames::new();
    let range = |mib: u64, node| MemoryRange::usable(window.at(mib * MIB), MIB).on_node(Node(node));
    // SAFETY: the window is the test's.
    let done =
        unsafe { frames.init(&[range(0, 1), range(1, 1), range(2, 0)], 4096, window.direct()) };
    done.expect("a map");
    assert_eq!(frames.banks().map(|bank| bank.node.0).collect::<Vec<_>>(), [1, 0]);
    assert_eq!(TestFrames::new().nodes(), 1, "before there are frames");
}

#[test]
fn pages_are_reserved_on_a_node_or_refused() {
    let window: &'static Window = Box::leak(Box::new(Window::new(BASE, 5 * MIB as usize)));
    let frames: &'static TestFrames = Box::leak(Box::new(frames(window)));
    let pages = FramePages::new(frames);
    assert_eq!(pages.nodes(), 4);
    for node in [0, 1, 3].map(Node) {
        let reservation = pages.reserve_on(node, 100 << 10).expect("memory");
        assert_eq!(pages.node(reservation.start.as_ptr()), node);
        // SAFETY: from `reserve_on`, once, unused.
        unsafe { pages.release(reservation) }.expect("taken back");
    }
    for node in [2, 4, u16::MAX].map(Node) {
        assert!(pages.reserve_on(node, 4096).is_err(), "{node:?}");
    }
    assert!(pages.reserve_on(Node(3), 2 << 20).is_err(), "more than the node has");
    assert_eq!(pages.node(core::ptr::null()), Node(0));
    assert_eq!(frames.stats().frees, 3);
}
