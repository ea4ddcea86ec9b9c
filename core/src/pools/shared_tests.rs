//! The shared pool: numbers and places, threads, and when memory is short.

use std::sync::Arc;
use std::thread;
use std::vec::Vec;

use super::*;
use crate::check::counting::Counting;
use crate::check::surroundings::unless_miri;

#[test]
fn numbers_have_places() {
    let mut next = 0;
    for chunk in 0..CHUNKS {
        let last = next + values(chunk) as u32 - 1;
        assert_eq!(locate(next), (chunk, 0));
        assert_eq!(locate(last), (chunk, values(chunk) as u32 - 1));
        next = last + 1;
    }
    assert_eq!(locate(next).0, CHUNKS);
}

#[repr(align(64))]
struct Aligned(u32);

#[test]
fn values_are_apart_and_aligned() {
    let memory = Counting::new(usize::MAX);
    let pool = SharedPool::new_in(&memory);
    let all: Vec<_> =
        (0..1000).map(|number| pool.alloc(Aligned(number)).expect("memory")).collect();
    assert!(all.iter().all(|value| core::ptr::from_ref(&**value).addr().is_multiple_of(64)));
    assert!(all.iter().zip(0..).all(|(value, number)| value.0 == number));
    assert_eq!(pool.peak(), 1000);
    drop(all);
    let again: Vec<_> =
        (0..1000).map(|number| pool.alloc(Aligned(number)).expect("memory")).collect();
    assert!(again.iter().zip(0..).all(|(value, number)| value.0 == number));
    let bytes = memory.bytes();
    drop(again);
    assert!(pool.peak() == 1000 && memory.bytes() == bytes, "places serve again");
    drop(pool);
    assert_eq!(memory.bytes(), 0);
}

#[test]
fn threads_hand_values_on() {
    let (memory, shared) = (Counting::new(usize::MAX), Arc::new(()));
    let pool = SharedPool::new_in(&memory);
    let rounds = unless_miri(20_000, 20) as u64;
    thread::scope(|scope| {
        for number in 0..4u64 {
            let (pool, shared) = (&pool, &shared);
            scope.spawn(move || {
                let mut held = Vec::new();
                for round in 0..rounds {
                    let value = (number, round, Arc::clone(shared));
                    held.push(pool.alloc(value).expect("memory"));
                    if held.len() == 8 {
                        let oldest = held.remove(0);
                        assert_eq!((oldest.0, oldest.1), (number, round - 7));
                        scope.spawn(move || drop(oldest));
                        held.truncate(3);
                        let (own, _, _) = held.remove(0).into_inner();
                        assert_eq!(own, number);
                        held.clear();
                    }
                    if round % 64 == 0 {
                        thread::yield_now();
                    }
                }
            });
        }
    });
    assert_eq!(Arc::strong_count(&shared), 1);
    drop(pool);
    assert_eq!(memory.bytes(), 0);
}

#[test]
fn nothing_is_lost_when_memory_is_short() {
    let memory = Counting::new(8192);
    let pool = SharedPool::new_in(&memory);
    let mut held: Vec<_> = core::iter::from_fn(|| pool.alloc([0u64; 16]).ok()).collect();
    assert_eq!(held.len(), 48, "two chunks: of 16, and of 32");
    held.truncate(10);
    held.extend(core::iter::from_fn(|| pool.alloc([1; 16]).ok()));
    assert_eq!(held.len(), 48);
}
