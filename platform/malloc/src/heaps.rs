//! Heaps besides the process's, after mimalloc's.
//!
//! See `granule.h` for what each function promises; here is what it costs. A
//! handle that is null gives `EINVAL`; one whose heap has ended, a report.

use core::alloc::Layout;
use core::ffi::{c_int, c_void};
use core::ptr::{NonNull, null_mut};

use granule_rt::base::class::{Class, TABLED};
use granule_rt::base::origin::Caller;
use granule_rt::heap::{Heap, HeapBuilder, tag_of};
use granule_rt::outlined;

use crate::errno::{block, fail};
use crate::info::GranuleStats;
use crate::tickets::{self, Ticket};

/// A handle, or null with `errno` set.
fn made(builder: HeapBuilder<'_>, outer: Option<&'static Ticket>) -> *mut Ticket {
    tickets::make(builder, outer).unwrap_or_else(|error| fail(tickets::error(error)).cast())
}

/// A heap on memory of the process's heap, without a cap: to make, use and end a
/// small one takes no system call.
#[unsafe(no_mangle)]
pub extern "C" fn granule_heap_new() -> *mut Ticket {
    made(HeapBuilder::inside_process(), None)
}

/// A heap on memory of the system's or of another heap's, with a cap in bytes, or
/// without where that is 0.
///
/// # Safety
///
/// Caller: `inside` is null or a handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn granule_heap_new_with(cap: usize, inside: *mut Ticket) -> *mut Ticket {
    let capped = |builder: HeapBuilder<'_>, outer| {
        made(if cap == 0 { builder } else { builder.cap(cap) }, outer)
    };
    // SAFETY: by the contract.
    match unsafe { inside.as_ref() } {
        None => capped(HeapBuilder::new(), None),
        Some(outer) => capped(HeapBuilder::new().inside(&outer.heap()), Some(outer)),
    }
}

/// Ends a heap that has no live blocks; -1 and `EBUSY` when there are some, or
/// heaps inside of it.
///
/// # Safety
///
/// Caller: `heap` is a handle, and nobody else uses the heap meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn granule_heap_delete(heap: *mut Ticket) -> c_int {
    // SAFETY: by the contract.
    let Some(ticket) = (unsafe { tickets::ticket(heap) }) else { return -1 };
    if outlined::<Heap>(&ticket.heap()).stats().live_bytes() != 0 {
        fail(libc::EBUSY);
        return -1;
    }
    // SAFETY: by the contract.
    unsafe { granule_heap_destroy(heap) }
}

/// Ends a heap with all of its blocks. -1 and `EBUSY` while there are heaps inside
/// of it; -1 and `ENOMEM` when the system refused to take memory back.
///
/// # Safety
///
/// Caller: `heap` is a handle; nobody else uses the heap meanwhile, nor its blocks
/// from now on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn granule_heap_destroy(heap: *mut Ticket) -> c_int {
    // SAFETY: by the contract.
    let Some(ticket) = (unsafe { tickets::ticket(heap) }) else { return -1 };
    let Some(heap) = ticket.take() else { return -1 };
    let released = heap.destroy().is_ok();
    ticket.retire();
    outcome(released)
}

/// Ends all blocks of a heap; it is as new. Errors as of
/// [`granule_heap_destroy`].
///
/// # Safety
///
/// Caller: as there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn granule_heap_reset(heap: *mut Ticket) -> c_int {
    // SAFETY: by the contract.
    let Some(ticket) = (unsafe { tickets::ticket(heap) }) else { return -1 };
    if !ticket.is_alone() {
        return -1;
    }
    outcome(ticket.heap().reset().is_ok())
}

fn outcome(released: bool) -> c_int {
    if !released {
        fail(libc::ENOMEM);
    }
    if released { 0 } else { -1 }
}

/// As `malloc`, of the heap.
///
/// # Safety
///
/// Caller: `heap` is null or a handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn granule_heap_malloc(heap: *mut Ticket, size: usize) -> *mut c_void {
    // SAFETY: by the contract.
    let Some(ticket) = (unsafe { tickets::ticket(heap) }) else { return null_mut() };
    let heap: &Heap = &ticket.heap();
    if heap.is_open_for(size) {
        // SAFETY: as just tested.
        let hit = unsafe { heap.pop_first(Class::for_malloc_tabled(size)) };
        if !hit.is_null() {
            return hit.cast();
        }
    }
    block(outlined(heap).alloc_class(Class::for_malloc(size), size, Caller::UNKNOWN))
}

/// As `calloc`, of the heap.
///
/// # Safety
///
/// Caller: `heap` is null or a handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn granule_heap_calloc(
    heap: *mut Ticket,
    count: usize,
    size: usize,
) -> *mut c_void {
    // SAFETY: by the contract.
    let Some(ticket) = (unsafe { tickets::ticket(heap) }) else { return null_mut() };
    let Some(total) = count.checked_mul(size) else { return fail(libc::ENOMEM) };
    block(outlined::<Heap>(&ticket.heap()).alloc_class_zeroed(
        Class::for_malloc(total),
        total,
        Caller::UNKNOWN,
    ))
}

