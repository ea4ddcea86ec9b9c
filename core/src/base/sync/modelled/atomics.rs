//! The atomics of models, see the module above.

use core::panic::Location;
use core::sync::atomic::{self as machine, Ordering};

use super::{Lacks, Word, adopt, interrupt, is_on, mutated, weakened};

/// A value that loom's atomics can hold.
pub trait Bits: Copy {
    /// As bits.
    fn bits(self) -> u64;
    /// The value with these bits; higher ones are dropped.
    fn of(bits: u64) -> Self;
}

/// A machine's atomic.
pub trait Machine {
    /// What it holds.
    type Value: Bits;
    /// As the atomic's own.
    fn load(&self, order: Ordering) -> Self::Value;
    /// As the atomic's own.
    fn store(&self, value: Self::Value, order: Ordering);
    /// As the atomic's own.
    ///
    /// # Errors
    ///
    /// The value found, when it is not `current`.
    fn compare_exchange(
        &self,
        current: Self::Value,
        new: Self::Value,
        success: Ordering,
        failure: Ordering,
    ) -> Result<Self::Value, Self::Value>;
}

/// An atomic: loom's in models, the machine's elsewhere.
#[derive(Debug, Default)]
#[repr(transparent)]
pub struct Atomic<M>(M);

impl<M> Drop for Atomic<M> {
    fn drop(&mut self) {
        // Another one may be made in its place.
        super::forget(core::ptr::from_mut(self).addr());
    }
}

/// As the machine's.
pub type AtomicBool = Atomic<machine::AtomicBool>;
/// As the machine's.
pub type AtomicU8 = Atomic<machine::AtomicU8>;
/// As the machine's.
pub type AtomicU32 = Atomic<machine::AtomicU32>;
/// As the machine's.
pub type AtomicU64 = Atomic<machine::AtomicU64>;
/// As the machine's.
pub type AtomicUsize = Atomic<machine::AtomicUsize>;
/// As the machine's.
pub type AtomicPtr<T> = Atomic<machine::AtomicPtr<T>>;

macro_rules! machines {
    ($([$($t:ident)?] $machine:ty, $value:ty;)*) => {$(
        impl$(<$t>)? Machine for $machine {
            type Value = $value;

            fn load(&self, order: Ordering) -> $value {
                self.load(order)
            }

            fn store(&self, value: $value, order: Ordering) {
                self.store(value, order);
            }

            fn compare_exchange(
                &self,
                current: $value,
                new: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                self.compare_exchange(current, new, success, failure)
            }
        }

        impl$(<$t>)? Atomic<$machine> {
            /// An atomic with this value.
            #[must_use]
            pub const fn new(value: $value) -> Self {
                Self(<$machine>::new(value))
            }
        }
    )*};
}

machines! {
    [] machine::AtomicBool, bool;
    [] machine::AtomicU8, u8;
    [] machine::AtomicU32, u32;
    [] machine::AtomicU64, u64;
    [] machine::AtomicUsize, usize;
    [T] machine::AtomicPtr<T>, *mut T;
}

macro_rules! numbers {
    ($($value:ty)*) => {$(
        impl Bits for $value {
            fn bits(self) -> u64 {
                self as u64
            }

            fn of(bits: u64) -> Self {
                bits as Self
            }
        }
    )*};
}

numbers!(u8 u32 u64 usize);

impl Bits for bool {
    fn bits(self) -> u64 {
        self.into()
    }

    fn of(bits: u64) -> Self {
        bits != 0
    }
}

impl<T> Bits for *mut T {
    fn bits(self) -> u64 {
        self.expose_provenance() as u64
    }

    fn of(bits: u64) -> Self {
        core::ptr::with_exposed_provenance_mut(bits as usize)
    }
}

/// The orderings of a failed exchange and of a load that nothing depends on.
const WEAKEST: Ordering = Ordering::Relaxed;

impl<M: Machine> Atomic<M> {
    /// What stands for it, in a model.
    #[track_caller]
    fn word(&self) -> Option<Word> {
        let made_with = || self.0.load(WEAKEST).bits();
        is_on().then(|| adopt(core::ptr::from_ref(self).addr(), made_with))
    }

    /// As the machine's: the caller alone has it.
    #[track_caller]
    pub fn into_inner(self) -> M::Value {
        self.load(WEAKEST)
    }

    /// As the machine's.
    #[track_caller]
    pub fn load(&self, order: Ordering) -> M::Value {
        let Some(word) = self.word() else { return self.0.load(order) };
        let order = weakened(order, "load", Location::caller());
        word.loads.store(0, WEAKEST);
        let bits = word.loom.load(order) ^ word.made_with;
        interrupt::step();
        M::Value::of(bits)
    }

    /// As the machine's.
    #[track_caller]
    pub fn store(&self, value: M::Value, order: Ordering) {
        let Some(word) = self.word() else { return self.0.store(value, order) };
        let order = weakened(order, "store", Location::caller());
        if mutated(Lacks::Store, "store", Location::caller()) {
            return;
        }
        word.loom.store(value.bits() ^ word.made_with, order);
        interrupt::step();
    }

