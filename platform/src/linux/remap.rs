//! Pages moved by `mremap`.
//!
//! It unmaps the place they go to before it knows whether they may go there: below a
//! limit of address space, or without memory to account for, it fails and leaves a
//! hole, which a thread anywhere in the process may be given next. So under a limit it
//! is not asked, and after a failure the place is mapped again.

use core::ffi::c_void;
use core::ptr::NonNull;

use granule_core::Environment;
use granule_core::base::fault::{Fault, FaultKind};
use granule_core::provider::ProviderError;

use super::env::{HostEnv, errno, quietly};
use super::pages::address_limit;

/// As [`remap`](granule_core::PageProvider::remap).
///
/// # Safety
///
/// Caller: as there; both ranges are anonymous, private and accessible.
pub(super) unsafe fn remap(
    from: NonNull<u8>,
    to: NonNull<u8>,
    bytes: usize,
) -> Result<(), ProviderError> {
    if address_limit().is_some() {
        return Err(ProviderError);
    }
    let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED | libc::MREMAP_DONTUNMAP;
    let (from, place) = (from.as_ptr().cast(), to.as_ptr().cast::<c_void>());
    quietly(|| {
        // SAFETY: by the contract, the ranges are ours, disjoint and unused meanwhile.
        if unsafe { libc::mremap(from, bytes, bytes, flags, place) } == place {
            return Ok(());
        }
        // Whatever else it says was found before anything was unmapped.
        if errno() == libc::ENOMEM && !is_mapped(to) && !map_again(to, bytes) {
            HostEnv::fatal(Fault::new(FaultKind::MemoryLost, to.as_ptr()));
        }
        Err(ProviderError)
    })
}

/// Whether there is a mapping, as far as the kernel tells.
fn is_mapped(start: NonNull<u8>) -> bool {
    let mut page = 0u8;
    // SAFETY: a byte for the one page; nothing is accessed.
    unsafe { libc::mincore(start.as_ptr().cast(), 1, &raw mut page) == 0 }
}

/// Maps what was unmapped, unless it was not; whether there is something now that is
/// ours.
fn map_again(start: NonNull<u8>, bytes: usize) -> bool {
    let place = start.as_ptr().cast::<c_void>();
    let access = libc::PROT_READ | libc::PROT_WRITE;
    let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    let flags = kind | libc::MAP_FIXED_NOREPLACE;
    // SAFETY: replaces nothing.
    let mapped = unsafe { libc::mmap(place, bytes, access, flags, -1, 0) };
    if mapped == libc::MAP_FAILED {
        return errno() == libc::EEXIST;
    }
    if mapped != place {
        // Who does not know the flag takes the place for a hint, and it is not free.
        // SAFETY: mapped just now.
        unsafe { libc::munmap(mapped, bytes) };
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: usize = 256 << 10;

    /// At `place`, or wherever the kernel likes: from the top of the address space down.
    fn mapped(place: usize) -> NonNull<u8> {
        let place = core::ptr::without_provenance_mut(place);
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a fresh mapping touches nobody's.
        let start = unsafe { libc::mmap(place, BYTES, access, flags, -1, 0) };
        assert_ne!(start, libc::MAP_FAILED);
        NonNull::new(start.cast()).expect("not at 0")
    }

    fn unmap(start: NonNull<u8>) {
        // SAFETY: a mapping of the test's.
        assert_eq!(unsafe { libc::munmap(start.as_ptr().cast(), BYTES) }, 0);
    }

    #[test]
    fn a_hole_is_seen_and_mapped_again() {
        // Where no other test is given the hole meanwhile.
        let start = mapped(BYTES << 8);
        assert!(is_mapped(start));
        unmap(start);
        assert!(!is_mapped(start));
        assert!(map_again(start, BYTES) && is_mapped(start));
        // SAFETY: mapped, and the test's.
        unsafe { start.write(1) };
        assert!(map_again(start, BYTES), "there already");
        // SAFETY: as above.
        assert_eq!(unsafe { start.read() }, 1, "and left alone");
        unmap(start);
    }

    #[test]
    fn contents_move_and_what_fails_leaves_both_places() {
        let [from, to] = [mapped(0), mapped(0)];
        // SAFETY: mapped, and the test's; so below.
        unsafe { from.add(BYTES - 1).write(7) };
        // SAFETY: two mappings that nobody uses meanwhile.
        unsafe { remap(from, to, BYTES) }.expect("no limit");
        // SAFETY: as above.
        assert_eq!(unsafe { (from.add(BYTES - 1).read(), to.add(BYTES - 1).read()) }, (0, 7));
        // SAFETY: half a page is refused.
        assert!(unsafe { remap(from.add(16), to, BYTES / 2) }.is_err());
        // SAFETY: as above.
        assert_eq!(unsafe { (from.read(), to.add(BYTES - 1).read()) }, (0, 7));
        unmap(from);
        unmap(to);
    }
}
