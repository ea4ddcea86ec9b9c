//! A list of sheaves that are empty, or of such that are full.
//!
//! ```text
//! head ─ block│order     link of an empty sheaf: its begin mark
//!          │             link of a full one:     its end mark
//!          ▼
//!        link ─ block│order ─ … ─ null
//! ```
//! The link is in the mark at the sheaf's top, so that a sheaf comes and goes by the
//! one cache line that is used next, or was last. It says the order of the block that
//! it leads to, because a full sheaf's end is not found without; a sheaf's own order is
//! put back when it leaves.

use core::ptr::{NonNull, null_mut, without_provenance_mut};

use super::sheaf::{SHEAF_ALIGN, Sheaf, Word, is_mark, tag};
use crate::base::sync::atomic::Ordering::Relaxed;

/// A list of sheaves, the newest first.
#[derive(Debug)]
pub(crate) struct SheafList {
    head: *mut u8,
}

// SAFETY: the list owns its sheaves (C1); whoever has the list may use them.
unsafe impl Send for SheafList {}

/// The block that a link leads to, and its order.
fn target(link: *mut u8) -> Option<(NonNull<Word>, u8)> {
    let block = NonNull::new(link.map_addr(|word| word & !(SHEAF_ALIGN - 1)))?;
    Some((block.cast(), Sheaf::order_of_mark(link)))
}

/// Where a sheaf of a list has its link: at its top.
fn link(sheaf: &Sheaf) -> &Word {
    sheaf.word(if sheaf.len == 0 { 0 } else { sheaf.len + 1 })
}

impl SheafList {
    pub(crate) const fn new() -> Self {
        Self { head: null_mut() }
    }

    /// Shows the objects of each sheaf, the newest first; a sheaf holds as many
    /// as `len` says of its order.
    pub(crate) fn each(&self, len: impl Fn(u8) -> usize, mut show: impl FnMut(&[Word])) {
        let mut head = self.head;
        while let Some((block, order)) = target(head) {
            let sheaf = Sheaf { block, len: len(order) };
            show(sheaf.objects());
            head = link(&sheaf).load(Relaxed);
        }
    }

    /// Adds a sheaf: an empty one, or a full one.
    pub(crate) fn push(&mut self, sheaf: Sheaf) {
        let link = link(&sheaf);
        let mark = link.load(Relaxed);
        debug_assert!(is_mark(mark), "a sheaf that is neither empty nor full");
        let order = Sheaf::order_of_mark(mark);
        link.store(self.head.map_addr(|next| next | tag(0)), Relaxed);
        self.head = sheaf.block.as_ptr().cast::<u8>().map_addr(|block| block | tag(order));
    }

    /// Takes the newest sheaf; as many objects are in it as `len` says of its order.
    #[inline]
    pub(crate) fn pop(&mut self, len: impl FnOnce(u8) -> usize) -> Option<Sheaf> {
        let (block, order) = target(self.head)?;
        let sheaf = Sheaf { block, len: len(order) };
        let link = link(&sheaf);
        self.head = link.load(Relaxed);
        link.store(without_provenance_mut(tag(order)), Relaxed);
        Some(sheaf)
    }
}

#[cfg(test)]
#[path = "list_tests.rs"]
mod tests;
