//! What is kept for nodes.

use std::vec::Vec;

use super::{Near, PerNode};
use crate::base::class::Class;
use crate::base::units::PageCount;
use crate::check::arena::{Arena, Refuse};
use crate::check::surroundings::{TestConfig, TestEnv};
use crate::provider::{Capabilities, Node};
use crate::region::Regions;

#[test]
fn each_node_has_one_made_when_it_is_asked_for() {
    let arena = Arena::new(4096, Capabilities::all(), 16 << 20);
    let regions = Regions::<TestConfig>::new();
    let kept = PerNode::<u64, TestEnv>::new(10);
    assert_eq!((kept.get(Node(0)), kept.get(Node(3))), (Some(&10), None));
    let make = |node, value| kept.get_or_make(&regions, &arena, Node(node), || value).copied();
    assert_eq!(regions.stats().own, 0);
    assert_eq!((make(3, 13), make(1, 11)), (Some(13), Some(11)));
    assert_eq!((make(3, 99), make(0, 99)), (Some(13), Some(10)), "made once");
    assert_eq!(regions.stats().own, 2 * 4096, "a page each");
    let all: Vec<_> = kept.all().map(|(node, value)| (node.0, *value)).collect();
    assert_eq!(all, [(0, 10), (1, 11), (3, 13)]);
    regions.walk(|_| Ok(())).expect("whole");
}

#[test]
fn without_memory_there_is_none() {
    let arena = Arena::new(4096, Capabilities::all(), 16 << 20);
    let regions = Regions::<TestConfig>::new();
    let kept = PerNode::<u64, TestEnv>::new(0);
    arena.refuse(Refuse::FromCall(0));
    assert_eq!(kept.get_or_make(&regions, &arena, Node(1), || 1), None);
    arena.refuse(Refuse::Nothing);
    assert_eq!(kept.get_or_make(&regions, &arena, Node(1), || 1), Some(&1));
}

#[test]
fn a_heap_of_one_node_takes_every_run_from_it() {
    let arena = Arena::new(4096, Capabilities::all(), 16 << 20);
    let regions = Regions::<TestConfig>::new();
    for near in [Near::Only(Node(0)), Near::First(Node(0)), Near::First(Node(7))] {
        let run = regions.take(&arena, near, PageCount(1), 1, Class::LARGE).expect("memory");
        assert_eq!(regions.node_of(run.start.as_ptr()), Node(0));
    }
    assert_eq!(arena.reserves(), 1);
}