/// As `aligned_alloc`, of the heap.
///
/// # Safety
///
/// Caller: `heap` is null or a handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn granule_heap_aligned_alloc(
    heap: *mut Ticket,
    align: usize,
    size: usize,
) -> *mut c_void {
    // SAFETY: by the contract.
    let Some(ticket) = (unsafe { tickets::ticket(heap) }) else { return null_mut() };
    if !align.is_power_of_two() {
        return fail(libc::EINVAL);
    }
    match Layout::from_size_align(size, if size > 8 { align.max(16) } else { align }) {
        Ok(layout) => block(outlined::<Heap>(&ticket.heap()).alloc(layout)),
        Err(_) => fail(libc::ENOMEM),
    }
}

/// As `realloc`, of the heap.
///
/// # Safety
///
/// Caller: `heap` is null or a handle; `pointer` is null or a live block of the
/// heap's, and on success gone.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn granule_heap_realloc(
    heap: *mut Ticket,
    pointer: *mut c_void,
    size: usize,
) -> *mut c_void {
    let Some(old) = NonNull::new(pointer.cast()) else {
        // SAFETY: by the contract.
        return unsafe { granule_heap_malloc(heap, size) };
    };
    // SAFETY: by the contract.
    let Some(ticket) = (unsafe { tickets::ticket(heap) }) else { return null_mut() };
    if size == 0 {
        // SAFETY: by the contract.
        unsafe { free(&ticket.heap(), old) };
        return null_mut();
    }
    // SAFETY: by the contract.
    block(unsafe { outlined::<Heap>(&ticket.heap()).realloc_unsized(old, size, Caller::UNKNOWN) })
}

/// Frees a block of the heap.
///
/// # Safety
///
/// Caller: as for [`granule_heap_free`].
#[inline(always)]
unsafe fn free(heap: &Heap, pointer: NonNull<u8>) {
    // SAFETY: by the contract.
    unsafe {
        if !heap.push_unsized(pointer.as_ptr()) {
            outlined(heap).dealloc_missed(pointer, None, Caller::UNKNOWN);
        }
    }
}

/// As `free`, of the heap.
///
/// # Safety
///
/// Caller: `heap` is null or a handle; `pointer` is null or a live block of the
/// heap's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn granule_heap_free(heap: *mut Ticket, pointer: *mut c_void) {
    // SAFETY: by the contract.
    let Some(ticket) = (unsafe { tickets::ticket(heap) }) else { return };
    if let Some(pointer) = NonNull::new(pointer.cast()) {
        // SAFETY: by the contract.
        unsafe { free(&ticket.heap(), pointer) };
    }
}

/// As [`granule_heap_free`], of a block that was asked for with `size` bytes by
/// [`granule_heap_malloc`] or [`granule_heap_calloc`].
///
/// # Safety
///
/// Caller: as there, and the block was asked for so, and never resized.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn granule_heap_free_sized(
    heap: *mut Ticket,
    pointer: *mut c_void,
    size: usize,
) {
    // SAFETY: by the contract.
    let Some(ticket) = (unsafe { tickets::ticket(heap) }) else { return };
    let Some(pointer) = NonNull::new(pointer.cast()) else { return };
    let heap: &Heap = &ticket.heap();
    // SAFETY: by the contract; the size is tested first. What misses is looked up.
    unsafe {
        let class = if size < TABLED { Class::for_malloc_tabled(size) } else { Class::LARGE };
        if !heap.push_cached(class, pointer.as_ptr()) {
            outlined(heap).dealloc_missed(pointer, None, Caller::UNKNOWN);
        }
    }
}

/// As [`granule_heap_free`], of a block of [`granule_heap_aligned_alloc`]. The block
/// is looked up all the same: to tell its class by size and alignment takes longer.
///
/// # Safety
///
/// Caller: as there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn granule_heap_free_aligned_sized(
    heap: *mut Ticket,
    pointer: *mut c_void,
    _align: usize,
    _size: usize,
) {
    // SAFETY: by the contract.
    unsafe { granule_heap_free(heap, pointer) };
}

/// The innermost heap that any pointer lies in; null for what is none's of these.
#[unsafe(no_mangle)]
pub extern "C" fn granule_heap_of(pointer: *const c_void) -> *mut Ticket {
    tag_of(pointer.cast()).cast()
}

/// Whether any pointer lies in the heap, or one inside of it.
///
/// # Safety
///
/// Caller: `heap` is null or a handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn granule_heap_contains(heap: *mut Ticket, pointer: *const c_void) -> c_int {
    // SAFETY: by the contract.
    let ticket = unsafe { tickets::ticket(heap) };
    ticket.map_or(0, |ticket| c_int::from(ticket.heap().contains(pointer.cast())))
}

/// The heap's cap in bytes; 0 for none.
///
/// # Safety
///
/// Caller: `heap` is null or a handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn granule_heap_cap(heap: *mut Ticket) -> usize {
    // SAFETY: by the contract.
    let ticket = unsafe { tickets::ticket(heap) };
    ticket.and_then(|ticket| ticket.heap().cap()).unwrap_or(0)
}

/// Fills `*out`; -1 and `EINVAL` when that or the heap is null.
///
/// # Safety
///
/// Caller: `heap` is null or a handle; `out` is null or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn granule_heap_get_stats(
    heap: *mut Ticket,
    out: *mut GranuleStats,
) -> c_int {
    // SAFETY: by the contract.
    let Some(ticket) = (unsafe { tickets::ticket(heap) }) else { return -1 };
    if out.is_null() {
        fail(libc::EINVAL);
        return -1;
    }
    // SAFETY: by the contract.
    unsafe { out.write(outlined::<Heap>(&ticket.heap()).stats().into()) };
    0
}
