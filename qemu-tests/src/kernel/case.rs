//! What a case is, and how it ends.

use super::text::Text;

/// How a case ended well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Done {
    /// All that it promises holds.
    Ok,
    /// The machine, as it was started, does not have what it takes.
    Skipped(&'static str),
}

/// How a case ended; the text says what was wrong.
pub(crate) type Outcome = Result<Done, Text>;

/// Fails the case unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($format:tt)+) => {
        if !$condition {
            return Err($crate::kernel::text::Text::of(format_args!($($format)+)));
        }
    };
}
pub(crate) use ensure;

/// When a case is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// Unless another one is asked for.
    Always,
    /// Only when asked for: it takes long, or shows something.
    Asked,
    /// Only when the machine counts instructions exactly.
    Counting,
}

/// A case.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) when: When,
    pub(crate) run: fn() -> Outcome,
}
