//! Where the memory of a heap that ends comes from.

use core::ffi::{c_int, c_void};
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU8, Ordering::Relaxed};

use granule_core::PageProvider;
use granule_core::heap::Nested;
use granule_core::provider::{Capabilities, ProviderError, Reservation};

use super::OwnedConfig;
use crate::imp::pages::HostPages;
use crate::{ProcessConfig, process_heap};

/// Granularity of raw memory, in bytes, at least.
const PAGE: usize = granule_core::base::units::PAGE_SIZE;

/// What is asked of raw memory at a time, at least unless that is refused ...
const RAW_LEAST: usize = 256 << 10;
/// ... and never less, see `granule_core::heap::Nested`: it may be another heap's ...
const RAW_SMALLEST: usize = 64 << 10;
/// ... and at most unless more is needed.
const RAW_MOST: usize = 16 << 20;

/// Memory that the program's own functions hand out, for a pool that grows
/// (after `rml::MemPoolPolicy` of oneTBB's allocator).
#[derive(Clone, Copy, Debug)]
pub struct RawMemory {
    /// Hands out at least `*bytes`, a multiple of the granularity and at least
    /// 64 KiB, and may raise
    /// `*bytes` to another multiple; null when there is no more.
    pub alloc: unsafe extern "C" fn(context: *mut c_void, bytes: *mut usize) -> *mut c_void,
    /// Takes back exactly what `alloc` gave; not 0 when it cannot. `None` where
    /// nothing is ever taken back: a heap that is reset uses it again.
    pub free: Option<
        unsafe extern "C" fn(context: *mut c_void, start: *mut c_void, bytes: usize) -> c_int,
    >,
    /// Passed to both.
    pub context: *mut c_void,
    /// What start and length of each piece are multiples of, in bytes: a power
    /// of two, at least 4096.
    pub granularity: usize,
}

// SAFETY: the functions may be called from any thread, by the contract of
// `HeapBuilder::raw`.
unsafe impl Send for RawMemory {}
// SAFETY: as above; one heap calls them one after the other.
unsafe impl Sync for RawMemory {}

/// What was wrong with a piece of raw memory. It was given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[non_exhaustive]
pub enum RawFault {
    /// The start is no multiple of the granularity.
    Misaligned = 1,
    /// There were fewer bytes than asked for.
    TooLittle = 2,
    /// The length is no multiple of the granularity, or the piece wraps around
    /// the address space.
    BadLength = 3,
}

impl core::fmt::Display for RawFault {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Misaligned => "raw memory that is misaligned",
            Self::TooLittle => "less raw memory than asked for",
            Self::BadLength => "raw memory of a length that is not whole",
        })
    }
}

/// [`RawMemory`], and what was wrong with it.
#[derive(Debug)]
pub(super) struct RawPages {
    memory: RawMemory,
    /// The last fault; 0 where there was none.
    fault: AtomicU8,
}

impl RawPages {
    pub(super) const fn new(memory: RawMemory) -> Self {
        Self { memory, fault: AtomicU8::new(0) }
    }

    /// Whether the granularity can be had.
    pub(super) fn is_whole(&self) -> bool {
        self.memory.granularity.is_power_of_two() && self.memory.granularity >= PAGE
    }

    fn check(&self, start: NonNull<u8>, asked: usize, bytes: usize) -> Option<RawFault> {
        let granularity = self.memory.granularity;
        if !start.addr().get().is_multiple_of(granularity) {
            Some(RawFault::Misaligned)
        } else if bytes < asked {
            Some(RawFault::TooLittle)
        } else if !bytes.is_multiple_of(granularity)
            || start.addr().get().checked_add(bytes - 1).is_none()
        {
            Some(RawFault::BadLength)
        } else {
            None
        }
    }

    fn reserve(&self, asked: usize) -> Result<Reservation, ProviderError> {
        if asked < RAW_SMALLEST {
            return Err(ProviderError);
        }
        let mut bytes = asked;
        // SAFETY: by the contract of `HeapBuilder::raw`.
        let start = unsafe { (self.memory.alloc)(self.memory.context, &raw mut bytes) };
        let start = NonNull::new(start.cast::<u8>()).ok_or(ProviderError)?;
        let Some(fault) = self.check(start, asked, bytes) else {
            return Ok(Reservation { start, bytes });
        };
        self.fault.store(fault as u8, Relaxed);
        // Nothing else can be done where it is not taken back.
        // SAFETY: as it was handed out, and not used.
        let _ = unsafe { self.release(Reservation { start, bytes }) };
        Err(ProviderError)
    }

    /// # Safety
    ///
    /// Caller: as for [`PageProvider::release`].
    unsafe fn release(&self, reservation: Reservation) -> Result<(), ProviderError> {
        let free = self.memory.free.ok_or(ProviderError)?;
        let start = reservation.start.as_ptr().cast();
        // SAFETY: by the contracts, ours and of `HeapBuilder::raw`.
        let failed = unsafe { free(self.memory.context, start, reservation.bytes) } != 0;
        if failed { Err(ProviderError) } else { Ok(()) }
    }
}

/// All the ways to have memory, in one type, so that there is one type of heap.
#[derive(Debug)]
pub(super) enum Kind {
    /// The system's.
    System(HostPages),
    /// Blocks of the process's heap. By its name, not by a pointer: functions that
    /// are called for it alone are shorter.
    Process,
    /// Blocks of another heap.
    Heap(Nested<OwnedConfig>),
    /// The program's own functions'.
    Raw(RawPages),
    /// None: a heap that lives on what it was given.
    Nothing,
}

