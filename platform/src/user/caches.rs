//! Who has the caches of the process's heap.

/// Who has the caches of the process's heap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Caches {
    /// Not chosen yet: nothing has been allocated, or by nobody who has
    /// finished choosing.
    Open,
    /// Each CPU has one, reached by restartable sequences.
    Cpus,
    /// Each thread has one.
    Threads,
}

impl core::fmt::Display for Caches {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Open => "no caches yet",
            Self::Cpus => "caches of CPUs",
            Self::Threads => "caches of threads",
        })
    }
}
