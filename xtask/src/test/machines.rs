//! The stages that boot the kernel under test on the machines of QEMU.

use super::{Output, Skipped, Stage};
use crate::qemu::{self, Boot, Clock, Machine, NoRust, Page, Profile, Show};
use crate::setup::Need;
use anyhow::{Result, bail};
use std::cell::OnceCell;
use std::path::PathBuf;
use std::rc::Rc;

/// The boots, a stage each. Every one runs all cases but where it names one.
const BOOTS: &[Boot<'static>] = &[
    Boot::new(Machine::Riscv64, 4),
    Boot::new(Machine::Aarch64, 4),
    Boot::new(Machine::Riscv64, 1),
    Boot::new(Machine::Aarch64, 1),
    Boot::new(Machine::Riscv64, 8),
    Boot::new(Machine::Aarch64, 8),
    Boot { page: Page::Medium, ..Boot::new(Machine::Aarch64, 4) },
    Boot { page: Page::Large, ..Boot::new(Machine::Aarch64, 4) },
    Boot { nodes: 2, ..Boot::new(Machine::Aarch64, 4) },
    Boot { nodes: 2, ..Boot::new(Machine::Riscv64, 4) },
    Boot { clock: Clock::Instructions, ..Boot::new(Machine::Riscv64, 1) },
    Boot { clock: Clock::Instructions, ..Boot::new(Machine::Aarch64, 1) },
    Boot { case: Some("soak"), seconds: Some(60), ..Boot::new(Machine::Riscv64, 4) },
    Boot { case: Some("soak"), seconds: Some(60), ..Boot::new(Machine::Aarch64, 4) },
];

/// What all of them need.
pub(super) fn needs() -> Vec<&'static Need> {
    Machine::ALL.map(Machine::needs).to_vec()
}

/// One stage a machine to build its kernel, then one a boot.
pub(super) fn stages() -> Vec<Stage> {
    let kernels = Rc::new(Kernels::default());
    let mut stages = Vec::new();
    for machine in Machine::ALL {
        let shared = Rc::clone(&kernels);
        stages.push(Stage {
            name: format!("the kernel for {} builds", machine.name()),
            output: Output::Shown,
            work: Box::new(move || shared.of(machine).map(|_| ())),
        });
    }
    for boot in BOOTS {
        let shared = Rc::clone(&kernels);
        stages.push(Stage {
            name: format!("boot: {}", boot.name()),
            output: Output::Quiet,
            work: Box::new(move || {
                let kernel = shared.of(boot.machine)?;
                qemu::boot(boot, &kernel, Show::Nothing, boot.limit()).map(|_| ())
            }),
        });
    }
    stages
}

/// The kernels, each built once, by whichever stage is first to need it; or
/// why there is none.
#[derive(Default)]
struct Kernels([OnceCell<Result<PathBuf, Lack>>; Machine::ALL.len()]);

/// Why there is no kernel.
#[derive(Clone)]
enum Lack {
    /// The machine cannot build it, which says nothing about the code.
    Rust(String),
    /// It does not build.
    Code(String),
}

impl Kernels {
    fn of(&self, machine: Machine) -> Result<PathBuf> {
        let built = self.0[machine as usize].get_or_init(|| {
            let kernel = qemu::kernel(machine, Profile::Release);
            kernel.map_err(|error| match error.is::<NoRust>() {
                true => Lack::Rust(error.to_string()),
                false => Lack::Code(format!("{error:#}")),
            })
        });
        match built.clone() {
            Ok(kernel) => Ok(kernel),
            Err(Lack::Rust(why)) => Err(Skipped(why).into()),
            Err(Lack::Code(why)) => bail!(why),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_boot_is_possible_and_has_a_name_of_its_own() {
        let mut names: Vec<_> = BOOTS.iter().map(Boot::name).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), BOOTS.len());
        assert!(BOOTS.iter().all(|boot| boot.check().is_ok()));
    }
}
