//! Read-modify-write, where calls may overlap and where they cannot.
//!
//! The only place of the core that says which instruction that is: the
//! machine's; a load and a store where nobody can come between but an interrupt that
//! leaves things as it found them, see [`Environment::shared`]; and both of them with everybody kept out where the
//! machine has no such instruction (ARMv6-M, RISC-V without `A`).

use core::sync::atomic::compiler_fence;

use super::atomic::{
    AtomicBool, AtomicPtr, AtomicU32, AtomicUsize,
    Ordering::{self, Relaxed},
};
use crate::base::env::Environment;

/// Names that an atomic's type has none for.
pub(crate) trait Update {
    /// What it holds.
    type Value: Copy + PartialEq;

    /// As `compare_exchange`, a failure being `Relaxed`.
    #[track_caller]
    fn compare_exchange_in<E: Environment>(
        &self,
        current: Self::Value,
        new: Self::Value,
        order: Ordering,
    ) -> Result<Self::Value, Self::Value>;

    /// As [`compare_exchange_in`](Self::compare_exchange_in), of a value that the
    /// caller has just loaded: where nobody can come between, a store. Whether it
    /// was exchanged.
    #[track_caller]
    fn replace_seen<E: Environment>(
        &self,
        seen: Self::Value,
        new: Self::Value,
        order: Ordering,
    ) -> bool;

    /// As [`compare_exchange_in`](Self::compare_exchange_in), for words that calls on
    /// top of the caller's change for good.
    #[track_caller]
    fn compare_exchange_nested<E: Environment>(
        &self,
        current: Self::Value,
        new: Self::Value,
        order: Ordering,
    ) -> Result<Self::Value, Self::Value>;

    /// As `swap`, for such words.
    #[track_caller]
    fn swap_nested<E: Environment>(&self, new: Self::Value, order: Ordering) -> Self::Value;

    /// As `swap`.
    #[track_caller]
    fn swap_in<E: Environment>(&self, new: Self::Value, order: Ordering) -> Self::Value;
}

/// The same for those of numbers.
pub(crate) trait Count: Update {
    /// As `fetch_add`.
    #[track_caller]
    fn fetch_add_in<E: Environment>(&self, more: Self::Value, order: Ordering) -> Self::Value;

    /// As `fetch_sub`.
    #[track_caller]
    fn fetch_sub_in<E: Environment>(&self, less: Self::Value, order: Ordering) -> Self::Value;

    /// As `fetch_or`.
    #[track_caller]
    fn fetch_or_in<E: Environment>(&self, bits: Self::Value, order: Ordering) -> Self::Value;
}

/// A load and, where `change` says what, a store.
macro_rules! stepwise {
    ($atomic:expr, $change:expr) => {{
        let old = $atomic.load(Relaxed);
        if let Some(new) = $change(old) {
            $atomic.store(new, Relaxed);
        }
        // Who comes on top of the caller from here on finds the store made, and what
        // was done on top before is seen by what follows.
        compiler_fence(Ordering::SeqCst);
        old
    }};
}

/// One of the three ways; what it returns is the value before.
macro_rules! update {
    ($shared:expr, $environment:ty, $atomic:expr, $order:expr, $machine:expr, $change:expr) => {{
        #[cfg(target_has_atomic = "ptr")]
        if $shared {
            $machine
        } else {
            stepwise!($atomic, $change)
        }
        #[cfg(not(target_has_atomic = "ptr"))]
        {
            let _alone = <$environment>::exclude();
            // Whatever the order: others are kept out.
            let _ = ($shared, $order);
            stepwise!($atomic, $change)
        }
    }};
}

