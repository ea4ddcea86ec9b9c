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

static ROSTER: Roster<Item, ModelEnv> = Roster::new();

fn made(outer: Option<NonNull<Item>>) -> NonNull<Item> {
    let item = NonNull::from(Box::leak(Box::new(Item(Links::new(outer)))));
    plain::wrote(item.as_ptr());
    item
}

/// Ends an item that was taken out.
fn end(item: NonNull<Item>) {
    plain::wrote(item.as_ptr());
    // SAFETY: of `made`, and in no list.
    drop(unsafe { Box::from_raw(item.as_ptr()) });
}

/// Shows the newest item; whether there is one.
fn look() -> bool {
    let all = |item: &Item| {
        plain::read(item);
        true
    };
    ROSTER.find(all, |item| plain::read(item)).is_some()
}

#[test]
fn what_is_found_is_whole_and_has_not_ended() {
    Model::new(|| {
        let outer = made(None);
        // SAFETY: new.
        unsafe { ROSTER.enter(outer) };
        let other = spawn(|| {
            look();
            look();
        });
        let inner = made(Some(outer));
        // SAFETY: new; and both are taken out before they end.
        unsafe {
            ROSTER.enter(inner);
            assert!(look());
            ROSTER.leave(outer);
        }
        assert!(!ROSTER.any() && !look(), "the inner one has left with the outer one");
        end(inner);
        end(outer);
        other.join();
    })
    .verify(&[LOCK]);
}

#[test]
fn a_fork_waits_for_changes_and_finds_the_list_whole() {
    Model::new(|| {
        let item = made(None);
        // SAFETY: new.
        unsafe { ROSTER.enter(item) };
        let other = spawn(|| {
            let item = made(None);
            // SAFETY: new; ended when it has been taken out.
            unsafe {
                ROSTER.enter(item);
                ROSTER.leave(item);
            }
            end(item);
        });
        ROSTER.hold(|item| plain::read(item));
        // SAFETY: just held.
        unsafe { ROSTER.unhold(|item| plain::read(item)) };
        // SAFETY: entered above.
        unsafe { ROSTER.leave(item) };
        end(item);
        other.join();
        assert!(!ROSTER.any());
    })
    .verify(&[LOCK]);
}
