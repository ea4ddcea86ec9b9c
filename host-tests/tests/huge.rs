//! `GRANULE_HUGE`: huge pages are there, or not.
#![cfg(target_os = "linux")]

use std::alloc::Layout;
use std::process::Command;
use std::ptr::NonNull;

use granule::Config;
use granule_core::base::limits::HugePages;

/// Set in the children, which run [`child`] alone.
const CHILD: &str = "GRANULE_TEST_HUGE_CHILD";

/// A figure of this process's memory, in KiB.
fn memory(field: &str) -> usize {
    let text = std::fs::read_to_string("/proc/self/smaps_rollup").expect("Linux 4.14");
    let line = text.lines().find_map(|line| line.strip_prefix(field)).expect("its line");
    line.trim_start_matches(':').trim_end_matches("kB").trim().parse().expect("a number")
}

#[test]
fn child() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let heap = granule::process_heap();
    let layout = Layout::new::<[u64; 512]>();
    let filled = |_| {
        let block = NonNull::new(heap.alloc(layout)).expect("memory");
        // SAFETY: a block of that layout.
        unsafe { block.write_bytes(1, layout.size()) };
        block
    };
    let blocks: Vec<_> = (0..4000).map(filled).collect();
    println!("figures {} {}", memory("AnonHugePages"), memory("Rss"));
    for block in blocks {
        // SAFETY: live, of that layout.
        unsafe { heap.dealloc(block, layout) };
    }
    heap.check().expect("whole");
    heap.reclaim();
    heap.check().expect("whole");
    assert!(heap.stats().resident_free_bytes < 1 << 20, "all goes when it is asked for");
    println!("says {:?}", granule::ProcessConfig::limits().huge_pages);
}

/// What a child says: KiB in huge pages, and resident; what its limits say.
fn with(value: Option<&str>) -> (usize, usize, String) {
    let mut command = Command::new(std::env::current_exe().expect("a test has a file"));
    command.args(["child", "--exact", "--nocapture", "--test-threads=1"]).env(CHILD, "1");
    command.env_remove("GRANULE_HUGE").env_remove("GRANULE_PRESET");
    command.envs(value.map(|value| ("GRANULE_HUGE", value)));
    let output = command.output().expect("the child runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout);
    let after = |word| text.split_once(word).expect("the child's line").1;
    let mut figures = after("figures ").split_whitespace().map(|number| number.parse().ok());
    let mut figure = || figures.next().flatten().expect("a number");
    let says = after("says ").lines().next().expect("a word").to_owned();
    (figure(), figure(), says)
}

/// Whether a program can have huge pages here: not where they are turned off,
/// for the machine or for us.
fn can_have() -> bool {
    let file = "/sys/kernel/mm/transparent_hugepage/enabled";
    let machine = std::fs::read_to_string(file).is_ok_and(|text| !text.contains("[never]"));
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    machine && !status.lines().any(|line| line.starts_with("THP_enabled:") && line.ends_with('0'))
}

#[test]
fn huge_pages_are_there_when_wanted() {
    let (huge, resident, says) = with(Some("1"));
    assert_eq!(says, format!("{:?}", HugePages::Wanted));
    // 16 MiB of blocks; the machine may be short of some.
    assert!(!can_have() || huge >= 4096, "{huge} KiB of {resident}");
    assert!(resident < 40 << 10, "{resident} KiB");
}

#[test]
fn a_small_heap_has_none_otherwise() {
    for (value, expected) in [
        (Some("0"), HugePages::Refused),
        (None, HugePages::AsTheMachine),
        (Some("yes"), HugePages::AsTheMachine),
    ] {
        let (huge, _, says) = with(value);
        assert_eq!(says, format!("{expected:?}"), "{value:?}");
        // The test's own stacks may have one.
        assert!(huge <= 4096, "{value:?}: {huge} KiB");
    }
}
