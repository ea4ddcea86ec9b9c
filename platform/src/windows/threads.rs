//! Threads of Windows: two words in the thread's block, and an end that the
//! loader tells.
//!
//! The loader calls the functions in a program's or library's `.CRT$XL?`
//! sections, in the order of their names, when it starts and when a thread
//! ends; ours is among the last, after those that run destructors of
//! thread-locals, which may free. (A callback of fiber-local storage would be
//! earlier, and is called for fibers, too, by any thread.) A thread that is
//! terminated from outside tells nobody: its cache is lost.

use core::ffi::c_void;
use core::ptr::{from_ref, null_mut};
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use granule_core::cache::guarded::Cpu;
use windows_sys::Win32::System::LibraryLoader::{
    GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS, GET_MODULE_HANDLE_EX_FLAG_PIN, GetModuleHandleExW,
};
use windows_sys::Win32::System::SystemServices::{DLL_PROCESS_ATTACH, DLL_THREAD_DETACH};

use super::env::{HostEnv, quietly};
use super::settings;
use super::tls::{self, INDEX, SLOT};
use crate::user::front::{self, HitThread};
use crate::user::threads::{self as shared, Thread};

/// A thread of Windows.
#[derive(Debug)]
pub(crate) struct HostThread(());

/// Whether the loader calls us, and so tells when threads end.
static TOLD: AtomicBool = AtomicBool::new(false);

// SAFETY: the words are slots of ours in the thread's block; the loader calls
// `on_event` when a thread ends, as it has when the program started.
unsafe impl Thread for HostThread {
    type Env = HostEnv;

    #[inline(always)]
    fn slot() -> *mut c_void {
        SLOT.get()
    }

    #[inline(always)]
    fn set_slot(word: *mut c_void) {
        SLOT.set(word);
    }

    #[inline(always)]
    fn index() -> *mut c_void {
        INDEX.get()
    }

    fn set_index(word: *mut c_void) {
        INDEX.make();
        INDEX.set(word);
    }

    fn call_at_exit() -> bool {
        // Relaxed: it carries nothing.
        TOLD.load(Ordering::Relaxed)
    }
}

/// Offset of the words that hits look at; 0 while there are no hits.
static HITS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: `HITS` is 0 or the offset of `SLOT`.
unsafe impl HitThread for HostThread {
    #[inline]
    fn prepare() {
        SLOT.make();
    }

    fn open_hits() -> bool {
        // Relaxed: who frees too early misses; for others the bound of sizes
        // hands it over.
        HITS.store(SLOT.offset(), Ordering::Relaxed);
        SLOT.offset() != 0
    }

    #[inline(always)]
    fn hit_slot() -> *mut c_void {
        // Relaxed: a slot's number, which the word's load depends on.
        match HITS.load(Ordering::Relaxed) {
            0 => null_mut(),
            // SAFETY: a slot of ours.
            offset => unsafe { tls::read(offset) },
        }
    }

    #[inline(always)]
    unsafe fn open_slot() -> *mut c_void {
        // Relaxed: handed over, by the contract, and no longer 0.
        // SAFETY: a slot of ours.
        unsafe { tls::read(HITS.load(Ordering::Relaxed)) }
    }
}

/// What the loader calls.
type Callback = unsafe extern "system" fn(*mut c_void, u32, *mut c_void);

#[used]
#[unsafe(link_section = ".CRT$XLY")]
static AT_EVENTS: Callback = on_event;

// Makes the linker keep the table of callbacks.
#[cfg(target_env = "msvc")]
mod keep {
    use core::sync::atomic::AtomicPtr;

    unsafe extern "C" {
        #[link_name = "_tls_used"]
        static TABLE: u8;
    }

    #[used]
    static KEEP: AtomicPtr<u8> = AtomicPtr::new((&raw const TABLE).cast_mut());
}

unsafe extern "system" fn on_event(_module: *mut c_void, event: u32, _: *mut c_void) {
    match event {
        DLL_PROCESS_ATTACH => program_starts(),
        DLL_THREAD_DETACH => thread_ends(),
        // At the process's end nothing is to be done.
        _ => {}
    }
}

