//! One boot: what QEMU is asked for, and what the kernel is told.

use super::machine::{Clock, Machine, Page};
use anyhow::{Result, bail};
use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

/// Time for a boot and for the cases that take none of [`Boot::seconds`].
const REST: Duration = Duration::from_secs(120);

/// One boot: the machine, and what its kernel is told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Boot<'a> {
    /// Which machine.
    pub(crate) machine: Machine,
    /// How many cores.
    pub(crate) cores: u8,
    /// How much memory, as QEMU reads it.
    pub(crate) memory: &'a str,
    /// On how many nodes cores and memory are.
    pub(crate) nodes: u8,
    /// The size of pages.
    pub(crate) page: Page,
    /// Whose clock.
    pub(crate) clock: Clock,
    /// Only the cases of this name, or of these, with commas between.
    pub(crate) case: Option<&'a str>,
    /// How long the cases that take a time shall run.
    pub(crate) seconds: Option<u32>,
}

impl<'a> Boot<'a> {
    /// A boot of all cases with little memory and small pages.
    pub(crate) const fn new(machine: Machine, cores: u8) -> Boot<'a> {
        Boot {
            machine,
            cores,
            memory: "256M",
            nodes: 1,
            page: Page::Small,
            clock: Clock::Host,
            case: None,
            seconds: None,
        }
    }

    /// Fails for a boot that no kernel can serve.
    pub(crate) fn check(&self) -> Result<()> {
        if self.machine == Machine::Riscv64 && self.page != Page::Small {
            bail!("riscv64 knows pages of 4 KiB only; try aarch64");
        }
        if self.nodes > 1 && self.node_mib().is_none() {
            bail!("memory for several nodes is a number of MiB, an equal part each: --memory 256M");
        }
        if self.nodes == 0 || !self.cores.is_multiple_of(self.nodes) {
            bail!("every node has as many cores");
        }
        if self.case.is_some_and(|case| case.is_empty() || case.contains(char::is_whitespace)) {
            bail!("the name of a case is one word");
        }
        Ok(())
    }

    /// MiB of each node.
    fn node_mib(&self) -> Option<u32> {
        let all: u32 = self.memory.strip_suffix('M')?.parse().ok()?;
        let nodes = u32::from(self.nodes);
        (nodes > 0 && all >= nodes && all.is_multiple_of(nodes)).then(|| all / nodes)
    }

    /// QEMU's arguments for nodes, where there are several.
    fn node_arguments(&self) -> Vec<String> {
        let Some(mib) = self.node_mib().filter(|_| self.nodes > 1) else { return Vec::new() };
        let cores = self.cores / self.nodes;
        let node = |node: u8| {
            let (first, last) = (node * cores, (node + 1) * cores - 1);
            [
                "-object".to_owned(),
                format!("memory-backend-ram,id=node{node},size={mib}M"),
                "-numa".to_owned(),
                format!("node,nodeid={node},cpus={first}-{last},memdev=node{node}"),
            ]
        };
        (0..self.nodes).flat_map(node).collect()
    }

    /// How long it may take: an emulator on a busy machine is slow.
    pub(crate) fn limit(&self) -> Duration {
        let asked = Duration::from_secs(self.seconds.unwrap_or(0).into());
        // Who counts instructions runs all cores in turns, in one thread.
        let factor = if self.clock == Clock::Instructions { 4 } else { 1 };
        factor * (REST + 3 * asked)
    }

    /// What sets this boot apart, for headings: `aarch64, 4 cores, 16k pages`.
    pub(crate) fn name(&self) -> String {
        let mut name = match self.cores {
            1 => format!("{}, 1 core", self.machine.name()),
            n => format!("{}, {n} cores", self.machine.name()),
        };
        if self.nodes > 1 {
            name.push_str(&format!(", {} nodes", self.nodes));
        }
        if self.page != Page::Small {
            name.push_str(&format!(", {} pages", self.page.name()));
        }
        if self.clock == Clock::Instructions {
            name.push_str(", counted");
        }
        if let Some(case) = self.case {
            name.push_str(&format!(", {case}"));
        }
        name
    }

    /// The arguments of [`Machine::emulator`] that boot `kernel`.
    pub(super) fn arguments(&self, kernel: &Path) -> Vec<OsString> {
        let cores = self.cores.to_string();
        let words = self.words();
        let mut args: Vec<&str> = match self.machine {
            Machine::Riscv64 => vec!["-M", "virt", "-bios", "none"],
            // The cortex-a72 has no pages of 16 KiB.
            Machine::Aarch64 if self.page == Page::Medium => vec!["-M", "virt", "-cpu", "max"],
            Machine::Aarch64 => vec!["-M", "virt", "-cpu", "cortex-a72"],
        };
        if self.machine == Machine::Aarch64 {
            // No network card, whose firmware is another package. The
            // kernel's only way to tell an exit status is semihosting.
            args.extend(["-nic", "none", "-semihosting"]);
        }
        args.extend(["-smp", &cores, "-m", self.memory]);
        let nodes = self.node_arguments();
        args.extend(nodes.iter().map(String::as_str));
        // The serial line alone on standard output, without a monitor in it.
        args.extend(["-display", "none", "-monitor", "none", "-serial", "stdio"]);
        // A kernel that resets itself ends QEMU instead of booting for ever.
        args.push("-no-reboot");
        if self.clock == Clock::Instructions {
            args.extend(["-icount", "shift=0"]);
        }
        if !words.is_empty() {
            args.extend(["-append", &words]);
        }
        let mut args: Vec<OsString> = args.into_iter().map(OsString::from).collect();
        args.extend(["-kernel".into(), kernel.into()]);
        args
    }

    /// What the kernel is told: `key=value` words.
    fn words(&self) -> String {
        let mut words = Vec::new();
        words.extend(self.case.map(|case| format!("case={case}")));
        if self.page != Page::Small {
            words.push(format!("page={}", self.page.name()));
        }
        words.extend(self.seconds.map(|seconds| format!("seconds={seconds}")));
        if self.clock == Clock::Instructions {
            words.push("icount=1".to_owned());
        }
        words.join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(boot: &Boot<'_>) -> String {
        let args = boot.arguments(Path::new("kernel"));
        args.iter().map(|arg| arg.to_string_lossy()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_plain_boot_says_no_more_than_it_must() {
        let riscv = line(&Boot::new(Machine::Riscv64, 4));
        assert!(riscv.starts_with("-M virt -bios none -smp 4 -m 256M "), "{riscv}");
        assert!(riscv.ends_with(" -no-reboot -kernel kernel"), "{riscv}");
        let arm = line(&Boot::new(Machine::Aarch64, 1));
        assert!(arm.starts_with("-M virt -cpu cortex-a72 -nic none -semihosting -smp 1 "), "{arm}");
    }

    #[test]
    fn what_the_kernel_is_told_is_one_argument() {
        let boot = Boot {
            case: Some("demo"),
            page: Page::Medium,
            seconds: Some(60),
            clock: Clock::Instructions,
            ..Boot::new(Machine::Aarch64, 8)
        };
        let args = boot.arguments(Path::new("kernel"));
        assert!(args.contains(&"case=demo page=16k seconds=60 icount=1".into()), "{args:?}");
        assert!(line(&boot).contains("-cpu max") && line(&boot).contains("-icount shift=0"));
        assert_eq!(boot.name(), "aarch64, 8 cores, 16k pages, counted, demo");
    }

    #[test]
    fn the_limit_leaves_room_for_what_was_asked() {
        let plain = Boot::new(Machine::Riscv64, 4);
        let long = Boot { seconds: Some(600), ..plain };
        assert!(long.limit() > Duration::from_secs(600) + plain.limit());
        assert!(Boot { clock: Clock::Instructions, ..plain }.limit() > 2 * plain.limit());
    }

    #[test]
    fn nodes_have_equal_parts_of_cores_and_memory() {
        let two = Boot { nodes: 2, ..Boot::new(Machine::Aarch64, 4) };
        assert!(two.check().is_ok());
        let line = line(&two);
        assert!(line.contains("-object memory-backend-ram,id=node1,size=128M"), "{line}");
        assert!(line.contains("-numa node,nodeid=1,cpus=2-3,memdev=node1"), "{line}");
        assert_eq!(two.name(), "aarch64, 4 cores, 2 nodes");
        for bad in
            [Boot { cores: 3, ..two }, Boot { memory: "1G", ..two }, Boot { nodes: 0, ..two }]
        {
            assert!(bad.check().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_no_kernel_can_serve_is_refused() {
        let riscv = Boot { page: Page::Large, ..Boot::new(Machine::Riscv64, 1) };
        assert!(riscv.check().is_err());
        let two = Boot { case: Some("a b"), ..Boot::new(Machine::Riscv64, 1) };
        assert!(two.check().is_err());
        assert!(Boot::new(Machine::Riscv64, 1).check().is_ok());
    }
}
