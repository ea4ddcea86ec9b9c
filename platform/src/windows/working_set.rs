//! What the system says of pages: resident, committed, on which node.

use core::ffi::c_void;
use core::ptr::NonNull;

use granule_core::provider::Node;
use windows_sys::Win32::System::Memory::{
    MEM_COMMIT, MEMORY_BASIC_INFORMATION, PAGE_READWRITE, VirtualQuery,
};
use windows_sys::Win32::System::ProcessStatus::{
    K32QueryWorkingSetEx, PSAPI_WORKING_SET_EX_INFORMATION,
};
use windows_sys::Win32::System::Threading::{GetCurrentProcess, GetNumaHighestNodeNumber};

use super::env::quietly;

/// Pages asked about at once.
const PAGES: usize = 64;

/// In what is said of a page: whether it is in the working set ...
const VALID: usize = 1;
/// ... and where its node stands, six bits.
const NODE_SHIFT: usize = 16;
const NODE_MASK: usize = 63;

/// Fills in what is known of each page whose address is there.
fn query(pages: &mut [PSAPI_WORKING_SET_EX_INFORMATION]) -> bool {
    let bytes = size_of_val(pages) as u32;
    // SAFETY: so many bytes are writable; the addresses are only asked about.
    quietly(|| unsafe {
        K32QueryWorkingSetEx(GetCurrentProcess(), pages.as_mut_ptr().cast(), bytes)
    }) != 0
}

fn attributes(page: &PSAPI_WORKING_SET_EX_INFORMATION) -> usize {
    // SAFETY: every bit pattern is a number.
    unsafe { page.VirtualAttributes.Flags }
}

/// How much of a range is in the working set, in bytes; all of it where that
/// cannot be told.
pub(super) fn resident(start: NonNull<u8>, bytes: usize, page: usize) -> usize {
    let mut resident = 0;
    for from in (0..bytes).step_by(PAGES * page) {
        let asked = ((bytes - from).min(PAGES * page)) / page;
        let mut pages = [PSAPI_WORKING_SET_EX_INFORMATION::default(); PAGES];
        for (number, entry) in pages[..asked].iter_mut().enumerate() {
            entry.VirtualAddress = start.as_ptr().wrapping_add(from + number * page).cast();
        }
        if !query(&mut pages[..asked]) {
            return bytes;
        }
        resident += pages[..asked].iter().filter(|one| attributes(one) & VALID != 0).count() * page;
    }
    resident
}

/// The node of a page; 0 where it is on none yet.
pub(super) fn node(address: *const u8) -> Node {
    if nodes() == 1 {
        return Node(0);
    }
    let mut page = [PSAPI_WORKING_SET_EX_INFORMATION {
        VirtualAddress: address.cast_mut().cast::<c_void>(),
        ..Default::default()
    }];
    let known = query(&mut page) && attributes(&page[0]) & VALID != 0;
    // Six bits.
    let node = (attributes(&page[0]) >> NODE_SHIFT & NODE_MASK) as u16;
    if known { Node(node) } else { Node(0) }
}

/// How many nodes the machine has.
pub(super) fn nodes() -> u16 {
    let mut highest = 0;
    // SAFETY: `highest` is writable.
    let told = quietly(|| unsafe { GetNumaHighestNodeNumber(&raw mut highest) }) != 0;
    if told { u16::try_from(highest).map_or(1, |highest| highest.saturating_add(1)) } else { 1 }
}

/// Whether a whole range is committed, readable and writable.
pub(super) fn is_committed(start: NonNull<u8>, bytes: usize) -> bool {
    let mut info = MEMORY_BASIC_INFORMATION::default();
    let at = start.as_ptr().cast::<c_void>();
    // SAFETY: so many bytes are writable; the address is only asked about.
    let told = quietly(|| unsafe {
        VirtualQuery(at, &raw mut info, size_of::<MEMORY_BASIC_INFORMATION>())
    });
    // Pages of one state from the page asked about on.
    told != 0
        && info.State == MEM_COMMIT
        && info.Protect == PAGE_READWRITE
        && info.BaseAddress.addr().wrapping_add(info.RegionSize) - start.addr().get() >= bytes
}