fn program_starts() {
    // Relaxed: it carries nothing.
    TOLD.store(true, Ordering::Relaxed);
    stay();
    // So that a tier of checks is in force before the program allocates.
    front::chosen();
    settings::program_starts();
}

/// Keeps the library that this is part of from being unloaded: blocks and the
/// slots of threads outlive `FreeLibrary`.
fn stay() {
    let flags = GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS | GET_MODULE_HANDLE_EX_FLAG_PIN;
    let mut module = null_mut();
    // A failure leaves unloading as unsafe as without us.
    // SAFETY: an address of ours, not a name; `module` is writable.
    quietly(|| unsafe { GetModuleHandleExW(flags, from_ref(&AT_EVENTS).cast(), &raw mut module) });
}

fn thread_ends() {
    if let Some(slot) = shared::thread_ends::<HostThread>() {
        // SAFETY: it is nobody's any more.
        unsafe { crate::process_heap().detach(slot) };
    }
}

/// The calling thread's number, as [`shared::present_number`].
#[inline(always)]
pub(crate) fn own_number() -> usize {
    shared::present_number::<HostThread>()
}

/// Numbers of threads, for heaps that have a cache for each.
///
/// A number is one thread's as long as the thread lives, so no guard is
/// needed; the next thread that gets it finds the caches warm.
#[derive(Clone, Copy, Debug)]
pub struct ThreadCpu;

// SAFETY: a number is handed to one thread at a time, with Release and
// Acquire on its bit.
unsafe impl Cpu for ThreadCpu {
    type Guard = ();

    const CPUS: usize = shared::MAX_INDEXED;

    #[inline]
    fn try_enter() -> Option<(usize, ())> {
        shared::number::<HostThread>().map(|number| (number, ()))
    }

    fn quiesce(cpu: usize) -> bool {
        shared::is_nobodys(cpu)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::alloc::Layout;
    use core::ptr::NonNull;
    use granule_core::FrontEnd;
    use granule_core::base::class::Class;
    use granule_core::check::conformance::{Bench, front_end};
    use std::boxed::Box;
    use std::thread;

    use crate::process_heap;
    use crate::user::front::HostSlots;

    #[test]
    fn the_front_end_conforms_in_every_thread() {
        for _ in 0..3 {
            let conforms = thread::spawn(|| {
                let front = HostSlots::new();
                let bench: &'static mut Bench<HostEnv> = Box::leak(Box::new(Bench::new()));
                let seen = front_end(&front, bench);
                // The bench's slot is none of the heap's.
                SLOT.set(null_mut());
                seen.expect("conforms").checks
            });
            assert!(conforms.join().expect("no panic") > 10);
        }
    }

    #[test]
    fn hits_find_the_threads_cache_and_nobody_elses() {
        let layout = Layout::new::<[u64; 9]>();
        let (front, class) = (HostSlots::new(), Class::of(72, 8));
        let first = || {
            assert!(front.is_open_for(72));
            // SAFETY: open.
            unsafe { front.pop_first(class) }
        };
        thread::scope(|scope| {
            scope.spawn(|| {
                assert!(first().is_null(), "a new thread has no cache");
                let block = NonNull::new(process_heap().alloc(layout)).expect("memory");
                // SAFETY: live, of that layout; what a hit gives is live again.
                unsafe {
                    process_heap().dealloc(block, layout);
                    assert_eq!(first(), block.as_ptr());
                    assert!(front.push_first(class, block.as_ptr()));
                }
                thread::scope(|inner| {
                    inner.spawn(|| assert!(first().is_null(), "nor has another"));
                });
            });
        });
    }

    #[test]
    fn a_thread_that_has_ended_leaves_no_cache_and_misses() {
        let ended = thread::spawn(|| {
            assert!(!process_heap().alloc(Layout::new::<u64>()).is_null());
            assert!(!SLOT.get().is_null());
            thread_ends();
            let stopped = SLOT.get();
            thread_ends();
            assert_eq!(SLOT.get(), stopped);
            let block = process_heap().alloc(Layout::new::<u64>());
            let block = NonNull::new(block).expect("memory, without a cache");
            // SAFETY: live, of that layout.
            unsafe { process_heap().dealloc(block, Layout::new::<u64>()) };
            SLOT.get() == stopped
        });
        assert!(ended.join().expect("no panic"));
    }
}
