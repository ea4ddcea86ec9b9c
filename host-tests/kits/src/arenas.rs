//! Arenas.

use std::hint::black_box;

use granule::Granule;
use granule::arena::Arena;

use crate::{Contest, Way};

/// Values a request has.
const EACH: usize = 1000;

fn values() -> Contest {
    let mut arena = Arena::new_in(Granule::new());
    let mut bump = bumpalo::Bump::new();
    Contest {
        about: "1,000 values of 24 bytes, then all given up",
        times: 2_000,
        ways: vec![
            Way::ours("Arena", move |times| {
                for number in 0..times as u64 {
                    for _ in 0..EACH {
                        black_box(arena.alloc([number; 3]).expect("memory"));
                    }
                    arena.reset();
                }
            }),
            Way::other("bumpalo", move |times| {
                for number in 0..times as u64 {
                    for _ in 0..EACH {
                        black_box(bump.alloc([number; 3]));
                    }
                    bump.reset();
                }
            }),
            Way::other("typed-arena, a new one each", |times| {
                for number in 0..times as u64 {
                    let arena = typed_arena::Arena::new();
                    for _ in 0..EACH {
                        black_box(arena.alloc([number; 3]));
                    }
                }
            }),
        ],
    }
}

fn fresh() -> Contest {
    Contest {
        about: "an arena made, 20 values of 24 bytes, and its end",
        times: 100_000,
        ways: vec![
            Way::ours("Arena", |times| {
                for number in 0..times as u64 {
                    let arena = Arena::new_in(Granule::new());
                    for _ in 0..20 {
                        black_box(arena.alloc([number; 3]).expect("memory"));
                    }
                }
            }),
            Way::other("bumpalo", |times| {
                for number in 0..times as u64 {
                    let arena = bumpalo::Bump::new();
                    for _ in 0..20 {
                        black_box(arena.alloc([number; 3]));
                    }
                }
            }),
            Way::other("typed-arena", |times| {
                for number in 0..times as u64 {
                    let arena = typed_arena::Arena::new();
                    for _ in 0..20 {
                        black_box(arena.alloc([number; 3]));
                    }
                }
            }),
        ],
    }
}

fn strings() -> Contest {
    let text = "some words of a request, and of different lengths";
    let mut arena = Arena::new_in(Granule::new());
    let mut bump = bumpalo::Bump::new();
    Contest {
        about: "1,000 strings of 1 to 48 bytes, then all given up",
        times: 2_000,
        ways: vec![
            Way::ours("Arena", move |times| {
                for _ in 0..times {
                    for number in 0..EACH {
                        black_box(arena.alloc_str(&text[..1 + number % 48]).expect("memory"));
                    }
                    arena.reset();
                }
            }),
            Way::other("bumpalo", move |times| {
                for _ in 0..times {
                    for number in 0..EACH {
                        black_box(bump.alloc_str(&text[..1 + number % 48]));
                    }
                    bump.reset();
                }
            }),
        ],
    }
}

pub(crate) fn contests() -> Vec<Contest> {
    vec![values(), fresh(), strings()]
}
