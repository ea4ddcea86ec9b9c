//! Memory pools, after those of oneTBB's allocator (`rml::pool_create`): heaps on
//! a buffer, or on memory that functions of the program's hand out. Every
//! function of [`heaps`](crate::heaps) works on them.

use core::ffi::{c_int, c_void};
use core::ptr::NonNull;

use granule_rt::heap::{HeapBuilder, RawFault, RawMemory};

use crate::heaps::{granule_heap_destroy, granule_heap_of, granule_heap_reset};
use crate::tickets::{self, Ticket};

/// `struct granule_pool_policy` of `granule.h`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct PoolPolicy {
    /// Hands out memory.
    pub alloc: Option<unsafe extern "C" fn(*mut c_void, *mut usize) -> *mut c_void>,
    /// Takes it back; may be null.
    pub free: Option<unsafe extern "C" fn(*mut c_void, *mut c_void, usize) -> c_int>,
    /// Passed to both.
    pub context: *mut c_void,
    /// What addresses and lengths are multiples of, in bytes; 0 means 4096.
    pub granularity: usize,
    /// The cap in bytes; 0 for none.
    pub cap: usize,
}

/// Stores what is made in `*out` and returns 0, or null and an error's number; `None`
/// is an `EINVAL`, and so is an `out` that is null.
///
/// # Safety
///
/// Caller: `out` is null or writable.
unsafe fn store(builder: Option<HeapBuilder<'_>>, out: *mut *mut Ticket) -> c_int {
    if out.is_null() {
        return libc::EINVAL;
    }
    let made = builder.map(|builder| tickets::make(builder, None));
    let handle = made.and_then(Result::ok).unwrap_or(core::ptr::null_mut());
    // SAFETY: by the contract.
    unsafe { out.write(handle) };
    made.map_or(libc::EINVAL, |made| made.map_or_else(tickets::error, |_| 0))
}

/// Makes a pool that grows. `EINVAL` for a null pointer, a bad granularity, a cap
/// too small, or first memory that cannot be used; `ENOMEM`.
///
/// # Safety
///
/// Caller: `policy` is null or readable and keeps to `granule.h`; `out` is null or
/// writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn granule_pool_create(
    policy: *const PoolPolicy,
    out: *mut *mut Ticket,
) -> c_int {
    // SAFETY: by the contract.
    let policy = unsafe { policy.as_ref() };
    let builder = policy.and_then(|policy| {
        let granularity = if policy.granularity == 0 { 4096 } else { policy.granularity };
        let (alloc, free, context) = (policy.alloc?, policy.free, policy.context);
        let memory = RawMemory { alloc, free, context, granularity };
        // SAFETY: by the contract.
        let builder = unsafe { HeapBuilder::raw(memory) };
        Some(if policy.cap == 0 { builder } else { builder.cap(policy.cap) })
    });
    // SAFETY: by the contract.
    unsafe { store(builder, out) }
}

/// Makes a pool that lives on a buffer. `EINVAL` for a null pointer or too small
/// a buffer; `ENOMEM`.
///
/// # Safety
///
/// Caller: the buffer is null or the pool's alone until the pool is destroyed;
/// `out` is null or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn granule_pool_create_fixed(
    buffer: *mut c_void,
    bytes: usize,
    out: *mut *mut Ticket,
) -> c_int {
    // SAFETY: by the contract.
    unsafe {
        let builder = NonNull::new(buffer.cast()).map(|start| HeapBuilder::fixed(start, bytes));
        store(builder, out)
    }
}

/// The pool or heap that any pointer lies in, or null.
#[unsafe(no_mangle)]
pub extern "C" fn granule_pool_identify(pointer: *const c_void) -> *mut Ticket {
    granule_heap_of(pointer)
}

/// Ends all blocks.
///
/// # Safety
///
/// Caller: as for [`granule_heap_reset`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn granule_pool_reset(pool: *mut Ticket) -> c_int {
    // SAFETY: by the contract.
    unsafe { granule_heap_reset(pool) }
}

/// Ends the pool.
///
/// # Safety
///
/// Caller: as for [`granule_heap_destroy`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn granule_pool_destroy(pool: *mut Ticket) -> c_int {
    // SAFETY: by the contract.
    unsafe { granule_heap_destroy(pool) }
}

/// What was last wrong with memory that the pool was handed: 0 nothing, 1 it was
/// misaligned, 2 too little, 3 of a length that is not whole.
///
/// # Safety
///
/// Caller: `pool` is null or a handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn granule_pool_fault(pool: *mut Ticket) -> c_int {
    // SAFETY: by the contract.
    let ticket = unsafe { tickets::ticket(pool) };
    match ticket.and_then(|ticket| ticket.heap().raw_fault()) {
        None => 0,
        Some(RawFault::Misaligned) => 1,
        Some(RawFault::TooLittle) => 2,
        Some(_) => 3,
    }
}
