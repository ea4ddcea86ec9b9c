//! Memory accessed by plain loads and stores: who reads it must know of the
//! last write, and who writes to it of all accesses before.

use std::collections::BTreeMap;
use std::rc::Rc;

use loom::cell::UnsafeCell;

use super::{Memory, is_on, with};

/// The innermost memory written to that `address` is in.
pub(super) fn around(memory: &BTreeMap<usize, Memory>, address: usize) -> Option<Memory> {
    let below = memory.range(..=address).rev();
    below
        .map(|(start, memory)| (address - start, memory))
        .find_map(|(offset, memory)| (offset < memory.bytes).then(|| memory.clone()))
}

/// Notes that the caller writes to all of `place`, or makes it anew: atomics
/// in it begin with the values that are there now.
#[track_caller]
pub fn wrote<T>(place: *const T) {
    wrote_bytes(place.addr(), size_of::<T>());
}

/// Notes that the caller writes to so many bytes.
#[track_caller]
pub(crate) fn wrote_bytes(start: usize, bytes: usize) {
    if !is_on() {
        return;
    }
    let known = with(|all| {
        all.words.retain(|address, _| address.wrapping_sub(start) >= bytes);
        let known = all.memory.get_mut(&start);
        known.map(|memory| {
            memory.bytes = memory.bytes.max(bytes);
            memory.clone()
        })
    });
    let memory = known.unwrap_or_else(|| {
        let memory = Memory { bytes, witness: Rc::new(UnsafeCell::new(())) };
        with(|all| all.memory.insert(start, memory.clone()));
        memory
    });
    // Also of new memory: to loom making it is no step of its own.
    memory.witness.with_mut(|_| ());
}

/// Notes that the caller reads `place`.
#[track_caller]
pub fn read<T>(place: *const T) {
    if !is_on() {
        return;
    }
    if let Some(memory) = with(|all| around(&all.memory, place.addr())) {
        memory.witness.with(|_| ());
    }
}
