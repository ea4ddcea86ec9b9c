//! Looking something up while others enter and leave: what is shown is whole, and
//! has not ended.

use granule_core::base::fault::Fault;
use granule_core::base::sync::modelled::plain;
use granule_core::check::model::{LOCK, Model, spawn};

use super::*;
use std::boxed::Box;

/// Other threads run while one waits.
struct ModelEnv;

// SAFETY: nothing allocates, and there are no interrupts; `fatal` ends the execution.
unsafe impl Environment for ModelEnv {
    type Exclusion = ();

    fn exclude() {}

    fn wait(_spins: u32) {
        granule_core::base::sync::atomic::spin_loop();
    }

    fn now_ms() -> u32 {
        0
    }

    fn fatal(fault: Fault) -> ! {
        panic!("{}", fault.kind)
    }
}

struct Item(Links<Item>);

impl Linked for Item {
    fn links(&self) -> &Links<Self> {
        &self.0
    }
}

type Items = Roster<Item, ModelEnv>;

/// An empty list for one execution: tests run side by side, and a mutant that fails
/// leaves its list as it is.
fn empty() -> &'static Items {
    Box::leak(Box::new(Items::new()))
}

fn free_list(items: &'static Items) {
    assert!(!items.any());
    // SAFETY: of `empty`, and all threads have ended.
    drop(unsafe { Box::from_raw(core::ptr::from_ref(items).cast_mut()) });
}

/// Memory for an item that is freed after all threads have ended: loom knows nothing of
/// what the host's allocator orders, and would find whoever gets it next in a race.
fn place(outer: Option<NonNull<Item>>) -> NonNull<Item> {
    NonNull::from(Box::leak(Box::new(Item(Links::new(outer, false)))))
}

/// What an item is written at its beginning and at its end.
fn write(item: NonNull<Item>) {
    plain::wrote(item.as_ptr());
}

fn free(item: NonNull<Item>) {
    // SAFETY: of `place`, and in no list.
    drop(unsafe { Box::from_raw(item.as_ptr()) });
}

/// Shows the first item; whether there is one.
fn look(items: &Items) -> bool {
    let all = |item: &Item| {
        plain::read(item);
        Some(0)
    };
    items.find(all, |item| plain::read(item)).is_some()
}

#[test]
fn what_is_found_is_whole_and_has_not_ended() {
    Model::new(|| {
        let items = empty();
        let outer = place(None);
        let inner = place(Some(outer));
        write(outer);
        // SAFETY: new.
        unsafe { items.enter(outer) };
        let other = spawn(move || {
            look(items);
            look(items);
        });
        write(inner);
        // SAFETY: new; and both are taken out before they end.
        unsafe {
            items.enter(inner);
            assert!(look(items));
            items.leave(outer);
        }
        assert!(!items.any() && !look(items), "the inner one has left with the outer one");
        write(inner);
        write(outer);
        other.join();
        free_list(items);
        free(inner);
        free(outer);
    })
    .verify(&[LOCK]);
}

#[test]
fn a_fork_waits_for_changes_and_finds_the_list_whole() {
    Model::new(|| {
        let items = empty();
        let [item, others] = [place(None), place(None)];
        write(item);
        // SAFETY: new.
        unsafe { items.enter(item) };
        let other = spawn(move || {
            write(others);
            // SAFETY: new; written again when it has been taken out.
            unsafe {
                items.enter(others);
                items.leave(others);
            }
            write(others);
        });
        items.hold(|item| plain::read(item));
        // SAFETY: just held.
        unsafe { items.unhold(|item| plain::read(item)) };
        // SAFETY: entered above.
        unsafe { items.leave(item) };
        write(item);
        other.join();
        free_list(items);
        free(others);
        free(item);
    })
    .verify(&[LOCK]);
}
