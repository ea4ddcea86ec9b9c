//! The depot, two threads: each sheaf comes out once, with its objects.

use std::vec::Vec;

use super::*;
use crate::check::model::{LOCK, Model, spawn};
use crate::check::model_surroundings::{ALL, ModelConfig, Objects, Owned, SheafBlock, numbers};

const CLASS: Class = Class::from_index(1);

#[test]
fn a_sheaf_comes_out_once() {
    Model::new(|| {
        const FULL: usize = 6;
        let depot = Owned::new(Depot::<ModelConfig<ALL>>::new());
        let objects = Objects::<{ 2 * FULL }>::new();
        let blocks: [_; 2] = core::array::from_fn(|_| SheafBlock::new());
        let (depot, objects) = (depot.lend(), objects.lend());
        let pass = move |block: &'static SheafBlock, first| {
            let mut sheaf = block.format(CLASS);
            for number in first..first + FULL {
                let object = objects.object(number);
                objects.number(object.as_ptr());
                sheaf.push(object);
            }
            // Room for one: the other is given back.
            let back = depot.put(CLASS, sheaf, 1);
            let kept = back.or_else(|| depot.take(CLASS));
            kept.map_or(Vec::new(), |sheaf| numbers(sheaf.into_top(), objects))
        };
        let [mine, others] = blocks.each_ref().map(Owned::lend);
        let other = spawn(move || pass(others, FULL));
        let mut all = pass(mine, 0);
        all.extend(other.join());
        while let Some(sheaf) = depot.take(CLASS) {
            all.extend(numbers(sheaf.into_top(), objects));
        }
        all.sort_unstable();
        assert!(all.iter().copied().eq(0..2 * FULL), "each object once");
        assert_eq!(depot.bytes(CLASS), 0);
    })
    .verify(&[LOCK]);
}
