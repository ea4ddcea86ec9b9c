//! The demo's second half: granule in a kernel, on machines without an
//! operating system.

use crate::Verdict;
use crate::qemu::{self, Boot, Clock, Machine, Profile, Show};
use crate::table::heading;
use anyhow::Result;

/// The boots of the demo.
const BOOTS: [Boot<'static>; 4] = [
    load(Machine::Riscv64),
    instructions(Machine::Riscv64),
    load(Machine::Aarch64),
    instructions(Machine::Aarch64),
];

/// Four cores under load, and beside other allocators.
const fn load(machine: Machine) -> Boot<'static> {
    Boot { case: Some("demo,throughput"), ..Boot::new(machine, 4) }
}

/// What a hit costs, exactly.
const fn instructions(machine: Machine) -> Boot<'static> {
    Boot { case: Some("instructions"), clock: Clock::Instructions, ..Boot::new(machine, 1) }
}

/// The boots whose machine is named, or all.
pub(super) fn choose(names: &[String]) -> Vec<&'static Boot<'static>> {
    let wanted = |boot: &&Boot<'_>| {
        names.is_empty() || names.iter().any(|name| boot.machine.name().contains(name.as_str()))
    };
    BOOTS.iter().filter(wanted).collect()
}

/// Boots each, and shows what its kernel says.
pub(super) fn show(boots: &[&Boot<'_>]) -> Result<Verdict> {
    let mut good = true;
    for boot in boots {
        heading(&format!("A kernel on granule: {}", boot.name()));
        println!();
        let kernel = qemu::kernel(boot.machine, Profile::Release)?;
        good &= qemu::tell(boot, &kernel, Show::Text, boot.limit()) == Verdict::Good;
    }
    Ok(Verdict::from_check(good))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_chooses_a_machine() {
        assert_eq!(choose(&[]).len(), 4);
        assert_eq!(choose(&["arch".to_owned()]).len(), 2);
        assert!(choose(&["redis".to_owned()]).is_empty());
    }
}
