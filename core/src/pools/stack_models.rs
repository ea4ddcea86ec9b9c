//! The stack of numbers, two threads: each number comes out once, with what
//! its last user did to it.

use std::sync::Arc;
use std::vec::Vec;

use super::*;
use crate::base::sync::plain;
use crate::check::model::{Model, spawn};

/// A stack with the links of its numbers and what they stand for, writable as
/// long as somebody has the number.
struct Numbers {
    stack: Stack,
    links: [AtomicU32; 3],
    blocks: [core::cell::UnsafeCell<usize>; 3],
}

// SAFETY: the model hands each block to one thread at a time.
unsafe impl Sync for Numbers {}
// SAFETY: as above.
unsafe impl Send for Numbers {}

impl Numbers {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            stack: Stack::new(),
            links: [const { AtomicU32::new(0) }; 3],
            blocks: [const { core::cell::UnsafeCell::new(0) }; 3],
        })
    }

    /// Uses a number that is ours, and gives it up.
    fn push(&self, number: u32) {
        plain::wrote(self.blocks[number as usize].get());
        self.stack.push(number, &self.links[number as usize]);
    }

    /// Takes a number, if there is one, and uses it.
    fn pop(&self) -> Option<u32> {
        let number = self.stack.pop(|number| &self.links[number as usize])?;
        plain::wrote(self.blocks[number as usize].get());
        Some(number)
    }
}

/// One thread takes the top while the other takes two and puts the first
/// back: without the tag, the second would be given out twice.
#[test]
fn a_number_comes_out_once() {
    Model::new(|| {
        let numbers = Numbers::new();
        (0..3).for_each(|number| numbers.push(number));
        let other = Arc::clone(&numbers);
        let other = spawn(move || {
            let (first, second) = (other.pop(), other.pop());
            first.into_iter().for_each(|number| other.push(number));
            second
        });
        let mut all: Vec<_> = numbers.pop().into_iter().collect();
        all.extend(other.join());
        all.extend(core::iter::from_fn(|| numbers.pop()));
        all.sort_unstable();
        assert_eq!(all, [0, 1, 2], "T1");
    })
    .verify(&["stack.rs: self.head"]);
}