/// Where a heap's memory comes from, as [`HeapBuilder`](super::HeapBuilder)
/// was told.
#[derive(Debug)]
pub struct Origin(pub(super) Kind);

impl Origin {
    /// Whether its memory may be another heap's without our knowing.
    pub(super) fn may_be_anybodys(&self) -> bool {
        matches!(self.0, Kind::Raw(_) | Kind::Nothing)
    }

    /// Whether the program's functions hand it out, and may use other heaps for that.
    pub(super) fn is_of_functions(&self) -> bool {
        matches!(self.0, Kind::Raw(_))
    }

    /// What was last wrong with raw memory.
    pub(super) fn raw_fault(&self) -> Option<RawFault> {
        let Kind::Raw(raw) = &self.0 else { return None };
        match raw.fault.load(Relaxed) {
            1 => Some(RawFault::Misaligned),
            2 => Some(RawFault::TooLittle),
            3 => Some(RawFault::BadLength),
            _ => None,
        }
    }
}

// SAFETY: each kind keeps the contract; raw memory is tested as far as it can
// be, and the rest is the duty of who made it.
unsafe impl PageProvider for Origin {
    fn page_size(&self) -> usize {
        match &self.0 {
            Kind::System(pages) => pages.page_size(),
            Kind::Raw(raw) => raw.memory.granularity,
            _ => PAGE,
        }
    }

    fn capabilities(&self) -> Capabilities {
        match &self.0 {
            Kind::System(pages) => pages.capabilities(),
            Kind::Process => Capabilities::RELEASE,
            Kind::Heap(outer) => outer.capabilities(),
            Kind::Raw(raw) if raw.memory.free.is_some() => Capabilities::RELEASE,
            Kind::Raw(_) | Kind::Nothing => Capabilities::empty(),
        }
    }

    fn suggest(&self, needed: usize, held: usize) -> usize {
        match &self.0 {
            Kind::System(pages) => pages.suggest(needed, held),
            Kind::Process => Nested::<ProcessConfig>::suggestion(needed, held),
            Kind::Heap(outer) => outer.suggest(needed, held),
            Kind::Raw(_) => needed.max(held.clamp(RAW_LEAST, RAW_MOST)),
            Kind::Nothing => needed,
        }
    }

    fn reserve(&self, bytes: usize) -> Result<Reservation, ProviderError> {
        match &self.0 {
            Kind::System(pages) => pages.reserve(bytes),
            Kind::Process => Nested::reserve_in(process_heap(), bytes),
            Kind::Heap(outer) => outer.reserve(bytes),
            Kind::Raw(raw) => raw.reserve(bytes),
            Kind::Nothing => Err(ProviderError),
        }
    }

    unsafe fn release(&self, reservation: Reservation) -> Result<(), ProviderError> {
        // SAFETY: by the contract, in each case.
        unsafe {
            match &self.0 {
                Kind::System(pages) => pages.release(reservation),
                Kind::Process => Nested::release_in(process_heap(), reservation),
                Kind::Heap(outer) => outer.release(reservation),
                Kind::Raw(raw) => raw.release(reservation),
                Kind::Nothing => Err(ProviderError),
            }
        }
    }

    // What follows only the system can.

    unsafe fn commit(&self, start: NonNull<u8>, bytes: usize) -> Result<(), ProviderError> {
        let Kind::System(pages) = &self.0 else { return Err(ProviderError) };
        // SAFETY: by the contract.
        unsafe { pages.commit(start, bytes) }
    }

    unsafe fn purge(&self, start: NonNull<u8>, bytes: usize) -> Result<(), ProviderError> {
        let Kind::System(pages) = &self.0 else { return Err(ProviderError) };
        // SAFETY: by the contract.
        unsafe { pages.purge(start, bytes) }
    }

    unsafe fn remap(
        &self,
        from: NonNull<u8>,
        to: NonNull<u8>,
        bytes: usize,
    ) -> Result<(), ProviderError> {
        let Kind::System(pages) = &self.0 else { return Err(ProviderError) };
        // SAFETY: by the contract.
        unsafe { pages.remap(from, to, bytes) }
    }

    unsafe fn protect(&self, start: NonNull<u8>, bytes: usize) -> Result<(), ProviderError> {
        let Kind::System(pages) = &self.0 else { return Err(ProviderError) };
        // SAFETY: by the contract.
        unsafe { pages.protect(start, bytes) }
    }

    unsafe fn unprotect(&self, start: NonNull<u8>, bytes: usize) -> Result<(), ProviderError> {
        let Kind::System(pages) = &self.0 else { return Err(ProviderError) };
        // SAFETY: by the contract.
        unsafe { pages.unprotect(start, bytes) }
    }

    unsafe fn advise_huge(&self, start: NonNull<u8>, bytes: usize) {
        if let Kind::System(pages) = &self.0 {
            // SAFETY: by the contract.
            unsafe { pages.advise_huge(start, bytes) };
        }
    }

    unsafe fn refuse_huge(&self, start: NonNull<u8>, bytes: usize) {
        if let Kind::System(pages) = &self.0 {
            // SAFETY: by the contract.
            unsafe { pages.refuse_huge(start, bytes) };
        }
    }

    unsafe fn resident(&self, start: NonNull<u8>, bytes: usize) -> usize {
        let Kind::System(pages) = &self.0 else { return bytes };
        // SAFETY: by the contract.
        unsafe { pages.resident(start, bytes) }
    }
}
