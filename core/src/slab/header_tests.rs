//! A slab that is whole, and each fault that may be put into one.

use std::alloc::{Layout, alloc_zeroed};

use super::*;
use crate::check::surroundings::keep;

/// A slab of a class in memory of its own, which it keeps for ever.
pub(in crate::slab) fn slab_of(class: Class, turn: u32) -> Slab {
    let pages = class.info().slab_pages as usize;
    let memory = |bytes, align| {
        let layout = Layout::from_size_align(bytes, align).expect("a layout");
        // SAFETY: not empty.
        let memory = NonNull::new(unsafe { alloc_zeroed(layout) }).expect("memory");
        keep(memory);
        memory
    };
    let run = memory(pages * PAGE_SIZE, pages * PAGE_SIZE);
    // SAFETY: fresh memory, of the lengths of the class.
    unsafe { Slab::format(memory(pages * DESCRIPTOR_BYTES, 64), run, class, turn, Node(0)) }
}

fn broken(fault: impl FnOnce(Slab)) -> &'static str {
    let slab = slab_of(Class::of(48, 8), 1);
    assert_eq!(slab.check(), Ok(()), "whole before");
    fault(slab);
    slab.check().expect_err("a fault was put in").invariant
}

#[test]
fn every_fault_is_found() {
    assert_eq!(broken(|slab| slab.header().summary.set(0)), "S2");
    assert_eq!(broken(|slab| slab.header().free.set(3)), "S3");
    // A free object more than counted, as a wild write would have it.
    let fault = |slab: Slab| {
        let taken = [AtomicPtr::new(core::ptr::null_mut())];
        assert_eq!(slab.claim(&taken), 1);
        slab.word(0).set(slab.word(0).get() | 1);
    };
    assert_eq!(broken(fault), "S3");
    // An object beyond the last, in place of one that there is.
    let fault = |slab: Slab| {
        let last = slab.info().objects / WORD;
        assert!(!slab.info().objects.is_multiple_of(WORD), "the last word has unused bits");
        slab.word(last).set(slab.word(last).get() ^ (1 | 1 << (WORD - 1)));
    };
    assert_eq!(broken(fault), "S1");
    // A page given back that an object is on.
    let fault = |slab: Slab| {
        let taken = [AtomicPtr::new(core::ptr::null_mut())];
        assert_eq!(slab.claim(&taken), 1);
        slab.set_purged(1);
    };
    assert_eq!(broken(fault), "S5");
}
