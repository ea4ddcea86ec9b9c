//! The stack of deferred blocks, two threads: each block comes out once, with
//! what its last user did to it.

use std::sync::Arc;
use std::vec::Vec;

use super::*;
use crate::base::sync::modelled::{interrupt_after, interrupt_now};
use crate::check::model::{Model, spawn};
use crate::check::model_surroundings::{ModelEnv, OneThread};

/// A stack and its blocks, which are writable as long as somebody has them.
struct Stack<E = ModelEnv> {
    deferred: Deferred<E>,
    blocks: [Block; 3],
}

#[repr(align(8))]
struct Block(core::cell::UnsafeCell<[usize; 2]>);

// SAFETY: the model hands each block to one thread at a time.
unsafe impl Sync for Block {}

impl<E: Environment> Stack<E> {
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
        self.numbers(self.deferred.take())
    }

    /// Uses blocks taken out; their numbers.
    fn numbers(&self, taken: Taken) -> Vec<usize> {
        let taken: Vec<_> = taken.collect();
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
        let stack = Stack::<ModelEnv>::new();
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

/// What a thread takes out, and what is left, when its handler comes after so many
/// accesses and puts another block in.
fn handled(accesses: usize, take: fn(&Deferred<OneThread>) -> Taken) {
    let stack = Stack::<OneThread>::new();
    stack.push(0);
    let own = Arc::clone(&stack);
    interrupt_after(accesses, move || own.push(1));
    let mut all = stack.numbers(take(&stack.deferred));
    stack.push(2);
    interrupt_now();
    all.extend(stack.take());
    all.sort_unstable();
    assert_eq!(all, [0, 1, 2], "N1");
}

#[test]
fn a_handler_of_the_only_thread_loses_no_block() {
    let mut steps = 1;
    while Model::new(move || handled(steps, Deferred::take)).comes() {
        steps += 1;
    }
    assert!(steps > 2, "only {steps} steps");
}

/// As other updates are made where a process has one thread.
#[test]
fn a_load_and_a_store_in_its_place_lose_one() {
    let stepwise = |stack: &Deferred<OneThread>| {
        Taken(stack.head.swap_in::<OneThread>(null_mut(), Ordering::Acquire))
    };
    let broken = |steps| Model::new(move || handled(steps, stepwise)).is_broken();
    assert!((1..8).any(broken), "it must fail somewhere");
}
