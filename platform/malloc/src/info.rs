//! What programs ask about the heap, and the little they can tell it.

use core::ffi::{c_char, c_int, c_void};
use core::fmt::Write;
use core::ptr::NonNull;

use granule_rt::observe::stats::Stats;
use granule_rt::{outlined, process_heap};

use crate::errno::fail;

/// Bytes usable at a block; 0 for null.
///
/// # Safety
///
/// Caller: null, or a live block of this library's.
#[cfg_attr(windows, unsafe(export_name = "granule_usable_size"))]
#[cfg_attr(not(windows), unsafe(no_mangle))]
pub unsafe extern "C" fn malloc_usable_size(pointer: *mut c_void) -> usize {
    let Some(pointer) = NonNull::new(pointer.cast()) else { return 0 };
    // SAFETY: by the contract.
    #[cfg(target_os = "linux")]
    if let Some(heap) = unsafe { granule_rt::heap::heap_of(pointer) } {
        return outlined(heap).usable_size(pointer).unwrap_or(0);
    }
    outlined(process_heap()).usable_size(pointer).unwrap_or(0)
}

/// Gives free memory back to the system; 1 if there was any. How much to keep
/// (`_keep`) is not looked at: purged memory costs nothing to take again but
/// the page faults.
#[cfg_attr(windows, unsafe(export_name = "granule_trim"))]
#[cfg_attr(not(windows), unsafe(no_mangle))]
pub extern "C" fn malloc_trim(_keep: usize) -> c_int {
    c_int::from(outlined(process_heap()).reclaim() > 0)
}

/// The library's version.
#[unsafe(no_mangle)]
pub extern "C" fn granule_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

/// `struct granule_stats` of `granule.h`, in bytes unless said otherwise.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct GranuleStats {
    /// Address space obtained from the system.
    pub mapped: u64,
    /// The part of it that is readable and writable.
    pub committed: u64,
    /// In blocks the program holds, at their usable size.
    pub live_bytes: u64,
    /// In freed blocks kept ready in the caches.
    pub cached_bytes: u64,
    /// Committed and free in slabs and in runs of pages.
    pub free_bytes: u64,
    /// The part of `live_bytes` in blocks too large for a size class.
    pub large_bytes: u64,
    /// Slabs (number).
    pub slabs: u64,
    /// Regions (number).
    pub regions: u64,
    /// Threads with a cache of their own (number).
    pub threads: u64,
}

impl From<Stats> for GranuleStats {
    fn from(stats: Stats) -> Self {
        let held = stats.live_bytes() + stats.cached_bytes + stats.parked_bytes + stats.own_bytes;
        Self {
            mapped: stats.reserved as u64,
            committed: stats.committed as u64,
            live_bytes: stats.live_bytes() as u64,
            cached_bytes: (stats.cached_bytes + stats.parked_bytes) as u64,
            free_bytes: stats.committed.saturating_sub(held) as u64,
            large_bytes: stats.large_bytes as u64,
            slabs: stats.slabs as u64,
            regions: stats.regions as u64,
            threads: stats.slots as u64,
        }
    }
}

/// Fills `*out`; -1 and `EINVAL` when it is null.
///
/// # Safety
///
/// Caller: `out` is null or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn granule_get_stats(out: *mut GranuleStats) -> c_int {
    if out.is_null() {
        fail(libc::EINVAL);
        return -1;
    }
    // SAFETY: by the contract.
    unsafe { out.write(outlined(process_heap()).stats().into()) };
    0
}

/// A C string in somebody's memory; what does not fit is cut off.
struct Text {
    start: *mut u8,
    len: usize,
    /// Without the zero at the end.
    room: usize,
}

impl Write for Text {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        let fits = text.len().min(self.room - self.len);
        // SAFETY: `len + fits` is at most `room`, below the bytes that the
        // caller of `granule_check` promised.
        unsafe {
            self.start.add(self.len).copy_from_nonoverlapping(text.as_ptr(), fits);
            self.len += fits;
            self.start.add(self.len).write(0);
        }
        Ok(())
    }
}

/// Walks the process's heap, at rest; 0 when every invariant holds, else -1,
/// with the one that does not in `text`.
///
/// # Safety
///
/// Caller: `text` is null, or `size` bytes there are writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn granule_check(text: *mut c_char, size: usize) -> c_int {
    let Err(violation) = outlined(process_heap()).check() else { return 0 };
    if let Some(room) = size.checked_sub(1)
        && !text.is_null()
    {
        // Cut off at worst.
        let _ = write!(Text { start: text.cast(), len: 0, room }, "{violation}");
    }
    -1
}
