//! The front end of the process's heap: caches per CPU where the kernel has
//! what they need, per thread elsewhere.
//!
//! The choice is made once, at the first miss of the process, and stays. Hits
//! do not look at it, see [`front`](super::front): whoever has not heard of the
//! choice yet misses, asks, and hears.
//!
//! ```text
//! Open ─ first miss ─▶ Preparing ┬▶ CPUs, by dense or physical numbers
//!                                └▶ threads
//! ```
//!
//! CPUs with physical numbers are the exception: their hits come to them after
//! a miss elsewhere. Kernels since 6.3 have the others.
//!
//! `GRANULE_FRONTEND=thread` asks for threads; `rseq` for CPUs, also on
//! kernels that are known to be broken, as far as they can be had at all.
//! Before the C library has set the environment up the choice stays open, and
//! blocks come from the slabs one by one.

use core::ptr::null_mut;

use granule_core::FrontEnd;
use granule_core::base::class::Class;
use granule_core::cache::Current;
use granule_core::cache::sheaf::Top;

use super::env::HostEnv;
use super::front::{self, PHYSICAL_SLOTS, TABLE};
use super::rseq::{self, Numbers, Rigour};
use super::settings::{self, Environ};
use super::threads::LinuxThread;
use crate::user::caches::Caches;
use crate::user::choice::{Choice, OPEN};
use crate::user::settings::settle_tier;
use crate::user::threads::ThreadSlots;

/// What the environment asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    Any,
    Cpus,
    Threads,
}

const DENSE: u8 = 2;
const PHYSICAL: u8 = 3;
const THREADS: u8 = 4;

static CHOICE: Choice = Choice::open();

static THREAD_SLOTS: ThreadSlots<LinuxThread> = ThreadSlots::new();

/// Who has the caches of the process's heap.
#[must_use]
pub fn caches() -> Caches {
    match CHOICE.get() {
        DENSE | PHYSICAL => Caches::Cpus,
        THREADS => Caches::Threads,
        _ => Caches::Open,
    }
}

/// Chooses, if that can be done yet and has not been.
pub(super) fn choose_now() {
    let _ = chosen();
}

/// The front end of slow paths, chosen first if it has to be.
#[inline]
pub(super) fn chosen() -> Option<&'static dyn FrontEnd<HostEnv>> {
    match CHOICE.get() {
        OPEN => choose(),
        choice => front_end(choice),
    }
}

/// A pop from the cache of whoever has them, without a table of functions: all
/// misses come by one of these and, where every call is checked, all calls.
#[inline]
pub(super) fn pop_chosen(class: Class) -> *mut u8 {
    match CHOICE.get() {
        DENSE => TABLE.pop(class),
        THREADS => THREAD_SLOTS.pop(class),
        _ => chosen().map_or(null_mut(), |front| front.pop(class)),
    }
}

/// A push to it.
///
/// # Safety
///
/// Caller: as for [`FrontEnd::push`].
#[inline]
pub(super) unsafe fn push_chosen(class: Class, object: *mut u8) -> bool {
    // SAFETY: by the contract.
    unsafe {
        match CHOICE.get() {
            DENSE => TABLE.push(class, object),
            THREADS => THREAD_SLOTS.push(class, object),
            _ => chosen().is_some_and(|front| front.push(class, object)),
        }
    }
}

/// A swap in it.
///
/// # Safety
///
/// Caller: as for [`FrontEnd::swap`].
#[inline]
pub(super) unsafe fn swap_chosen(class: Class, expected: Top, new: Top) -> bool {
    // SAFETY: by the contract.
    unsafe {
        match CHOICE.get() {
            DENSE => TABLE.swap(class, expected, new),
            THREADS => THREAD_SLOTS.swap(class, expected, new),
            _ => chosen().is_some_and(|front| front.swap(class, expected, new)),
        }
    }
}

/// Where the caller stands with it.
#[inline]
pub(super) fn current_chosen() -> Current<'static, HostEnv> {
    match CHOICE.get() {
        DENSE => TABLE.current(),
        THREADS => THREAD_SLOTS.current(),
        _ => chosen().map_or(Current::Stopped, FrontEnd::current),
    }
}

#[inline]
fn front_end(choice: u8) -> Option<&'static dyn FrontEnd<HostEnv>> {
    match choice {
        DENSE => Some(&TABLE),
        PHYSICAL => Some(&PHYSICAL_SLOTS),
        THREADS => Some(&THREAD_SLOTS),
        _ => None,
    }
}

#[cold]
fn choose() -> Option<&'static dyn FrontEnd<HostEnv>> {
    let wish = wish()?;
    let prepare = || {
        let rigour = if wish == Wish::Cpus { Rigour::Insistent } else { Rigour::Careful };
        let choice = match rseq::numbers() {
            _ if wish == Wish::Threads => THREADS,
            Numbers::Dense if rseq::set_up(&TABLE, rigour).is_ok() => DENSE,
            Numbers::Physical if rseq::set_up(&PHYSICAL_SLOTS, rigour).is_ok() => PHYSICAL,
            _ => THREADS,
        };
        // Before a thread can learn of the choice, and lead its hits to a cache.
        close_where_checked();
        choice
    };
    front_end(CHOICE.make(prepare, announce))
}

/// Closes hits where every call is checked; whether it is so.
fn close_where_checked() -> bool {
    let checked = settle_tier::<Environ>().checks_calls();
    if checked {
        front::close();
    }
    checked
}

/// Lets hits know; there are none where every call is checked.
fn announce(choice: u8) {
    if !close_where_checked() && matches!(choice, DENSE | THREADS) {
        front::open();
    }
}

/// In the child of a fork: ends a choice that another thread was about to
/// make, as published or as open again.
pub(super) fn settle() {
    let settled = match () {
        () if Numbers::Dense.areas() != 0 => DENSE,
        () if Numbers::Physical.areas() != 0 => PHYSICAL,
        () => OPEN,
    };
    CHOICE.settle(settled);
    announce(CHOICE.get());
}

/// What the environment says; `None` before there is one.
fn wish() -> Option<Wish> {
    Some(match settings::variable(b"GRANULE_FRONTEND").ok()? {
        Some(b"rseq") => Wish::Cpus,
        Some(b"thread") => Wish::Threads,
        _ => Wish::Any,
    })
}
