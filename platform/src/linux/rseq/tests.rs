//! The front end conforms, on every CPU there is and with either area.
//!
//! Each test takes the area that the process has chosen and a table of its
//! own. What chooses otherwise than this process does runs in a child.

use core::ptr::NonNull;
use std::boxed::Box;
use std::process::Command;
use std::string::{String, ToString};
use std::{env, println};

use granule_core::check::conformance::{Bench, Report, front_end};

use super::super::choice::caches;
use super::*;
use crate::Caches;

/// Set, the process takes CPUs' physical numbers, as on older kernels.
pub(super) const PHYSICAL: &str = "GRANULE_TEST_PHYSICAL";

/// Who has the caches here: its first miss makes the process choose. Another
/// thread may be at it.
pub(super) fn caches_of_this_process() -> Caches {
    let heap = crate::process_heap();
    loop {
        let block = NonNull::new(heap.alloc(core::alloc::Layout::new::<u64>())).expect("memory");
        // SAFETY: live.
        unsafe { heap.free(block) };
        match caches() {
            Caches::Open => std::thread::yield_now(),
            chosen => return chosen,
        }
    }
}

/// A front end of the test's own; `None` where this process has none of CPUs,
/// because the kernel lacks something or the environment said so.
pub(super) fn open<S: Sequences>(slots: &'static CpuSlots<S>) -> Option<&'static CpuSlots<S>> {
    if caches_of_this_process() != Caches::Cpus {
        println!("no caches of CPUs here");
        return None;
    }
    slots.fill(area::limit(), stopped());
    Some(slots)
}

/// Confines the calling thread to one CPU, or to the two first.
pub(super) fn pin(cpus: &[usize]) -> bool {
    // SAFETY: all-zero bytes are a valid set.
    let mut set: libc::cpu_set_t = unsafe { core::mem::zeroed() };
    for cpu in cpus {
        // SAFETY: the set is ours; numbers beyond it are checked.
        unsafe { libc::CPU_SET(*cpu, &mut set) };
    }
    // SAFETY: the set is as long as said.
    unsafe { libc::sched_setaffinity(0, size_of_val(&set), &raw const set) == 0 }
}

fn conforms_pinned<S: Sequences>(cpu: usize) -> Option<Report> {
    // SAFETY: `open` opens it.
    let slots = Box::leak(Box::new(unsafe { CpuSlots::<S>::new() }));
    let slots = open(slots)?;
    if !pin(&[cpu]) {
        println!("CPU {cpu} is not ours");
        return None;
    }
    let bench = Box::leak(Box::new(Bench::new()));
    Some(front_end(slots, bench).expect("conforms"))
}

/// On a thread of its own, whose affinity ends with it.
fn on_a_thread<R: Send + 'static>(test: impl FnOnce() -> R + Send + 'static) -> R {
    std::thread::spawn(test).join().expect("no panic")
}

#[test]
fn the_front_end_conforms_on_every_cpu() {
    let cpus = std::thread::available_parallelism().expect("CPUs").get();
    for cpu in 0..cpus.min(8) {
        let conforms = match numbers() {
            Numbers::Dense => conforms_pinned::<Dense>,
            Numbers::Physical => conforms_pinned::<Physical>,
        };
        if let Some(report) = on_a_thread(move || conforms(cpu)) {
            assert_eq!(report.refusals, 0, "any CPU can be stopped");
        }
    }
}

/// The program that runs tests of another processor and its arguments, where
/// there is one: the kernel would not start their children without it.
const RUNNER: &str = "GRANULE_TEST_RUNNER";

/// Runs a test of this module again, in a child with `variables`.
pub(super) fn again(name: &str, variables: &[(&str, &str)]) -> (bool, String) {
    let program = env::current_exe().expect("this program");
    let runner = env::var(RUNNER).unwrap_or_default();
    let mut words = runner.split_whitespace();
    let mut command = match words.next() {
        Some(emulator) => Command::new(emulator),
        None => Command::new(&program),
    };
    if !runner.is_empty() {
        command.args(words).arg(&program);
    }
    command.args(["--exact", name, "--nocapture", "--test-threads=1"]);
    command.envs(variables.iter().copied());
    let output = command.output().expect("it starts");
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).to_string())
}

const CONFORMS: &str = "linux::rseq::tests::the_front_end_conforms_on_every_cpu";

#[test]
fn it_conforms_with_areas_of_our_own_and_with_physical_numbers() {
    if caches_of_this_process() != Caches::Cpus {
        return;
    }
    for variable in [("GLIBC_TUNABLES", "glibc.pthread.rseq=0"), (PHYSICAL, "1")] {
        let (passed, text) = again(CONFORMS, &[variable]);
        assert!(passed && text.contains("1 passed"), "{text}");
    }
}

