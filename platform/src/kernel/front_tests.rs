//! Caches in the data of CPUs that are threads.

extern crate std;

use std::boxed::Box;

use granule_core::check::conformance::{Bench, front_end};

use super::*;
use crate::HostEnv;
use crate::kernel::cpu::CpuLocals;

static LOCALS: CpuLocals<2> = CpuLocals::new();

#[derive(Debug)]
struct Here;

// SAFETY: one test, hence one thread, uses these; nothing nests.
unsafe impl KernelCpu for Here {
    type Pin = ();

    const CPUS: usize = 2;

    fn pin() {}

    fn local() -> Option<&'static CpuLocal> {
        LOCALS.get(1)
    }

    fn local_of(cpu: usize) -> Option<&'static CpuLocal> {
        LOCALS.get(cpu)
    }
}

#[test]
fn caches_in_locals_conform() {
    // SAFETY: the only one over these locals.
    let front = unsafe { InLocals::<Here, HostEnv>::new() };
    let report = front_end(&front, Box::leak(Box::new(Bench::new()))).expect("it conforms");
    assert_eq!(report.refusals, 0, "its own CPU can be stopped");
    assert!(report.checks > 100, "{report:?}");
    assert!(front.slot_of(1).is_ok_and(|slot| slot.is_some()));
    assert!(front.slot_of(0).is_ok_and(|slot| slot.is_none()));
    assert!(front.slot_of(2).is_err());
}
