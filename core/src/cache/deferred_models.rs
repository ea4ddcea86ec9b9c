//! The stack of deferred blocks, two threads: each block comes out once, with
//! what its last user did to it.

use std::sync::Arc;
use std::vec::Vec;

use super::*;
use crate::check::model::{Model, spawn};
use crate::check::model_surroundings::ModelEnv;

/// A stack and its blocks, which are writable as long as somebody has them.
struct Stack {
    deferred: Deferred<ModelEnv>,
    blocks: [Block; 3],
}

#[repr(align(8))]
struct Block(core::cell::UnsafeCell<[usize; 2]>);

// SAFETY: the model hands each block to one thread at a time.
unsafe impl Sync for Block {}

impl Stack {
    fn new() -> Arc<Self> {
        Arc::new(Self { deferred: Deferred::new(), blocks: [const { Block::new() }; 3] })
    }

    /// Uses a block that is ours, and gives it up.
    fn push(&self, number: usize) {
        let block = &self.blocks[number];
        plain::wrote(block.0.get());
        let block = NonNull::new(block.0.get()).expect("not null").cast();
        // SAFETY: aligned to 8, and given up.
        unsafe { self.deferred.push(block) };
    }

    /// Takes all blocks and uses them; their numbers.
    fn take(&self) -> Vec<usize> {
        let taken: Vec<_> = self.deferred.take().collect();
        let number = |block: &NonNull<u8>| {
            let own = |own: &Block| own.0.get().addr() == block.addr().get();
            self.blocks.iter().position(own).expect("one of ours")
        };
        let numbers: Vec<_> = taken.iter().map(number).collect();
        numbers.iter().for_each(|number| plain::wrote(self.blocks[*number].0.get()));
        numbers
    }
}

impl Block {
    const fn new() -> Self {
        Self(core::cell::UnsafeCell::new([0; 2]))
    }
}

#[test]
fn a_block_comes_out_once() {
    Model::new(|| {
        let stack = Stack::new();
        let other = Arc::clone(&stack);
        let other = spawn(move || {
            other.push(0);
            let mut taken = other.take();
            other.push(1);
            taken.extend(other.take());
            taken
        });
        stack.push(2);
        let mut all = stack.take();
        all.extend(other.join());
        all.extend(stack.take());
        all.sort_unstable();
        assert_eq!(all, [0, 1, 2], "N1");
    })
    .verify(&["deferred.rs: self.head"]);
}
