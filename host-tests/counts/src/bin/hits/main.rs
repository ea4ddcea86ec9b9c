//! Hits of each front end, for somebody who counts instructions.
//!
//! ```text
//! granule-hits DOOR HITS SIZE    DOOR: rust, guarded or c; blocks of SIZE bytes
//! granule-hits steps             caches Cpus|Threads, then DOOR OPERATION COUNT of rust and c
//! ```
//! Under `callgrind` each of the functions `counted_DOOR_OPERATION` is counted
//! alone. `cargo xtask bench instructions` runs it with two numbers of hits: the
//! difference is what hits cost, whatever the first misses and the start cost.
//!
//! With `steps` it counts by itself, see [`steps`]: for the caches of CPUs, which
//! callgrind cannot count.
//!
//! Each count includes the call of the function: two or three instructions,
//! the same in every version.

#[cfg(target_arch = "x86_64")]
mod steps;

use anyhow::{Context, Result, bail};
use granule::process_heap;
use granule_core::base::fault::Fault;
use granule_core::cache::guarded::{Cpu, Guarded};
use granule_core::{Config, Environment, Heap};
use std::alloc::Layout;
use std::hint::black_box;
use std::ptr::NonNull;

/// Bytes of every block where nobody says otherwise.
const SIZE: usize = 64;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args == ["steps"] {
        return count_steps();
    }
    let [door, hits, size] = &args[..] else { bail!("usage: granule-hits DOOR HITS SIZE | steps") };
    let hits: usize = hits.parse().context("HITS")?;
    let size: usize = size.parse().context("SIZE")?;
    let run = match &**door {
        "rust" => rust,
        "guarded" => guarded,
        "c" => c,
        _ => bail!("there is no door {door}"),
    };
    for _ in 0..hits {
        run(size);
    }
    Ok(())
}

/// The block; there is nothing to count without.
fn present(block: *mut u8) -> NonNull<u8> {
    NonNull::new(black_box(block)).expect("memory for one block")
}

fn layout(size: usize) -> Layout {
    // SAFETY: 16 is a power of two, and `SIZE` is small.
    unsafe { Layout::from_size_align_unchecked(size, 16) }
}

/// Defines the counted functions of one heap.
macro_rules! counted {
    ($heap:expr, $run:ident, $alloc:ident, $dealloc:ident, $free:ident) => {
        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $alloc(size: usize) -> *mut u8 {
            $heap.alloc(layout(size))
        }

        /// # Safety
        ///
        /// Caller: `block` is live and of that size.
        #[unsafe(no_mangle)]
        #[inline(never)]
        unsafe extern "C" fn $dealloc(block: NonNull<u8>, size: usize) {
            // SAFETY: by the contract.
            unsafe { $heap.dealloc(block, layout(size)) }
        }

        /// # Safety
        ///
        /// Caller: `block` is live.
        #[unsafe(no_mangle)]
        #[inline(never)]
        unsafe extern "C" fn $free(block: NonNull<u8>) {
            // SAFETY: by the contract.
            unsafe { $heap.free(block) }
        }

        /// Each of them, once.
        fn $run(size: usize) {
            let block = present($alloc(size));
            // SAFETY: just taken, with this size.
            unsafe { $dealloc(block, size) };
            let block = present($alloc(size));
            // SAFETY: just taken.
            unsafe { $free(block) };
        }
    };
}

counted!(process_heap(), rust, counted_rust_alloc, counted_rust_dealloc, counted_rust_free);
counted!(PORTABLE, guarded, counted_guarded_alloc, counted_guarded_dealloc, counted_guarded_free);

/// The C library's door: `libgranule.so`, preloaded.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn counted_c_alloc(size: usize) -> *mut u8 {
    // SAFETY: malloc has no preconditions.
    unsafe { libc::malloc(size) }.cast()
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn counted_c_calloc(size: usize) -> *mut u8 {
    // SAFETY: calloc has no preconditions.
    unsafe { libc::calloc(1, size) }.cast()
}

