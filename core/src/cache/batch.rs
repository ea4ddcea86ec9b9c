//! Objects by the batch, past the sheaves in use: whole sheaves of the depot,
//! then the slabs, a lock for each [`CHUNK`] of objects.

use core::mem::MaybeUninit;
use core::ptr::{NonNull, null_mut};

use super::lower::Lower;
use super::paths::claim;
use super::sheaf::Word;
use super::whole::Cache;
use crate::base::class::Class;
use crate::base::config::Config;
use crate::base::sync::atomic::Ordering::Relaxed;

/// Objects that are moved under one lock.
pub(crate) const CHUNK: usize = 64;

impl<C: Config> Cache<C> {
    /// Fills `out` from its start with objects of `class`, a small one. Returns
    /// how many; fewer than there is room for only when memory is short.
    pub(crate) fn claim_batch(
        &self,
        lower: &Lower<C>,
        class: Class,
        out: &mut [MaybeUninit<NonNull<u8>>],
    ) -> usize {
        let mut filled = 0;
        while filled < out.len() {
            let room = &mut out[filled..];
            let claimed = match self.take_local(lower, class) {
                Some(mut sheaf) => {
                    let mut taken = 0;
                    while taken < room.len()
                        && let Some(object) = sheaf.pop()
                    {
                        room[taken].write(object);
                        taken += 1;
                    }
                    self.pool.give(super::paths::flush(lower, class, sheaf));
                    taken
                }
                None => claim_chunk(lower, class, room),
            };
            if claimed == 0 {
                break;
            }
            filled += claimed;
        }
        filled
    }
}

/// As many as one claim from the slabs brings, at most [`CHUNK`].
fn claim_chunk<C: Config>(
    lower: &Lower<C>,
    class: Class,
    room: &mut [MaybeUninit<NonNull<u8>>],
) -> usize {
    let words = [const { Word::new(null_mut()) }; CHUNK];
    let wanted = &words[..room.len().min(CHUNK)];
    let claimed = claim(lower, class, wanted);
    // They are stored from the end.
    for (place, word) in room.iter_mut().zip(wanted[wanted.len() - claimed..].iter()) {
        // SAFETY: an object that was claimed is at no null address.
        place.write(unsafe { NonNull::new_unchecked(word.load(Relaxed)) });
    }
    claimed
}

/// Gives objects of `class`, a small one, back to their slabs.
pub(crate) fn release_batch<C: Config>(lower: &Lower<C>, class: Class, objects: &[NonNull<u8>]) {
    for chunk in objects.chunks(CHUNK) {
        let words = [const { Word::new(null_mut()) }; CHUNK];
        for (word, object) in words.iter().zip(chunk) {
            word.store(object.as_ptr(), Relaxed);
        }
        lower.slabs.release(&lower.regions, class, &words[..chunk.len()]);
    }
}
