//! Thin slices of time: a thread gives way every few microseconds, wherever it
//! happens to be.
//!
//! A timer of the thread's own sends it a signal, whose handler yields and sets
//! the timer anew. The kernel's own slices are a hundred times as long: hardly
//! any would end while a lock is held.

use std::cell::Cell;
use std::marker::PhantomData;
use std::ptr::null_mut;
use std::sync::Once;

/// Nanoseconds of a slice.
const SLICE: libc::c_long = 20_000;

thread_local! {
    /// The thread's timer. Constant at first and without a destructor, so that
    /// a signal handler may read it at any time.
    static TIMER: Cell<libc::timer_t> = const { Cell::new(null_mut()) };
    static RUNNING: Cell<bool> = const { Cell::new(false) };
}

/// Slices of the calling thread, until it is dropped.
pub(crate) struct Slices(PhantomData<*const ()>);

impl Slices {
    /// Starts slicing the calling thread's time.
    pub(crate) fn start() -> Slices {
        static HANDLER: Once = Once::new();
        HANDLER.call_once(|| {
            let handler = give_way as extern "C" fn(libc::c_int);
            // SAFETY: all bits zero is a valid sigaction.
            let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
            action.sa_sigaction = handler as *const () as usize;
            action.sa_flags = libc::SA_RESTART;
            // SAFETY: the handler makes system calls alone, and keeps errno.
            let done = unsafe { libc::sigaction(libc::SIGALRM, &action, null_mut()) };
            assert_eq!(done, 0, "a handler for SIGALRM");
        });
        // SAFETY: all bits zero is a valid sigevent.
        let mut event: libc::sigevent = unsafe { std::mem::zeroed() };
        event.sigev_notify = libc::SIGEV_THREAD_ID;
        event.sigev_signo = libc::SIGALRM;
        // SAFETY: gettid takes nothing and cannot fail.
        event.sigev_notify_thread_id = unsafe { libc::gettid() };
        let mut timer = null_mut();
        // SAFETY: both are ours and live through the call.
        let made = unsafe { libc::timer_create(libc::CLOCK_MONOTONIC, &mut event, &mut timer) };
        assert_eq!(made, 0, "a timer");
        TIMER.set(timer);
        let slices = Slices(PhantomData);
        slices.resume();
        slices
    }

    /// Goes on after [`pause`](Self::pause).
    pub(crate) fn resume(&self) {
        RUNNING.set(true);
        set(SLICE);
    }

    /// Lets the thread run as it likes.
    pub(crate) fn pause(&self) {
        RUNNING.set(false);
        set(0);
    }
}

impl Drop for Slices {
    fn drop(&mut self) {
        self.pause();
        // SAFETY: made by `start` on this thread, and deleted only here; the
        // handler no longer sets it.
        unsafe { libc::timer_delete(TIMER.get()) };
    }
}

/// Sets the thread's timer; 0 stops it.
fn set(nanoseconds: libc::c_long) {
    let never = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    let value = libc::timespec { tv_nsec: nanoseconds, ..never };
    let when = libc::itimerspec { it_interval: never, it_value: value };
    // SAFETY: the timer is this thread's, `when` lives through the call.
    unsafe { libc::timer_settime(TIMER.get(), 0, &when, null_mut()) };
}

/// Ends a slice.
extern "C" fn give_way(_signal: libc::c_int) {
    // SAFETY: errno of this thread; whoever was interrupted finds it as it was.
    let errno = unsafe { *libc::__errno_location() };
    // SAFETY: sched_yield takes nothing.
    unsafe { libc::sched_yield() };
    if RUNNING.get() {
        set(SLICE);
    }
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = errno };
}
