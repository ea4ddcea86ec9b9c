//! The stack of deferred blocks, alone and with several threads.

use std::collections::BTreeSet;
use std::vec::Vec;

use super::*;
use crate::check::surroundings::{TestEnv, for_ever, unless_miri};

fn block(number: u64) -> NonNull<u8> {
    NonNull::from(for_ever(number)).cast()
}

#[test]
fn what_was_pushed_comes_out_once_newest_first() {
    let deferred = Deferred::<TestEnv>::new();
    assert!(deferred.is_empty());
    let blocks: Vec<_> = (0..5).map(block).collect();
    for block in &blocks {
        // SAFETY: leaked for the test, aligned to 8.
        unsafe { deferred.push(*block) };
    }
    assert!(!deferred.is_empty());
    let taken: Vec<_> = deferred.take().collect();
    assert!(taken.iter().eq(blocks.iter().rev()));
    assert!(deferred.is_empty());
    assert_eq!(deferred.take().count(), 0);
}

#[test]
fn threads_lose_nothing_and_get_nothing_twice() {
    const EACH: usize = unless_miri(2_000, 50);
    static DEFERRED: Deferred<TestEnv> = Deferred::new();
    let mut all: Vec<usize> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut got = Vec::new();
                    for turn in 0..EACH {
                        // SAFETY: leaked for the test, aligned to 8.
                        unsafe { DEFERRED.push(block(0)) };
                        if turn % 7 == 0 {
                            got.extend(DEFERRED.take().map(|block| block.addr().get()));
                        }
                    }
                    got
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
    });
    all.extend(DEFERRED.take().map(|block| block.addr().get()));
    assert_eq!(all.len(), 4 * EACH);
    assert_eq!(all.into_iter().collect::<BTreeSet<_>>().len(), 4 * EACH);
}
