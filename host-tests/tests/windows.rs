//! What is Windows's own: settings, reports and ends of processes. Each child
//! is this program again, with one test and a variable.
#![cfg(windows)]

use std::alloc::Layout;
use std::process::{Command, Output};
use std::ptr::NonNull;

use granule::base::tier::Tier;
use granule::{Config, ProcessConfig, process_heap};
use granule_core::base::limits::{HugePages, Limits};

/// Set in children.
const CHILD: &str = "GRANULE_TEST_CHILD";
/// `STATUS_STACK_BUFFER_OVERRUN`: what every fast end of a process is called.
const FAST_FAIL: u32 = 0xc000_0409;

fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

/// Runs a test of this program again, with variables.
fn again(test: &str, variables: &[(&str, &str)]) -> Output {
    let program = std::env::current_exe().expect("a path");
    let mut command = Command::new(program);
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]).env(CHILD, "1");
    command.envs(variables.iter().copied()).output().expect("started")
}

fn holds(test: &str, variables: &[(&str, &str)]) {
    let output = again(test, variables);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{variables:?}: {}\n{said}", output.status);
}

fn block(size: usize) -> NonNull<u8> {
    let layout = Layout::from_size_align(size, 16).expect("a layout");
    NonNull::new(process_heap().alloc(layout)).expect("memory")
}

/// Runs a test again, which has to end with a report that names `kind`.
fn ends_with(test: &str, tier: &str, kind: &str) {
    let output = again(test, &[("GRANULE_CHECK", tier)]);
    let said = String::from_utf8_lossy(&output.stderr);
    let report = said.lines().find(|line| line.starts_with("granule: "));
    assert!(report.is_some_and(|report| report.contains(kind)), "{tier}: {said}");
    let code = output.status.code().map(i32::cast_unsigned);
    assert_eq!(code, Some(FAST_FAIL), "{tier}: {said}");
}

#[test]
fn a_double_free_ends_the_process_with_a_report() {
    if !is_child() {
        for tier in ["basic", "moderate", "full"] {
            ends_with("a_double_free_ends_the_process_with_a_report", tier, "double free");
        }
        return;
    }
    let large = block(9 << 20);
    // SAFETY: none: this is the misuse under test.
    unsafe {
        process_heap().free(large);
        process_heap().free(large);
    }
}

#[test]
fn a_foreign_pointer_ends_the_process_with_a_report() {
    if !is_child() {
        for tier in ["basic", "moderate", "full"] {
            ends_with("a_foreign_pointer_ends_the_process_with_a_report", tier, "invalid pointer");
        }
        return;
    }
    let mut foreign = [0u64; 4];
    block(16);
    // SAFETY: none: this is the misuse under test.
    unsafe { process_heap().free(NonNull::from(&mut foreign[2]).cast()) };
}

#[test]
fn one_byte_past_the_end_is_found_in_full() {
    if !is_child() {
        ends_with("one_byte_past_the_end_is_found_in_full", "full", "written past its end");
        return;
    }
    let block = block(24);
    // SAFETY: none: this is the misuse under test; the byte is the heap's.
    unsafe {
        block.add(24).write(0x5a);
        process_heap().free(block);
    }
}

#[test]
fn the_tier_is_what_the_environment_says() {
    const TEST: &str = "the_tier_is_what_the_environment_says";
    if !is_child() {
        for tier in ["none", "basic", "moderate", "full", "nonsense", ""] {
            holds(TEST, &[("GRANULE_CHECK", tier)]);
        }
        return;
    }
    let said = std::env::var("GRANULE_CHECK").unwrap_or_default();
    let tier = match said.as_str() {
        "none" => Tier::None,
        "moderate" => Tier::Moderate,
        "full" => Tier::Full,
        _ => Tier::Basic,
    };
    assert_eq!(ProcessConfig::tier(), tier);
}

#[test]
fn presets_are_what_the_environment_says() {
    const TEST: &str = "presets_are_what_the_environment_says";
    if !is_child() {
        for preset in ["frugal", "balanced", "throughput", "other"] {
            holds(TEST, &[("GRANULE_PRESET", preset), ("GRANULE_HUGE", "0")]);
        }
        return;
    }
    let limits = match std::env::var("GRANULE_PRESET").as_deref() {
        Ok("frugal") => Limits::FRUGAL,
        Ok("throughput") => Limits::THROUGHPUT,
        _ => Limits::BALANCED,
    };
    let limits = Limits { huge_pages: HugePages::Refused, ..limits };
    assert_eq!(ProcessConfig::limits(), limits);
}

#[test]
fn a_reserve_is_committed_at_the_start() {
    const TEST: &str = "a_reserve_is_committed_at_the_start";
    if !is_child() {
        holds(TEST, &[("GRANULE_RESERVE", "48M")]);
        holds(TEST, &[("GRANULE_RESERVE", "48M,touch")]);
        return;
    }
    let stats = process_heap().stats();
    assert!(stats.committed >= 48 << 20, "{stats:?}");
    if std::env::var("GRANULE_RESERVE").is_ok_and(|value| value.ends_with("touch")) {
        assert!(stats.resident_free_bytes >= 48 << 20, "{stats:?}");
    }
}

#[test]
fn large_pages_are_used_or_done_without() {
    const TEST: &str = "large_pages_are_used_or_done_without";
    if !is_child() {
        holds(TEST, &[("GRANULE_HUGE", "1")]);
        return;
    }
    let blocks: Vec<_> = (0..64).map(|_| block(1 << 20)).collect();
    for block in &blocks {
        // SAFETY: live, of that size.
        unsafe { block.write_bytes(1, 1 << 20) };
    }
    for block in blocks {
        // SAFETY: live, and freed once.
        unsafe { process_heap().free(block) };
    }
    process_heap().reclaim();
    process_heap().check().unwrap_or_else(|violation| panic!("{violation}"));
    assert_eq!(process_heap().stats().live_bytes(), 0);
}
