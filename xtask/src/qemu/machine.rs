//! The machines that QEMU plays for us.

use crate::setup::{self, Need};
use clap::ValueEnum;

/// A machine that the kernel under test boots on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Machine {
    /// QEMU's `virt` for 64-bit RISC-V
    Riscv64,
    /// QEMU's `virt` for 64-bit ARM
    Aarch64,
}

/// The size of the kernel's pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub(crate) enum Page {
    /// 4 KiB
    #[default]
    #[value(name = "4k")]
    Small,
    /// 16 KiB
    #[value(name = "16k")]
    Medium,
    /// 64 KiB
    #[value(name = "64k")]
    Large,
}

/// Whose clock the machine runs by.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Clock {
    /// The host's: as fast as it goes.
    #[default]
    Host,
    /// One nanosecond an instruction: the same run every time.
    Instructions,
}

impl Machine {
    /// All of them.
    pub(crate) const ALL: [Machine; 2] = [Machine::Riscv64, Machine::Aarch64];

    /// Its name in messages and on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Machine::Riscv64 => "riscv64",
            Machine::Aarch64 => "aarch64",
        }
    }

    /// The Rust target of its kernel.
    pub(crate) fn triple(self) -> &'static str {
        match self {
            Machine::Riscv64 => "riscv64gc-unknown-none-elf",
            Machine::Aarch64 => "aarch64-unknown-none",
        }
    }

    /// The QEMU that plays it.
    pub(crate) fn emulator(self) -> &'static str {
        match self {
            Machine::Riscv64 => "qemu-system-riscv64",
            Machine::Aarch64 => "qemu-system-aarch64",
        }
    }

    /// What the system must have to play it.
    pub(crate) fn needs(self) -> &'static Need {
        match self {
            Machine::Riscv64 => &setup::QEMU_RISCV64,
            Machine::Aarch64 => &setup::QEMU_AARCH64,
        }
    }
}

impl Page {
    /// As the command line and the kernel write it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Page::Small => "4k",
            Page::Medium => "16k",
            Page::Large => "64k",
        }
    }
}
