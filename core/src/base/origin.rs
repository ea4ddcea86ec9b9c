//! Who made a call, for reports.

use core::fmt;

/// Where a call into the heap came from: the address that it returns to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct Caller(pub usize);

impl Caller {
    /// Not known: most doors do not find it out.
    pub const UNKNOWN: Self = Self(0);
}

/// Who allocated or freed a block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The thread, as [`Environment::thread`](super::env::Environment::thread)
    /// numbers it; 0 where that is not known.
    pub thread: u32,
    /// Where its call returned to.
    pub caller: Caller,
}

impl Origin {
    /// Whether anything is known.
    #[must_use]
    pub fn is_known(self) -> bool {
        self != Self::default()
    }
}

impl fmt::Display for Origin {
    /// In a few words: `thread 17 at 0x55…`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.thread, self.caller.0) {
            (0, 0) => f.write_str("an unknown thread"),
            (0, caller) => write!(f, "an unknown thread at {caller:#x}"),
            (thread, 0) => write!(f, "thread {thread}"),
            (thread, caller) => write!(f, "thread {thread} at {caller:#x}"),
        }
    }
}
