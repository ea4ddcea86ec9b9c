//! Interrupts in models: a handler that runs on top of a thread after one of
//! its accesses, on the same stack, unless it is masked.

use core::cell::RefCell;
use std::boxed::Box;

use loom::thread::ThreadId;

struct Interrupt {
    on: ThreadId,
    accesses: usize,
    masks: usize,
    came_by_itself: bool,
    handler: Option<Box<dyn FnOnce()>>,
}

std::thread_local! {
    static INTERRUPT: RefCell<Option<Interrupt>> = const { RefCell::new(None) };
}

/// Keeps the interrupt of the caller's thread out until it is dropped, where
/// it then comes.
#[derive(Debug)]
#[must_use = "dropping it lets the interrupt come"]
pub struct Masked(());

/// Lets an interrupt come on top of the calling thread, after so many more of
/// its accesses to atomics.
pub fn interrupt_after(accesses: usize, handler: impl FnOnce() + 'static) {
    let on = loom::thread::current().id();
    let handler: Option<Box<dyn FnOnce()>> = Some(Box::new(handler));
    INTERRUPT.set(Some(Interrupt { on, accesses, masks: 0, came_by_itself: false, handler }));
}

/// The interrupt comes at last, if it has not.
pub fn interrupt_now() {
    let last = INTERRUPT.with_borrow_mut(|interrupt| {
        let interrupt = interrupt.as_mut()?;
        interrupt.came_by_itself = interrupt.handler.is_none();
        interrupt.handler.take()
    });
    if let Some(handler) = last {
        handler();
    }
}

/// Whether the interrupt of the last execution had come when it was asked for.
pub(crate) fn came_by_itself() -> bool {
    INTERRUPT.with_borrow(|last| last.as_ref().is_some_and(|last| last.came_by_itself))
}

pub(super) fn clear() {
    INTERRUPT.set(None);
}

fn on_this_thread(work: impl FnOnce(&mut Interrupt)) {
    INTERRUPT.with_borrow_mut(|interrupt| {
        if let Some(interrupt) = interrupt
            && interrupt.on == loom::thread::current().id()
        {
            work(interrupt);
        }
    });
}

impl Masked {
    /// Masks the interrupt.
    pub fn new() -> Self {
        if super::is_on() {
            on_this_thread(|interrupt| interrupt.masks += 1);
        }
        Self(())
    }
}

impl Default for Masked {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Masked {
    fn drop(&mut self) {
        if super::is_on() {
            on_this_thread(|interrupt| interrupt.masks = interrupt.masks.saturating_sub(1));
            come(0);
        }
    }
}

/// After an access: an interrupt that is due comes now.
pub(super) fn step() {
    come(1);
}

fn come(accesses: usize) {
    let mut handler = None;
    on_this_thread(|interrupt| {
        interrupt.accesses = interrupt.accesses.saturating_sub(accesses);
        if interrupt.accesses == 0 && interrupt.masks == 0 {
            handler = interrupt.handler.take();
        }
    });
    if let Some(handler) = handler {
        handler();
    }
}
