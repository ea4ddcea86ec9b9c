//! The tree against a plain array of frames, and against its definition.

extern crate std;

use std::boxed::Box;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;

/// A tree whose frames are all free.
fn tree(frames: u32) -> Tree {
    let shape = Shape::new(frames);
    let words = Box::leak(std::vec![0; shape.words()].into_boxed_slice());
    let nodes = Box::leak(std::vec![Summary::NONE; shape.nodes()].into_boxed_slice());
    let mut tree = Tree::new(shape, words, nodes);
    tree.give(0, u64::from(frames));
    tree
}

/// F3, for every node.
fn check(tree: &Tree) {
    for level in 1..=tree.shape.depth {
        let nodes = tree.level(level);
        assert_eq!(nodes.len() as u64, u64::from(tree.frames()).div_ceil(span(level)));
        for (index, node) in nodes.iter().enumerate() {
            assert_eq!(*node, tree.summary(level, index), "F3 {level} {index}");
        }
    }
}

/// First fit, by definition.
fn first_fit(free: &[bool], fit: &Fit) -> Option<u64> {
    let last = (free.len() as u64).checked_sub(fit.len)?;
    (0..=last).find(|&at| {
        (at + fit.phase).is_multiple_of(fit.align)
            && free[at as usize..(at + fit.len) as usize].iter().all(|&free| free)
    })
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// Take the first fit of this length and alignment.
    Take(u64, u32),
    /// Give this part of what is taken back, as far as it is one run.
    Give(usize, usize),
    /// Punch single frames, this far apart.
    Comb(usize, usize),
}

fn step() -> impl Strategy<Value = Step> {
    let len = prop_oneof![1..4u64, 1..70u64, 1..600u64, 500..5000u64];
    prop_oneof![
        6 => (len, 0..13u32).prop_map(|(len, shift)| Step::Take(len, shift)),
        4 => (any::<usize>(), 1..2000usize).prop_map(|(at, len)| Step::Give(at, len)),
        1 => (any::<usize>(), 1..9usize).prop_map(|(at, step)| Step::Comb(at, step)),
    ]
}

fn run(frames: u32, first: u64, steps: &[Step]) {
    let mut tree = tree(frames);
    let mut free = std::vec![true; frames as usize];
    for &step in steps {
        match step {
            Step::Take(len, shift) => {
                let fit = Fit::new(len, 1 << shift, first);
                let found = tree.find(&fit);
                assert_eq!(found, first_fit(&free, &fit), "{fit:?}");
                if let Some(at) = found {
                    assert!(tree.all_free(at, at + len) && !tree.all_taken(at, at + len));
                    tree.take(at, at + len);
                    assert!(tree.all_taken(at, at + len) && !tree.all_free(at, at + len));
                    free[at as usize..(at + len) as usize].fill(false);
                }
            }
            Step::Give(at, len) => {
                let taken: Vec<usize> = (0..free.len()).filter(|&at| !free[at]).collect();
                if taken.is_empty() {
                    continue;
                }
                let at = taken[at % taken.len()];
                let end = (at..free.len()).find(|&end| free[end] || end == at + len);
                let end = end.unwrap_or(free.len());
                assert!(tree.all_taken(at as u64, end as u64));
                tree.give(at as u64, end as u64);
                free[at..end].fill(true);
            }
            Step::Comb(at, step) => {
                for at in (at % free.len()..free.len()).step_by(step).take(100) {
                    if free[at] {
                        tree.take(at as u64, at as u64 + 1);
                        free[at] = false;
                    }
                }
            }
        }
        let longest = free.split(|free| !free).map(<[bool]>::len).max();
        assert_eq!(tree.longest() as usize, longest.unwrap_or(0), "longest");
    }
    check(&tree);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_lowest_place_that_fits_is_found(
        frames in prop_oneof![1..70u32, 1..600u32, 500..5000u32, 4000..40_000u32],
        first in prop_oneof![Just(0u64), any::<u32>().prop_map(u64::from)],
        steps in prop::collection::vec(step(), 1..40),
    ) {
        run(frames, first, &steps);
    }
}

#[test]
fn alignments_beyond_the_bank_and_beyond_numbers_end_in_nothing() {
    let tree = tree(1000);
    for (first, align, expected) in [
        (0, 1 << 40, Some(0)),
        (1, 1 << 40, None),
        ((1 << 40) - 999, 1 << 40, Some(999)),
        (5, 1 << 63, None),
    ] {
        assert_eq!(tree.find(&Fit::new(1, align, first)), expected, "{first} {align}");
    }
    assert_eq!(tree.find(&Fit::new(1001, 1, 0)), None);
    assert_eq!(tree.find(&Fit::new(u64::MAX, 1, 0)), None);
}

#[test]
fn tables_take_forty_kibibytes_a_gibibyte() {
    for (frames, limit) in [(1 << 18, 40 << 10), (1 << 21, 320 << 10)] {
        let bytes = Shape::new(frames).bytes();
        assert!(bytes < limit, "{bytes} bytes for {frames} frames");
    }
    assert_eq!(Shape::new(u32::MAX).depth, LEVELS);
    assert_eq!(Shape::new(1).nodes(), 1);
}
