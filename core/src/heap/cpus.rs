//! The caches of CPUs by their numbers: counts, and draining one whose CPU is
//! to go.

use super::Heap;
use crate::base::config::Config;
use crate::cache::{FrontEnd, NoSuchCpu};
use crate::observe::stats::CpuStats;

/// Why a CPU's cache was not drained. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DrainError {
    /// The number is no CPU's.
    NoSuchCpu,
    /// The CPU could not be stopped: it does not answer, somebody else drains
    /// it, or the caller is on top of an entry of its own. May be tried again.
    Busy,
}

impl core::fmt::Display for DrainError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::NoSuchCpu => "no such CPU",
            Self::Busy => "the CPU could not be stopped",
        })
    }
}

impl core::error::Error for DrainError {}

impl From<NoSuchCpu> for DrainError {
    fn from(_: NoSuchCpu) -> Self {
        Self::NoSuchCpu
    }
}

impl<C: Config> Heap<C> {
    /// Gives everything that a CPU's cache holds back to the slabs, while the
    /// other CPUs run. The CPU may run, too: it misses its cache meanwhile,
    /// and fills it anew afterwards. One that has left for good caches nothing
    /// from then on.
    ///
    /// Where threads have the caches, [`reclaim`](Self::reclaim) is to be
    /// used.
    ///
    /// # Errors
    ///
    /// See [`DrainError`].
    pub fn drain_cpu(&self, cpu: usize) -> Result<(), DrainError> {
        match self.lower.front.slot_of(cpu)? {
            Some(slot) if !self.cache.stop_and_drain(&self.lower, slot) => Err(DrainError::Busy),
            _ => Ok(()),
        }
    }

    /// Counts of one CPU's cache; `None` for one without.
    #[must_use]
    pub fn cpu_stats(&self, cpu: usize) -> Option<CpuStats> {
        let slot = self.lower.front.slot_of(cpu).ok()??;
        Some(CpuStats {
            cached_bytes: slot.cached_bytes(),
            parked_bytes: slot.parked_bytes(&self.lower.regions),
            refills: slot.refills.get(),
            overflows: slot.overflows.get(),
        })
    }
}
