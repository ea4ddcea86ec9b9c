//! The environment, asked of the system on slow paths: it copies into a buffer
//! on the stack, so nothing is allocated.

use granule_core::base::limits::Limits;
use windows_sys::Win32::System::Environment::GetEnvironmentVariableW;

use super::env::quietly;
use super::threads::HostThread;
use crate::user::settings::{self as shared, NotYet, Variables};

pub(crate) use shared::tier;

/// Characters of the longest name or value that means something, and one.
const LENGTH: usize = 64;

impl Variables for HostThread {
    fn with<R>(name: &[u8], with: impl FnOnce(Option<&[u8]>) -> R) -> Result<R, NotYet> {
        let mut value = [0u8; LENGTH];
        let length = value_of(name, &mut value);
        Ok(with(length.and_then(|length| value.get(..length))))
    }
}

/// The value of a variable, if it is set and made of few ASCII characters: its
/// length.
fn value_of(name: &[u8], value: &mut [u8; LENGTH]) -> Option<usize> {
    let mut wide_name = [0u16; LENGTH];
    for (wide, &byte) in wide_name.get_mut(..name.len())?.iter_mut().zip(name) {
        *wide = u16::from(byte);
    }
    if wide_name.last() != Some(&0) {
        return None;
    }
    let mut wide = [0u16; LENGTH];
    // SAFETY: the name ends with 0, and so many characters are writable.
    let length = quietly(|| unsafe {
        GetEnvironmentVariableW(wide_name.as_ptr(), wide.as_mut_ptr(), LENGTH as u32)
    });
    // 0 where there is none, or nothing in it; the length it wants where it
    // is too long.
    let length = usize::try_from(length).ok().filter(|length| (1..LENGTH).contains(length))?;
    for (byte, &wide) in value.iter_mut().zip(&wide[..length]) {
        *byte = u8::try_from(wide).ok().filter(u8::is_ascii)?;
    }
    Some(length)
}

/// The process starts. Sets aside what `GRANULE_RESERVE` says.
pub(super) fn program_starts() {
    shared::set_aside::<HostThread>();
}

/// The limits that the environment says.
pub(crate) fn limits() -> Limits {
    shared::limits::<HostThread>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(name: &[u8]) -> Option<std::vec::Vec<u8>> {
        HostThread::with(name, |value| value.map(<[u8]>::to_vec)).expect("always there")
    }

    #[test]
    fn variables_are_found_if_they_can_mean_something() {
        // SAFETY: names of this test's own.
        unsafe {
            std::env::set_var("GRANULE_TEST_SHORT", "64M,touch");
            std::env::set_var("GRANULE_TEST_LONG", "x".repeat(LENGTH));
            std::env::set_var("GRANULE_TEST_EDGE", "x".repeat(LENGTH - 1));
            std::env::set_var("GRANULE_TEST_FOREIGN", "für");
        }
        assert_eq!(value(b"GRANULE_TEST_SHORT").as_deref(), Some(&b"64M,touch"[..]));
        assert_eq!(value(b"GRANULE_TEST_EDGE").map(|value| value.len()), Some(LENGTH - 1));
        for name in ["GRANULE_TEST_LONG", "GRANULE_TEST_FOREIGN", "GRANULE_NOT_SET"] {
            assert_eq!(value(name.as_bytes()), None, "{name}");
        }
        assert_eq!(value(&[b'N'; LENGTH]), None);
    }
}
