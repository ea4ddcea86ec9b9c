//! What programs ask about the heap, and the little they can tell it.

use core::ffi::{c_char, c_int, c_void};
use core::fmt::Write;
use core::ptr::NonNull;

use granule_rt::observe::stats::Stats;
use granule_rt::process_heap;

use crate::errno::fail;

/// Bytes usable at a block; 0 for null.
///
/// # Safety
///
/// Caller: null, or a live block of this library's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn malloc_usable_size(pointer: *mut c_void) -> usize {
    NonNull::new(pointer.cast())
        .and_then(|pointer| process_heap().usable_size(pointer))
        .unwrap_or(0)
}

/// Gives free memory back to the system; 1 if there was any. How much to keep
/// (`_keep`) is not looked at: purged memory costs nothing to take again but
/// the page faults.
#[unsafe(no_mangle)]
pub extern "C" fn malloc_trim(_keep: usize) -> c_int {
    c_int::from(process_heap().reclaim() > 0)
}

/// glibc's tunables mean nothing here: accepted, without effect.
#[unsafe(no_mangle)]
pub extern "C" fn mallopt(_parameter: c_int, _value: c_int) -> c_int {
    1
}

/// glibc's `mallinfo2`, as far as the fields mean something here.
#[unsafe(no_mangle)]
pub extern "C" fn mallinfo2() -> libc::mallinfo2 {
    let stats = process_heap().stats();
    libc::mallinfo2 {
        arena: stats.committed,
        ordblks: stats.slabs,
        smblks: stats.slots,
        hblks: 0,
        hblkhd: 0,
        usmblks: 0,
        fsmblks: stats.cached_bytes,
        uordblks: stats.live_bytes(),
        fordblks: stats.committed.saturating_sub(stats.live_bytes()),
        keepcost: 0,
    }
}

/// `mallinfo2` in `int`s, which stop at their maximum.
#[unsafe(no_mangle)]
pub extern "C" fn mallinfo() -> libc::mallinfo {
    let wide = mallinfo2();
    let narrow = |value: usize| c_int::try_from(value).unwrap_or(c_int::MAX);
    libc::mallinfo {
        arena: narrow(wide.arena),
        ordblks: narrow(wide.ordblks),
        smblks: narrow(wide.smblks),
        hblks: narrow(wide.hblks),
        hblkhd: narrow(wide.hblkhd),
        usmblks: narrow(wide.usmblks),
        fsmblks: narrow(wide.fsmblks),
        uordblks: narrow(wide.uordblks),
        fordblks: narrow(wide.fordblks),
        keepcost: narrow(wide.keepcost),
    }
}

/// Text built without allocating; what does not fit is cut off.
struct Text {
    bytes: [u8; 1024],
    len: usize,
}

impl Text {
    fn of(arguments: core::fmt::Arguments<'_>) -> Self {
        let mut text = Self { bytes: [0; 1024], len: 0 };
        // Cut off at the end at worst.
        let _ = text.write_fmt(arguments);
        text
    }
}

impl Write for Text {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        for byte in text.bytes() {
            *self.bytes.get_mut(self.len).ok_or(core::fmt::Error)? = byte;
            self.len += 1;
        }
        Ok(())
    }
}

/// Writes counts as XML, after glibc's `malloc_info`. `options` must be 0,
/// else the result is `EINVAL`.
///
/// # Safety
///
/// Caller: `stream` is open for writing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn malloc_info(options: c_int, stream: *mut libc::FILE) -> c_int {
    if options != 0 || stream.is_null() {
        return libc::EINVAL;
    }
    let stats = process_heap().stats();
    let text = Text::of(format_args!(
        "<malloc version=\"granule-1\">\n\
         <total type=\"live\" size=\"{}\"/>\n\
         <total type=\"large\" size=\"{}\"/>\n\
         <total type=\"cached\" count=\"{}\" size=\"{}\"/>\n\
         <total type=\"free\" count=\"{}\" size=\"{}\"/>\n\
         <system type=\"current\" size=\"{}\"/>\n\
         <aspace type=\"total\" size=\"{}\"/>\n\
         </malloc>\n",
        stats.live_bytes(),
        stats.large_bytes,
        stats.slots,
        stats.cached_bytes,
        stats.slabs,
        stats.slab_free_bytes,
        stats.committed,
        stats.reserved,
    ));
    // SAFETY: the text is as long as said; the stream is open.
    let written = unsafe { libc::fwrite(text.bytes.as_ptr().cast(), 1, text.len, stream) };
    if written == text.len { 0 } else { -1 }
}

/// Writes who has the caches, and counts, to standard error.
#[unsafe(no_mangle)]
pub extern "C" fn malloc_stats() {
    let (caches, stats) = (granule_rt::caches(), process_heap().stats());
    let text = Text::of(format_args!("granule, {caches}\n{stats}\n"));
    // SAFETY: the text is as long as said.
    unsafe { libc::write(libc::STDERR_FILENO, text.bytes.as_ptr().cast(), text.len) };
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
    unsafe { out.write(process_heap().stats().into()) };
    0
}