/// What `calloc` does besides, by the same library.
///
/// # Safety
///
/// Caller: `block` is live and of that size.
#[unsafe(no_mangle)]
#[inline(never)]
unsafe extern "C" fn counted_c_clear(block: NonNull<u8>, size: usize) {
    // SAFETY: by the contract.
    unsafe { libc::memset(block.as_ptr().cast(), 0, size) };
}

/// # Safety
///
/// Caller: `block` came from [`counted_c_alloc`] or [`counted_c_calloc`] and is live.
#[unsafe(no_mangle)]
#[inline(never)]
unsafe extern "C" fn counted_c_free(block: NonNull<u8>) {
    // SAFETY: by the contract.
    unsafe { libc::free(block.as_ptr().cast()) }
}

fn c(size: usize) {
    for alloc in [counted_c_alloc, counted_c_calloc] {
        let block = present(alloc(size));
        // SAFETY: just taken, of that size.
        unsafe {
            counted_c_clear(block, size);
            counted_c_free(block);
        }
    }
}

/// Counts the hits of the process's heap, one by one. `c` tells of granule only
/// under its preload.
#[cfg(target_arch = "x86_64")]
fn count_steps() -> Result<()> {
    use std::mem::transmute;
    use steps::{Operation, counted};

    const WARM: usize = 2000;
    // Who has caches is chosen at the first miss.
    rust(SIZE);
    println!("caches {:?}", granule::caches());
    let counts = steps::count(|| {
        (0..WARM).for_each(|_| rust(SIZE));
        (0..WARM).for_each(|_| c(SIZE));
        // SAFETY: an operation takes two words and gives one back; each of
        // these takes its arguments, a size or a pointer, in these words, and
        // leaves the other alone. Blocks are taken and given back in pairs.
        unsafe {
            let word = |function: *const ()| transmute::<*const (), Operation>(function);
            let alloc = word(counted_rust_alloc as *const ());
            let block = counted(alloc, SIZE, 0);
            counted(word(counted_rust_dealloc as *const ()), block, SIZE);
            let block = alloc(SIZE, 0);
            counted(word(counted_rust_free as *const ()), block, 0);
            let block = counted(word(counted_c_alloc as *const ()), SIZE, 0);
            counted(word(counted_c_free as *const ()), block, 0);
        }
    })?;
    let names = ["rust alloc", "rust dealloc", "rust free", "c alloc", "c free"];
    if counts.len() != names.len() {
        bail!("counted {} operations of {}", counts.len(), names.len());
    }
    for (name, count) in names.iter().zip(counts) {
        println!("{name} {count}");
    }
    Ok(())
}

#[cfg(not(target_arch = "x86_64"))]
fn count_steps() -> Result<()> {
    bail!("steps are counted on x86_64 alone")
}

/// One CPU: the portable front end at its plainest.
struct OneCpu;

// SAFETY: this program has one thread, and nothing nests.
unsafe impl Cpu for OneCpu {
    type Guard = ();

    const CPUS: usize = 1;

    fn try_enter() -> Option<(usize, ())> {
        Some((0, ()))
    }
}

/// No clock, no waiting.
struct Alone;

// SAFETY: nothing nests, allocates, or returns from a fault.
unsafe impl Environment for Alone {
    type Exclusion = ();

    fn exclude() {}

    fn wait(_spins: u32) {}

    fn now_ms() -> u32 {
        0
    }

    fn fatal(fault: Fault) -> ! {
        eprintln!("{fault}");
        std::process::abort()
    }
}

/// The heap as a kernel of one CPU would have it.
struct Portable;

impl Config for Portable {
    type Pages = granule::HostPages;
    type Front = Guarded<OneCpu, Alone, 1>;
    type Env = Alone;
}

static PORTABLE: Heap<Portable> = Heap::new(granule::HostPages::new(), Guarded::new());