macro_rules! updates {
    ($([$($t:ident)?] $atomic:ty, $value:ty;)*) => {$(
        impl$(<$t>)? Update for $atomic {
            type Value = $value;

            #[inline(always)]
            fn compare_exchange_in<E: Environment>(
                &self,
                current: $value,
                new: $value,
                order: Ordering,
            ) -> Result<$value, $value> {
                let old = update!(
                    E::shared(), E, self, order,
                    match self.compare_exchange(current, new, order, Relaxed) {
                        Ok(old) | Err(old) => old,
                    },
                    |old| (old == current).then_some(new)
                );
                if old == current { Ok(old) } else { Err(old) }
            }

            #[inline(always)]
            fn replace_seen<E: Environment>(
                &self,
                seen: $value,
                new: $value,
                order: Ordering,
            ) -> bool {
                if cfg!(target_has_atomic = "ptr") && !E::shared() {
                    self.store(new, Relaxed);
                    return true;
                }
                self.compare_exchange_nested::<E>(seen, new, order).is_ok()
            }

            #[inline(always)]
            fn compare_exchange_nested<E: Environment>(
                &self,
                current: $value,
                new: $value,
                order: Ordering,
            ) -> Result<$value, $value> {
                let old = update!(
                    true, E, self, order,
                    match self.compare_exchange(current, new, order, Relaxed) {
                        Ok(old) | Err(old) => old,
                    },
                    |old| (old == current).then_some(new)
                );
                if old == current { Ok(old) } else { Err(old) }
            }

            #[inline(always)]
            fn swap_nested<E: Environment>(&self, new: $value, order: Ordering) -> $value {
                update!(true, E, self, order, self.swap(new, order), |_| Some(new))
            }

            #[inline(always)]
            fn swap_in<E: Environment>(&self, new: $value, order: Ordering) -> $value {
                update!(E::shared(), E, self, order, self.swap(new, order), |_| Some(new))
            }
        }
    )*};
}

updates! {
    [] AtomicBool, bool;
    [] AtomicU32, u32;
    [] AtomicUsize, usize;
    [T] AtomicPtr<T>, *mut T;
}

macro_rules! counts {
    ($($atomic:ty, $value:ty;)*) => {$(
        impl Count for $atomic {
            #[inline(always)]
            fn fetch_add_in<E: Environment>(&self, more: $value, order: Ordering) -> $value {
                let sum = |old: $value| Some(old.wrapping_add(more));
                update!(E::shared(), E, self, order, self.fetch_add(more, order), sum)
            }

            #[inline(always)]
            fn fetch_sub_in<E: Environment>(&self, less: $value, order: Ordering) -> $value {
                let rest = |old: $value| Some(old.wrapping_sub(less));
                update!(E::shared(), E, self, order, self.fetch_sub(less, order), rest)
            }

            #[inline(always)]
            fn fetch_or_in<E: Environment>(&self, bits: $value, order: Ordering) -> $value {
                let both = |old: $value| Some(old | bits);
                update!(E::shared(), E, self, order, self.fetch_or(bits, order), both)
            }
        }
    )*};
}

counts! {
    AtomicU32, u32;
    AtomicUsize, usize;
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::cache::alone::Unshared;
    use crate::check::surroundings::TestEnv;

    /// What each does, as the values before and the one at the end.
    fn all_of<E: Environment>() -> ([usize; 5], [bool; 2]) {
        let word = AtomicUsize::new(1);
        let before = [
            word.fetch_add_in::<E>(4, Relaxed),
            word.fetch_sub_in::<E>(2, Relaxed),
            word.fetch_or_in::<E>(8, Relaxed),
            word.swap_in::<E>(usize::MAX, Relaxed),
            word.fetch_add_in::<E>(2, Relaxed),
        ];
        let exchanged = [0, 1].map(|current| {
            let done = word.compare_exchange_in::<E>(current, 7, Relaxed);
            assert_eq!(done, if current == 1 { Ok(1) } else { Err(1) });
            done.is_ok()
        });
        assert_eq!(word.load(Relaxed), 7);
        (before, exchanged)
    }

    #[test]
    fn both_ways_do_the_same() {
        assert_eq!(all_of::<TestEnv>(), ([1, 5, 3, 11, usize::MAX], [false, true]));
        assert_eq!(all_of::<Unshared<TestEnv>>(), all_of::<TestEnv>());
    }
}
