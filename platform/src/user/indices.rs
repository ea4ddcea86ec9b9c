//! Numbers handed out one by one, smallest first, without a lock.

use core::sync::atomic::{AtomicUsize, Ordering};

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
            // Acquire: pairs with the Release in `give_back`.
            let old = entry
                .fetch_update(Ordering::Acquire, Ordering::Relaxed, |used| {
                    (used != usize::MAX).then_some(used | used.wrapping_add(1))
                })
                .ok()?;
            Some(word * BITS + old.trailing_ones() as usize)
        })
    }

    /// Gives a number back that [`take`](Self::take) gave.
    pub(crate) fn give_back(&self, index: usize) {
        // Release: what goes with the number is as its owner left it for the
        // next one; pairs with the Acquire in `take`.
        self.0[index / BITS].fetch_and(!(1 << (index % BITS)), Ordering::Release);
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
        indices.give_back(BITS + 3);
        assert_eq!(indices.take(), Some(BITS + 3));
        indices.keep_only(Some(1));
        assert_eq!([(); 3].map(|()| indices.take()), [Some(0), Some(2), Some(3)]);
        indices.keep_only(None);
        assert_eq!(indices.take(), Some(0));
    }
}
