//! Numbers handed out one by one, smallest first, without a lock.

use granule_core::base::sync::atomic::{AtomicUsize, Ordering};

const BITS: usize = usize::BITS as usize;

/// A set bit is a number that somebody has.
pub(crate) struct Indices<const WORDS: usize>([AtomicUsize; WORDS]);

impl<const WORDS: usize> Indices<WORDS> {
    /// All free.
    pub(crate) const fn new() -> Self {
        Self([const { AtomicUsize::new(0) }; WORDS])
    }

    /// A number that nobody has.
    pub(crate) fn take(&self) -> Option<usize> {
        self.0.iter().enumerate().find_map(|(word, entry)| {
            let mut used = entry.load(Ordering::Relaxed);
            while used != usize::MAX {
                let next = used | used.wrapping_add(1);
                // Acquire: pairs with the Release in `give_back`.
                let (success, failure) = (Ordering::Acquire, Ordering::Relaxed);
                match entry.compare_exchange_weak(used, next, success, failure) {
                    Ok(_) => return Some(word * BITS + used.trailing_ones() as usize),
                    Err(found) => used = found,
                }
            }
            None
        })
    }

    /// Gives a number back that [`take`](Self::take) gave.
    pub(crate) fn give_back(&self, index: usize) {
        // Release: what goes with the number is as its owner left it for the
        // next one; pairs with the Acquire in `take` and `is_free`.
        self.0[index / BITS].fetch_and(!(1 << (index % BITS)), Ordering::Release);
    }

    /// Whether nobody has a number now. What who had it last did happened before, and
    /// who takes it after sees what the caller did.
    pub(crate) fn is_free(&self, index: usize) -> bool {
        let (entry, bit) = (&self.0[index / BITS], 1 << (index % BITS));
        // Acquire: pairs with the Release in `give_back`.
        let free = entry.fetch_or(bit, Ordering::Acquire) & bit == 0;
        if free {
            // Taken for a moment, so that there is one order of all who had it.
            self.give_back(index);
        }
        free
    }

    /// In the child of a fork: takes all numbers back but the caller's.
    #[cfg(any(unix, test))]
    pub(crate) fn keep_only(&self, own: Option<usize>) {
        for (word, entry) in self.0.iter().enumerate() {
            let own = own.filter(|index| index / BITS == word);
            // Relaxed: there is no other thread.
            entry.store(own.map_or(0, |index| 1 << (index % BITS)), Ordering::Relaxed);
        }
    }
}

#[cfg(all(test, loom))]
#[path = "indices_models.rs"]
mod models;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_handed_out_once_and_again_when_they_are_back() {
        let indices = Indices::<2>::new();
        for number in 0..2 * BITS {
            assert_eq!(indices.take(), Some(number));
        }
        assert_eq!(indices.take(), None);
        assert!(!indices.is_free(BITS + 3));
        indices.give_back(BITS + 3);
        assert!(indices.is_free(BITS + 3) && !indices.is_free(BITS + 2));
        assert_eq!(indices.take(), Some(BITS + 3));
        indices.keep_only(Some(1));
        assert_eq!([(); 3].map(|()| indices.take()), [Some(0), Some(2), Some(3)]);
        indices.keep_only(None);
        assert_eq!(indices.take(), Some(0));
    }
}