#[test]
fn the_areas_are_whose_they_should_be() {
    if caches_of_this_process() != Caches::Cpus {
        return;
    }
    let own = core::ptr::eq(area_pointer(), own_pointer());
    let told = env::var("GLIBC_TUNABLES").is_ok_and(|text| text.contains("rseq=0"));
    let (_, size) = arch::library_symbols();
    // SAFETY: null, or the C library's.
    let library = unsafe { size.as_ref() }.is_some_and(|size| *size != 0);
    assert_eq!(own, told || !library, "ours exactly when the C library has none");
    if !told {
        let name = "linux::rseq::tests::the_areas_are_whose_they_should_be";
        let (passed, text) = again(name, &[("GLIBC_TUNABLES", "glibc.pthread.rseq=0")]);
        assert!(passed && text.contains("1 passed"), "{text}");
    }
}

fn area_pointer() -> *mut u8 {
    arch::thread_pointer().wrapping_offset(Numbers::Dense.areas())
}

fn own_pointer() -> *mut u8 {
    arch::thread_pointer().wrapping_offset(arch::own_offset())
}

/// A thread whose area has been taken back, as at its end, works without a
/// cache; others go on.
#[test]
fn a_thread_that_has_ended_misses() {
    if caches_of_this_process() != Caches::Cpus {
        return;
    }
    if env::var("GLIBC_TUNABLES").is_err() {
        let name = "linux::rseq::tests::a_thread_that_has_ended_misses";
        let (passed, text) = again(name, &[("GLIBC_TUNABLES", "glibc.pthread.rseq=0")]);
        assert!(passed && text.contains("1 passed"), "{text}");
        return;
    }
    on_a_thread(|| {
        let layout = core::alloc::Layout::new::<[u64; 8]>();
        let heap = crate::process_heap();
        let blocks = [0; 50].map(|_| NonNull::new(heap.alloc(layout)).expect("memory"));
        thread_ends();
        assert_eq!(area::number(), None);
        for block in blocks {
            // SAFETY: live, of that layout.
            unsafe { heap.dealloc(block, layout) };
        }
        assert!(heap.pop_cached(Class::of(64, 8)).is_null(), "no cache any more");
    });
    assert!(area::number().is_some(), "this thread has one still");
}

/// Runs a test of this module in a child with a variable, unless this is it;
/// whether it is.
fn is_the_child(name: &str, variable: (&str, &str)) -> bool {
    if env::var(variable.0).as_deref() == Ok(variable.1) {
        return true;
    }
    let (passed, text) = again(&["linux::rseq::tests::", name].concat(), &[variable]);
    assert!(passed && text.contains("1 passed"), "{text}");
    false
}

const LAYOUT: core::alloc::Layout = core::alloc::Layout::new::<[u64; 8]>();

/// A block of the process's heap that has just been freed.
fn freed() -> NonNull<u8> {
    let heap = crate::process_heap();
    let block = NonNull::new(heap.alloc(LAYOUT)).expect("memory");
    // SAFETY: live, of that layout.
    unsafe { heap.dealloc(block, LAYOUT) };
    block
}

/// What hits find of threads' caches: a number of each thread's, and by it the
/// block that was freed last.
#[test]
fn hits_find_the_cache_of_a_thread() {
    if !is_the_child("hits_find_the_cache_of_a_thread", ("GRANULE_FRONTEND", "thread")) {
        return;
    }
    let heap = crate::process_heap();
    let hit = || {
        let block = freed();
        assert!(heap.is_open_for(LAYOUT.size()), "there are caches");
        // SAFETY: as just tested.
        let hit = unsafe { heap.pop_first(Class::of(LAYOUT.size(), LAYOUT.align())) };
        assert_eq!(hit, block.as_ptr());
        // SAFETY: live, of that layout.
        unsafe { heap.dealloc(block, LAYOUT) };
        own_number().expect("a number")
    };
    let own = hit();
    assert_eq!(caches(), Caches::Threads);
    let other = on_a_thread(hit);
    assert_ne!(other, own, "two threads, two numbers");
    assert_eq!(on_a_thread(hit), other, "a number comes back at a thread's end");
    assert_eq!(hit(), own);
}

/// Where CPUs have physical numbers hits miss, and their caches are found all
/// the same.
#[test]
fn physical_caches_are_found_behind_a_miss() {
    if caches_of_this_process() != Caches::Cpus
        || !is_the_child("physical_caches_are_found_behind_a_miss", (PHYSICAL, "1"))
    {
        return;
    }
    let heap = crate::process_heap();
    assert!(!heap.is_open_for(LAYOUT.size()));
    // The thread may be moved in between.
    let found = || {
        let block = freed();
        let again = heap.alloc(LAYOUT);
        // SAFETY: live, of that layout.
        unsafe { heap.dealloc(NonNull::new(again).expect("memory"), LAYOUT) };
        again == block.as_ptr()
    };
    assert!((0..100).any(|_| found()), "blocks come back");
}
