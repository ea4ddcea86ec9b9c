//! What programs of glibc ask about the heap beyond the rest.

use core::ffi::c_int;
use core::fmt::Write;

use granule_rt::{outlined, process_heap};

/// glibc's tunables mean nothing here: accepted, without effect.
#[unsafe(no_mangle)]
pub extern "C" fn mallopt(_parameter: c_int, _value: c_int) -> c_int {
    1
}

/// glibc's `mallinfo2`, as far as the fields mean something here.
#[unsafe(no_mangle)]
pub extern "C" fn mallinfo2() -> libc::mallinfo2 {
    let stats = outlined(process_heap()).stats();
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
    let stats = outlined(process_heap()).stats();
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
    let (caches, stats) = (granule_rt::caches(), outlined(process_heap()).stats());
    let text = Text::of(format_args!("granule, {caches}\n{stats}\n"));
    // SAFETY: the text is as long as said.
    unsafe { libc::write(libc::STDERR_FILENO, text.bytes.as_ptr().cast(), text.len) };
}
