//! `GRANULE_PRESET`: what is kept follows it.
#![cfg(target_os = "linux")]

use std::alloc::Layout;
use std::process::Command;
use std::ptr::NonNull;

use granule::Config;
use granule_core::base::limits::Limits;

/// Set in the children, which run [`child`] alone.
const CHILD: &str = "GRANULE_TEST_PRESET_CHILD";

/// Stays on the CPU it is on: whoever is moved meanwhile caches on both.
fn stay() {
    // SAFETY: a set of CPUs is plain memory; the calls have no other
    // preconditions.
    unsafe {
        let mut set: libc::cpu_set_t = core::mem::zeroed();
        libc::CPU_SET(libc::sched_getcpu().cast_unsigned() as usize, &mut set);
        assert_eq!(libc::sched_setaffinity(0, size_of_val(&set), &raw const set), 0);
    }
}

/// Allocates much, frees it, and tells what is cached of it.
fn cached_after_a_burst() -> usize {
    let heap = granule::process_heap();
    let layout = Layout::new::<[u64; 64]>();
    let blocks: Vec<_> =
        (0..60_000).map(|_| NonNull::new(heap.alloc(layout)).expect("memory")).collect();
    for block in blocks {
        // SAFETY: live, of that layout.
        unsafe { heap.dealloc(block, layout) };
    }
    heap.stats().cached_bytes
}

#[test]
fn child() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    stay();
    let Limits { stash_max, purge_delay_ms, .. } = granule::ProcessConfig::limits();
    println!("limits {stash_max} {purge_delay_ms} {}", cached_after_a_burst());
}

/// What a child with this preset says: most to stash, delay of a purge, bytes
/// cached after a burst.
fn with(preset: Option<&str>) -> [usize; 3] {
    let mut command = Command::new(std::env::current_exe().expect("a test has a file"));
    command.args(["child", "--exact", "--nocapture", "--test-threads=1"]).env(CHILD, "1");
    match preset {
        Some(preset) => command.env("GRANULE_PRESET", preset),
        None => command.env_remove("GRANULE_PRESET"),
    };
    let output = command.output().expect("the child runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let figures = text.split_once("limits ").expect("the child's line").1;
    let mut numbers = figures.split_whitespace().map(|number| number.parse().expect("a number"));
    [(); 3].map(|()| numbers.next().expect("three numbers"))
}

#[test]
fn a_preset_moves_what_is_kept() {
    let [frugal, balanced, throughput] =
        ["frugal", "balanced", "throughput"].map(|preset| with(Some(preset)));
    let named = |limits: Limits| [limits.stash_max, limits.purge_delay_ms as usize];
    assert_eq!(frugal[..2], named(Limits::FRUGAL));
    assert_eq!(balanced[..2], named(Limits::BALANCED));
    assert_eq!(throughput[..2], named(Limits::THROUGHPUT));
    assert!(
        frugal[2] < balanced[2] && balanced[2] < throughput[2],
        "{frugal:?} {balanced:?} {throughput:?}"
    );
    assert!(frugal[2] <= 1 << 20, "{frugal:?}");
}

#[test]
fn no_preset_and_an_unknown_one_are_balanced() {
    for preset in [None, Some(""), Some("Frugal"), Some("frugal "), Some("fast")] {
        assert_eq!(with(preset)[0], Limits::BALANCED.stash_max, "{preset:?}");
    }
}
