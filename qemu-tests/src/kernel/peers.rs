//! The allocators to compare with, each behind one spin lock.
//!
//! All get the same memory and the same lock, which does not mask interrupts:
//! that favours them, for a kernel's would have to.

use core::alloc::{GlobalAlloc, Layout};
use core::ptr::{NonNull, null_mut};

use spin::mutex::SpinMutex;

use super::load::Allocator;

/// An allocator under comparison.
pub(crate) trait Peer: Allocator {
    /// What it is called.
    fn name(&self) -> &'static str;

    /// Gives it its memory, before the first use.
    ///
    /// # Safety
    ///
    /// Caller: the memory is the allocator's for ever.
    unsafe fn start(&self, memory: NonNull<u8>, bytes: usize);
}

pub(crate) static TALC: Talc = Talc(SpinMutex::new(talc::base::Talc::new(talc::source::Manual)));
pub(crate) static LINKED: Linked = Linked(SpinMutex::new(linked_list_allocator::Heap::empty()));
pub(crate) static BUDDY: Buddy = Buddy(SpinMutex::new(buddy_system_allocator::Heap::new()));
pub(crate) static RLSF: Rlsf = Rlsf(SpinMutex::new(rlsf::Tlsf::new()));
pub(crate) static EMBEDDED: Embedded = Embedded(embedded_alloc::TlsfHeap::empty());

/// All of them.
pub(crate) fn all() -> [&'static dyn Peer; 5] {
    [&TALC, &LINKED, &BUDDY, &RLSF, &EMBEDDED]
}

fn pointer(block: Option<NonNull<u8>>) -> *mut u8 {
    block.map_or(null_mut(), NonNull::as_ptr)
}

pub(crate) struct Talc(SpinMutex<talc::base::Talc<talc::source::Manual, talc::DefaultBinning>>);

// SAFETY: reached under the lock alone.
unsafe impl Sync for Talc {}

impl Peer for Talc {
    fn name(&self) -> &'static str {
        "talc"
    }

    unsafe fn start(&self, memory: NonNull<u8>, bytes: usize) {
        // SAFETY: by the contract.
        unsafe { self.0.lock().claim(memory.as_ptr(), bytes) };
    }
}

impl Allocator for Talc {
    fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: no layout here is of size 0.
        pointer(unsafe { self.0.lock().allocate(layout) })
    }

    unsafe fn dealloc(&self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: by the contract.
        unsafe { self.0.lock().deallocate(block.as_ptr(), layout) };
    }
}

pub(crate) struct Linked(SpinMutex<linked_list_allocator::Heap>);

impl Peer for Linked {
    fn name(&self) -> &'static str {
        "linked_list_allocator"
    }

    unsafe fn start(&self, memory: NonNull<u8>, bytes: usize) {
        // SAFETY: by the contract.
        unsafe { self.0.lock().init(memory.as_ptr(), bytes) };
    }
}

impl Allocator for Linked {
    fn alloc(&self, layout: Layout) -> *mut u8 {
        pointer(self.0.lock().allocate_first_fit(layout).ok())
    }

    unsafe fn dealloc(&self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: by the contract.
        unsafe { self.0.lock().deallocate(block, layout) };
    }
}

pub(crate) struct Buddy(SpinMutex<buddy_system_allocator::Heap<32>>);

impl Peer for Buddy {
    fn name(&self) -> &'static str {
        "buddy_system_allocator"
    }

    unsafe fn start(&self, memory: NonNull<u8>, bytes: usize) {
        // SAFETY: by the contract.
        unsafe { self.0.lock().init(memory.addr().get(), bytes) };
    }
}

impl Allocator for Buddy {
    fn alloc(&self, layout: Layout) -> *mut u8 {
        pointer(self.0.lock().alloc(layout).ok())
    }

    unsafe fn dealloc(&self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: by the contract.
        unsafe { self.0.lock().dealloc(block, layout) };
    }
}

/// The shape that embedded-alloc uses, too.
const BITS: usize = usize::BITS as usize;

pub(crate) struct Rlsf(SpinMutex<rlsf::Tlsf<'static, usize, usize, BITS, BITS>>);

// SAFETY: reached under the lock alone.
unsafe impl Sync for Rlsf {}

impl Peer for Rlsf {
    fn name(&self) -> &'static str {
        "rlsf"
    }

    unsafe fn start(&self, memory: NonNull<u8>, bytes: usize) {
        let block = NonNull::slice_from_raw_parts(memory, bytes);
        // SAFETY: by the contract.
        unsafe { self.0.lock().insert_free_block_ptr(block) };
    }
}

impl Allocator for Rlsf {
    fn alloc(&self, layout: Layout) -> *mut u8 {
        pointer(self.0.lock().allocate(layout))
    }

    unsafe fn dealloc(&self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: by the contract.
        unsafe { self.0.lock().deallocate(block, layout.align()) };
    }
}

pub(crate) struct Embedded(embedded_alloc::TlsfHeap);

impl Peer for Embedded {
    fn name(&self) -> &'static str {
        "embedded-alloc (TLSF)"
    }

    unsafe fn start(&self, memory: NonNull<u8>, bytes: usize) {
        // SAFETY: by the contract.
        unsafe { self.0.init(memory.addr().get(), bytes) };
    }
}

impl Allocator for Embedded {
    fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: no layout here is of size 0.
        unsafe { self.0.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: by the contract.
        unsafe { self.0.dealloc(block.as_ptr(), layout) };
    }
}

/// embedded-alloc's lock: a spin lock, as the others have.
struct Section;
critical_section::set_impl!(Section);

static SECTION: SpinMutex<()> = SpinMutex::new(());

// SAFETY: the lock excludes other cores; nothing here enters twice, and
// interrupt handlers do not enter.
unsafe impl critical_section::Impl for Section {
    unsafe fn acquire() {
        core::mem::forget(SECTION.lock());
    }

    unsafe fn release(_: ()) {
        // SAFETY: taken by `acquire`.
        unsafe { SECTION.force_unlock() };
    }
}
