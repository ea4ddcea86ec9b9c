//! The cases, by what they are about.

mod banks;
mod conformance;
mod demo;
mod exhaustion;
mod figures;
mod handover;
mod interrupts;
mod nodes;
mod owned;
mod smp;
mod top;
mod unplug;

pub(crate) use handover::allocate_early;

use super::case::{Case, Outcome, When};

const fn always(name: &'static str, run: fn() -> Outcome) -> Case {
    Case { name, when: When::Always, run }
}

/// Every case there is.
pub(crate) static TABLE: &[Case] = &[
    always("handover", handover::early_blocks_live_on),
    always("collections", handover::collections),
    always("bad-input", handover::bad_input_is_named),
    always("conformance-frames", conformance::frames),
    always("conformance-front-end", conformance::front_end),
    always("exhaustion", exhaustion::to_the_last_frame_and_back),
    always("reserves", exhaustion::reserves_outlast_the_memory),
    always("banks", banks::one_heap_over_several),
    always("numa", nodes::each_core_has_memory_of_its_node),
    always("top-of-address-space", top::a_heap_at_the_top),
    always("smp-stress", smp::stress),
    always("interrupts", interrupts::allocate_on_top),
    always("nolock", interrupts::never_wait),
    always("locked-heap-deadlocks", interrupts::a_locked_heap_deadlocks),
    always("unplug", unplug::a_core_under_load),
    always("footprint", figures::footprint),
    always("throughput", figures::throughput),
    Case { name: "instructions", when: When::Counting, run: figures::instructions },
    Case { name: "soak", when: When::Asked, run: smp::soak },
    Case { name: "demo", when: When::Asked, run: demo::show },
];
