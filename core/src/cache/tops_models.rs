//! Tops that another CPU looks below.

use super::*;
use crate::cache::sheaf::Sheaf;
use crate::check::model::{Model, spawn};
use crate::check::model_surroundings::Owned;

const CLASS: Class = Class::from_index(1);

/// A block, and what lies below it: seven marks and an object.
#[repr(C, align(64))]
struct Blocks {
    below: [usize; 8],
    block: [usize; 8],
}

/// One thread puts a new block into use, another one counts what is in it.
#[test]
fn who_sees_a_top_sees_where_its_block_begins() {
    Model::new(|| {
        let tops = Owned::new(Tops::new());
        let blocks = Owned::new(Blocks { below: [1, 1, 1, 1, 1, 1, 1, 16], block: [0; 8] });
        let (tops, blocks) = (tops.lend(), blocks.lend());
        let first = spawn(move || {
            let block = NonNull::from(&blocks.block).cast();
            // SAFETY: the smallest order, aligned, and nobody else's.
            let sheaf = unsafe { Sheaf::format_first(block, CLASS, 0) };
            // SAFETY: alone on the CPU, and the sheaf is new.
            assert!(unsafe { tops.swap(CLASS, Top::sentinel(), sheaf.into_top()) });
        });
        assert_eq!(tops.observe(CLASS).len(), 0, "beyond the block");
        first.join();
    })
    .verify(&["tops.rs: ", "sheaf.rs: "]);
}
