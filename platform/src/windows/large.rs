//! Large pages: for processes that want them and may lock memory.
//!
//! The system hands them out with a reservation alone, resident from the start
//! and never paged, to processes with the right "lock pages in memory". So with
//! `GRANULE_HUGE=1` and that right, regions are smaller than usual and wholly in
//! large pages, as long as there are any; they are given back whole. Without
//! the right, everything is as without the variable.

use core::ptr::null_mut;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use granule_core::base::limits::HugePages;
use windows_sys::Win32::Foundation::{CloseHandle, ERROR_SUCCESS, GetLastError, LUID};
use windows_sys::Win32::Security::{
    AdjustTokenPrivileges, LUID_AND_ATTRIBUTES, SE_PRIVILEGE_ENABLED, TOKEN_ADJUST_PRIVILEGES,
    TOKEN_PRIVILEGES,
};
use windows_sys::Win32::System::Memory::GetLargePageMinimum;
use windows_sys::Win32::System::Threading::{GetCurrentProcess, OpenProcessToken};

use super::env::quietly;
use super::settings;

/// The right to lock pages, `SE_LOCK_MEMORY_PRIVILEGE`: a number that does not
/// change. To look it up by name is a call to another process.
const LOCK_MEMORY: LUID = LUID { LowPart: 4, HighPart: 0 };

/// The least and the most of a region that grows with the heap.
const LEAST: usize = 32 << 20;
const MOST: usize = 1 << 30;

/// Bytes of a large page, [`NONE`], or [`UNKNOWN`].
static PAGE: AtomicUsize = AtomicUsize::new(UNKNOWN);

const UNKNOWN: usize = 0;
const NONE: usize = 1;

/// Bytes of a large page, where they are wanted and permitted.
pub(super) fn page() -> Option<usize> {
    // Relaxed: all who look find the same.
    let known = match PAGE.load(Relaxed) {
        UNKNOWN => find(),
        known => known,
    };
    (known != NONE).then_some(known)
}

#[cold]
fn find() -> usize {
    let wanted = settings::limits().huge_pages == HugePages::Wanted;
    // SAFETY: no preconditions.
    let bytes = if wanted { unsafe { GetLargePageMinimum() } } else { 0 };
    let page = if bytes.is_power_of_two() && quietly(may_lock) { bytes } else { NONE };
    PAGE.store(page, Relaxed);
    page
}

/// How large a region of large pages should be.
pub(super) fn suggest(needed: usize, held: usize, page: usize) -> usize {
    let bytes = needed.max((held / 2).clamp(LEAST, MOST));
    bytes.checked_next_multiple_of(page).unwrap_or(needed)
}

/// Takes up the right to lock memory, if the process was given it.
fn may_lock() -> bool {
    let mut token = null_mut();
    // SAFETY: `token` is writable.
    let opened =
        unsafe { OpenProcessToken(GetCurrentProcess(), TOKEN_ADJUST_PRIVILEGES, &raw mut token) };
    if opened == 0 {
        return false;
    }
    let right = LUID_AND_ATTRIBUTES { Luid: LOCK_MEMORY, Attributes: SE_PRIVILEGE_ENABLED };
    let rights = TOKEN_PRIVILEGES { PrivilegeCount: 1, Privileges: [right] };
    // SAFETY: the token is open; nothing is to be written back.
    unsafe {
        let done = AdjustTokenPrivileges(token, 0, &raw const rights, 0, null_mut(), null_mut());
        // It succeeds without having done all.
        let all = done != 0 && GetLastError() == ERROR_SUCCESS;
        CloseHandle(token);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_grow_with_the_heap_in_whole_large_pages() {
        let page = 2 << 20;
        assert_eq!(suggest(1, 0, page), LEAST);
        assert_eq!(suggest(LEAST + 1, 0, page), LEAST + page);
        assert_eq!(suggest(1, 200 << 20, page), 100 << 20);
        assert_eq!(suggest(1, usize::MAX, page), MOST);
        assert_eq!(suggest(usize::MAX - 4095, 0, page), usize::MAX - 4095);
    }
}