    /// As the machine's.
    #[track_caller]
    pub fn swap(&self, value: M::Value, order: Ordering) -> M::Value {
        self.update(order, "swap", |_| value)
    }

    /// As the machine's.
    ///
    /// # Errors
    ///
    /// The value found, when it is not `current`.
    #[track_caller]
    pub fn compare_exchange(
        &self,
        current: M::Value,
        new: M::Value,
        success: Ordering,
        failure: Ordering,
    ) -> Result<M::Value, M::Value> {
        let Some(word) = self.word() else {
            return self.0.compare_exchange(current, new, success, failure);
        };
        let at = Location::caller();
        let success = weakened(success, "compare_exchange", at);
        let (bits, new) = (current.bits() ^ word.made_with, new.bits() ^ word.made_with);
        let found = if mutated(Lacks::Compare, "compare_exchange", at) {
            word.loom.swap(new, success);
            Ok(bits)
        } else {
            word.loom.compare_exchange(bits, new, success, failure)
        };
        interrupt::step();
        let value = |bits| M::Value::of(bits ^ word.made_with);
        found.map(value).map_err(value)
    }

    /// As the machine's, but that it never fails for no reason.
    ///
    /// # Errors
    ///
    /// The value found, when it is not `current`.
    #[track_caller]
    pub fn compare_exchange_weak(
        &self,
        current: M::Value,
        new: M::Value,
        success: Ordering,
        failure: Ordering,
    ) -> Result<M::Value, M::Value> {
        self.compare_exchange(current, new, success, failure)
    }

    #[track_caller]
    fn update(
        &self,
        order: Ordering,
        call: &'static str,
        new: impl Fn(M::Value) -> M::Value,
    ) -> M::Value {
        let word = self.word();
        let order = match word {
            Some(_) => weakened(order, call, Location::caller()),
            None => order,
        };
        if word.is_some() && mutated(Lacks::Store, call, Location::caller()) {
            return self.load(WEAKEST);
        }
        let mut guess = 0;
        loop {
            let found = match &word {
                Some(word) => {
                    let next = new(M::Value::of(guess ^ word.made_with)).bits() ^ word.made_with;
                    word.loom.compare_exchange(guess, next, order, WEAKEST)
                }
                None => {
                    let old = M::Value::of(guess);
                    let found = self.0.compare_exchange(old, new(old), order, WEAKEST);
                    found.map(Bits::bits).map_err(Bits::bits)
                }
            };
            match found {
                Ok(bits) => {
                    if word.is_some() {
                        interrupt::step();
                    }
                    return M::Value::of(bits ^ word.map_or(0, |word| word.made_with));
                }
                Err(bits) => guess = bits,
            }
        }
    }
}

impl<M: Machine<Value: Number>> Atomic<M> {
    /// As the machine's.
    #[track_caller]
    pub fn fetch_add(&self, value: M::Value, order: Ordering) -> M::Value {
        self.update(order, "fetch_add", |old| old.plus(value))
    }

    /// As the machine's.
    #[track_caller]
    pub fn fetch_sub(&self, value: M::Value, order: Ordering) -> M::Value {
        self.update(order, "fetch_sub", |old| old.minus(value))
    }

    /// As the machine's.
    #[track_caller]
    pub fn fetch_or(&self, value: M::Value, order: Ordering) -> M::Value {
        self.update(order, "fetch_or", |old| M::Value::of(old.bits() | value.bits()))
    }

    /// As the machine's.
    #[track_caller]
    pub fn fetch_and(&self, value: M::Value, order: Ordering) -> M::Value {
        self.update(order, "fetch_and", |old| M::Value::of(old.bits() & value.bits()))
    }

    /// As the machine's.
    #[track_caller]
    pub fn fetch_xor(&self, value: M::Value, order: Ordering) -> M::Value {
        self.update(order, "fetch_xor", |old| M::Value::of(old.bits() ^ value.bits()))
    }
}

/// A value that can be counted with.
pub trait Number: Bits {
    /// The sum, wrapping around.
    fn plus(self, other: Self) -> Self {
        Self::of(self.bits().wrapping_add(other.bits()))
    }

    /// The difference, wrapping around.
    fn minus(self, other: Self) -> Self {
        Self::of(self.bits().wrapping_sub(other.bits()))
    }
}

impl Number for u8 {}
impl Number for u32 {}
impl Number for usize {}

/// As the machine's.
#[track_caller]
pub fn fence(order: Ordering) {
    if !is_on() {
        return machine::fence(order);
    }
    match weakened(order, "fence", Location::caller()) {
        Ordering::Relaxed => {}
        order => loom::sync::atomic::fence(order),
    }
}

/// As the machine's; in models other threads run first.
pub fn spin_loop() {
    if is_on() {
        loom::thread::yield_now();
    } else {
        core::hint::spin_loop();
    }
}
