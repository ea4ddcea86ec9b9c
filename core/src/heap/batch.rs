//! Many blocks of one layout in one call.

use core::alloc::Layout;
use core::mem::MaybeUninit;
use core::ptr::NonNull;

use super::Heap;
use crate::base::config::Config;
use crate::base::env::Environment;
use crate::cache::{FrontEnd, batch};

/// So many blocks that have missed are worth going past the cache.
const WORTH: usize = 16;

impl<C: Config> Heap<C> {
    /// Allocates blocks of `layout` until `blocks` is full, stored from its
    /// start. Returns how many: fewer than there is room for only when memory
    /// is short. Each is a block as any other, to be freed alone or with
    /// others.
    ///
    /// What the CPU's cache has comes first; then whole sheaves of the depot
    /// and, 64 for each time that a lock is taken, objects of slabs.
    pub fn alloc_batch(&self, layout: Layout, blocks: &mut [MaybeUninit<NonNull<u8>>]) -> usize {
        let class = Self::class(layout);
        let past_cache = class.is_small() && !Self::checks_calls();
        let mut filled = 0;
        while filled < blocks.len() {
            let hit = self.pop_cached(class);
            if hit.is_null() && past_cache && blocks.len() - filled >= WORTH {
                self.lower.front.prepare();
                self.free_deferred();
                filled += self.cache.claim_batch(&self.lower, class, &mut blocks[filled..]);
                if filled == blocks.len() {
                    break;
                }
                // Memory is short: an allocation of one asks for all there is.
            }
            let block = if hit.is_null() { self.alloc(layout) } else { hit };
            let Some(block) = NonNull::new(block) else { break };
            blocks[filled].write(block);
            filled += 1;
        }
        filled
    }

    /// Frees blocks that were all allocated with `layout`.
    ///
    /// # Safety
    ///
    /// Caller: as for [`dealloc`](Self::dealloc), of each of them, and no block
    /// is there twice.
    pub unsafe fn dealloc_batch(&self, blocks: &[NonNull<u8>], layout: Layout) {
        let class = Self::class(layout);
        let past_cache = class.is_small() && !Self::checks_calls() && !self.may_be_sampled(layout);
        for (freed, &block) in blocks.iter().enumerate() {
            let rest = &blocks[freed..];
            // SAFETY: by the contract.
            if unsafe { past_cache && self.push_cached(class, block.as_ptr()) } {
                continue;
            }
            if past_cache && rest.len() >= WORTH {
                batch::release_batch(&self.lower, class, rest);
                self.free_deferred();
                return self.tick(C::Env::now_ms());
            }
            // SAFETY: by the contract.
            unsafe { self.dealloc(block, layout) };
        }
    }
}

#[cfg(test)]
#[path = "batch_tests.rs"]
mod tests;
