//! The allocator over all banks.
//!
//! Locks: `setup`, then one bank's. Never two banks at once, and nothing of
//! anybody else's under either. Atomic pair: `ready`, stored with Release
//! once a bank's facts are, and loaded with Acquire before they are read.

use core::fmt;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use granule_core::Environment;
use granule_core::base::sync::Lock;
use granule_core::provider::Node;

use super::address::{DirectMap, FrameRun, PhysAddr};
use super::bank::{Bank, Plan};
use super::error::{FrameError, MapError};
use super::memory_map::{MemoryRange, RangeKind, Sweep, check};
use super::request::{FrameFlags, Request};
use super::stats::{BankStats, FrameStats};

/// A bank, and the facts by which it is chosen, which never change.
struct Slot<E> {
    /// Number of the first frame.
    first: AtomicUsize,
    frames: AtomicU32,
    /// Behind these.
    tables: AtomicU32,
    flags: AtomicU32,
    node: AtomicU32,
    bank: Lock<Option<Bank>, E>,
}

impl<E: Environment> Slot<E> {
    const fn new() -> Self {
        Self {
            first: AtomicUsize::new(0),
            frames: AtomicU32::new(0),
            tables: AtomicU32::new(0),
            flags: AtomicU32::new(0),
            node: AtomicU32::new(0),
            bank: Lock::new(None),
        }
    }

    // Relaxed throughout: ordered by `ready`.
    #[inline]
    fn first(&self) -> u64 {
        self.first.load(Ordering::Relaxed) as u64
    }

    /// The number behind the last frame to hand out.
    #[inline]
    fn end(&self) -> u64 {
        self.first() + u64::from(self.frames.load(Ordering::Relaxed))
    }

    #[inline]
    fn flags(&self) -> FrameFlags {
        FrameFlags::from_bits_retain(self.flags.load(Ordering::Relaxed))
    }

    #[inline]
    fn node(&self) -> Node {
        Node(self.node.load(Ordering::Relaxed) as u16)
    }

    /// Where it comes in the order of preference: unique.
    #[inline]
    fn place(&self) -> (u32, u64) {
        (self.flags().rank(), self.first())
    }

    /// All of the bank's memory, tables included.
    fn range(&self, shift: u32) -> MemoryRange {
        let frames = self.end() - self.first() + u64::from(self.tables.load(Ordering::Relaxed));
        let start = PhysAddr::new(self.first() << shift);
        let range = MemoryRange::usable(start, frames << shift);
        range.with_flags(self.flags()).on_node(self.node())
    }
}

/// The page frames of a machine, in up to `BANKS` banks. See the
/// [module](super) for what it does and how.
///
/// All methods may be called from any CPU and, as far as the environment's
/// [`exclude`](Environment::exclude) keeps them out of critical sections,
/// from interrupt handlers. Until [`init`](Self::init) there are no frames.
pub struct Frames<E: Environment, const BANKS: usize> {
    /// Whoever adds banks.
    setup: Lock<(), E>,
    /// Slots that hold a bank, the first ones. 0 before `init`.
    ready: AtomicUsize,
    /// Binary logarithm of the frame size.
    shift: AtomicU32,
    nodes: AtomicU32,
    /// The direct map's.
    offset: AtomicUsize,
    slots: [Slot<E>; BANKS],
}

impl<E: Environment, const BANKS: usize> Default for Frames<E, BANKS> {
    fn default() -> Self {
        Self::new()
    }
}

impl<E: Environment, const BANKS: usize> Frames<E, BANKS> {
    /// Without memory: for a `static`.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            setup: Lock::new(()),
            ready: AtomicUsize::new(0),
            shift: AtomicU32::new(0),
            nodes: AtomicU32::new(0),
            offset: AtomicUsize::new(0),
            slots: [const { Slot::new() }; BANKS],
        }
    }

    /// Makes banks of the usable memory of a boot memory map, and writes
    /// their tables. `frame_size` is in bytes, a power of two from 4 KiB to
    /// 1 GiB, `direct` where the memory is mapped.
    ///
    /// A frame that would be mapped at null is left out, and so is a stretch
    /// of usable memory too short for its tables and a frame. The map is not
    /// needed afterwards.
    ///
    /// Takes time in proportion to the memory: about 60 µs a GiB. The lock is
    /// held meanwhile, and what the environment excludes is kept out.
    ///
    /// # Errors
    ///
    /// See [`MapError`]; there are no frames then, as before.
    ///
    /// # Safety
    ///
    /// Caller: what the map calls usable and nowhere reserved is memory that
    /// nobody uses and that is the allocator's from now on, readable and
    /// writable at its address in the direct map, as ordinary memory, for
    /// ever.
    pub unsafe fn init(
        &self,
        map: &[MemoryRange],
        frame_size: usize,
        direct: DirectMap,
    ) -> Result<(), MapError> {
        let _setup = self.setup.lock();
        if self.ready() > 0 {
            return Err(MapError::AlreadyInitialised);
        }
        if !frame_size.is_power_of_two() || !(1 << 12..=1 << 30).contains(&frame_size) {
            return Err(MapError::FrameSize(frame_size));
        }
        if !direct.offset().is_multiple_of(frame_size) {
            return Err(MapError::MapOffset(direct.offset()));
        }
        // Relaxed: nobody reads these before `ready` says so.
        self.shift.store(frame_size.ilog2(), Ordering::Relaxed);
        self.offset.store(direct.offset(), Ordering::Relaxed);
        // SAFETY: by the contract; the lock is held.
        unsafe { self.enter(map) }
    }

    /// Adds memory: plugged in later, or given back by a boot loader that is
    /// done with it. It becomes a bank of its own (two, if it goes across
    /// 4 GiB), also next to another. Takes time and excludes as `init` does.
    ///
    /// # Errors
    ///
    /// See [`MapError`]; nothing has changed then.
    ///
    /// # Safety
    ///
    /// Caller: as for [`init`](Self::init); the range is
    /// [`Usable`](RangeKind::Usable).
    pub unsafe fn add(&self, range: MemoryRange) -> Result<(), MapError> {
        let _setup = self.setup.lock();
        if self.ready() == 0 {
            return Err(MapError::NotInitialised);
        }
        if range.kind == RangeKind::Reserved {
            return Err(MapError::NothingUsable);
        }
        // SAFETY: by the contract; the lock is held.
        unsafe { self.enter(&[range]) }
    }

    /// Makes banks of a map: first sees that all can be, then does it.
    ///
    /// # Safety
    ///
    /// Caller: as for [`init`](Self::init), and holds `setup`.
    unsafe fn enter(&self, map: &[MemoryRange]) -> Result<(), MapError> {
        check(map)?;
        let (shift, direct) = (self.shift(), self.direct_map());
        let present = self.slots();
        let clash = map.iter().filter(|range| range.kind == RangeKind::Usable).find_map(|range| {
            let banks = present.iter().map(|slot| slot.range(shift));
            banks.filter(|bank| bank.overlaps(range)).map(|bank| (*range, bank)).next()
        });
        if let Some((range, bank)) = clash {
            return Err(MapError::Overlap(range, bank));
        }
        let mut room = self.slots.iter().skip(present.len());
        for stretch in Sweep::new(map, shift, direct) {
            if Plan::of(&stretch, shift)?.is_none() {
                continue;
            }
            let last = ((stretch.end - 1) << shift) + ((1 << shift) - 1);
            if !direct.covers(stretch.first << shift, last) {
                return Err(MapError::NotMapped(stretch.entry));
            }
            room.next().ok_or(MapError::TooManyBanks(stretch.entry))?;
        }
        let mut ready = present.len();
        for stretch in Sweep::new(map, shift, direct) {
            let Some(plan) = Plan::of(&stretch, shift)? else { continue };
            let Some(slot) = self.slots.get(ready) else { break };
            // SAFETY: by the contract: inside what the map calls usable, and
            // F5, in no bank yet.
            let Some(bank) = (unsafe { Bank::create(&plan, shift, direct) }) else { continue };
            // Relaxed: `ready` publishes them. A mapped frame's number fits.
            slot.first.store(plan.first as usize, Ordering::Relaxed);
            slot.frames.store(plan.frames, Ordering::Relaxed);
            slot.tables.store(plan.tables, Ordering::Relaxed);
            slot.flags.store(plan.flags.bits(), Ordering::Relaxed);
            slot.node.store(plan.node.0.into(), Ordering::Relaxed);
            // Relaxed: who finds too few asks for less.
            let nodes = u32::from(plan.node.0) + 1;
            self.nodes.store(nodes.max(self.nodes.load(Ordering::Relaxed)), Ordering::Relaxed);
            *slot.bank.lock() = Some(bank);
            ready += 1;
            // Release: pairs with Acquire in `ready`.
            self.ready.store(ready, Ordering::Release);
        }
        if ready == present.len() { Err(MapError::NothingUsable) } else { Ok(()) }
    }

    #[inline]
    fn ready(&self) -> usize {
        // Acquire: the facts of the banks; pairs with Release in `enter`.
        self.ready.load(Ordering::Acquire)
    }

    /// The banks there are.
    #[inline]
    fn slots(&self) -> &[Slot<E>] {
        self.slots.get(..self.ready()).unwrap_or(&[])
    }

    #[inline]
    fn shift(&self) -> u32 {
        self.shift.load(Ordering::Relaxed)
    }

    /// Bytes of a frame. `None` before [`init`](Self::init).
    #[must_use]
    #[inline]
    pub fn frame_size(&self) -> Option<usize> {
        (self.ready() > 0).then(|| 1 << self.shift())
    }

    /// Nodes that banks are on: one more than the highest number; 1 before
    /// [`init`](Self::init).
    #[must_use]
    #[inline]
    pub fn nodes(&self) -> u16 {
        self.nodes.load(Ordering::Relaxed).clamp(1, u16::MAX.into()) as u16
    }

    /// The node of the bank that an address lies in; `None` when it is in none.
    #[must_use]
    pub fn node_of(&self, address: PhysAddr) -> Option<Node> {
        let frame = address.get() >> self.shift();
        let around = |slot: &&Slot<E>| slot.first() <= frame && frame < slot.end();
        self.slots().iter().find(around).map(Slot::node)
    }

    /// Where memory is mapped, as [`init`](Self::init) was told; identity
    /// before.
    #[must_use]
    pub fn direct_map(&self) -> DirectMap {
        DirectMap::with_offset(self.offset.load(Ordering::Relaxed))
    }

    /// Takes `frames` frames that lie together, anywhere: the same as
    /// [`alloc_with`](Self::alloc_with) and a plain [`Request`].
    ///
    /// # Errors
    ///
    /// As there.
    #[inline]
    pub fn alloc(&self, frames: usize) -> Result<FrameRun, FrameError> {
        self.alloc_with(Request::new(frames))
    }

    /// Takes a run of frames. Their contents are whatever they were.
    ///
    /// # Errors
    ///
    /// [`OutOfFrames`](FrameError::OutOfFrames) when no bank that qualifies
    /// has such a run free, [`BadRequest`](FrameError::BadRequest) for 0
    /// frames or an alignment that is no power of two.
    pub fn alloc_with(&self, request: Request) -> Result<FrameRun, FrameError> {
        if request.frames == 0 || !request.align.is_power_of_two() {
            return Err(FrameError::BadRequest);
        }
        let slots = self.slots();
        let shift = self.shift();
        let (frames, align) = (request.frames as u64, (request.align >> shift).max(1));
        let mut tried = None;
        loop {
            let left = slots.iter().filter(|slot| {
                request.accepts(slot.flags(), slot.node())
                    && tried.is_none_or(|place| slot.place() > place)
            });
            let slot = left.min_by_key(|slot| slot.place()).ok_or(FrameError::OutOfFrames)?;
            let first = slot.bank.lock().as_mut().and_then(|bank| bank.take(frames, align));
            if let Some(first) = first {
                let start = PhysAddr::new(first << shift);
                return Ok(FrameRun { start, frames: request.frames });
            }
            tried = Some(slot.place());
        }
    }

    /// Takes frames back: a run that was handed out, a part of one, or several
    /// that lie side by side in a bank. They are one with their neighbours at
    /// once.
    ///
    /// # Errors
    ///
    /// See [`FrameError`]; nothing has changed then. A frame that is free
    /// already is always found.
    ///
    /// # Safety
    ///
    /// Caller: nobody uses the frames any more, and they are not given back
    /// twice: by the second time they may be somebody else's.
    pub unsafe fn free(&self, run: FrameRun) -> Result<(), FrameError> {
        let (slot, start, end) = self.locate(run)?;
        let mut bank = slot.bank.lock();
        bank.as_mut()
            .map_or(Err(FrameError::NotOurs(run.start)), |bank| bank.give(start, end, run.start))
    }

    /// Takes all frames that `bytes` bytes from `start` are in, if all are
    /// free: memory that a driver or firmware wants at this very place. To be
    /// given back like any run.
    ///
    /// # Errors
    ///
    /// [`NotFree`](FrameError::NotFree) when some are taken,
    /// [`NotOurs`](FrameError::NotOurs) and
    /// [`LeavesBank`](FrameError::LeavesBank) when they are not in one bank,
    /// [`BadRequest`](FrameError::BadRequest) for no bytes or a range that
    /// wraps.
    pub fn reserve_range(&self, start: PhysAddr, bytes: u64) -> Result<FrameRun, FrameError> {
        let bytes = bytes.checked_sub(1).ok_or(FrameError::BadRequest)?;
        let last = start.get().checked_add(bytes).ok_or(FrameError::BadRequest)?;
        let shift = self.shift();
        let first = start.get() >> shift;
        let frames = usize::try_from((last >> shift) - first + 1);
        let frames = frames.map_err(|_| FrameError::NotOurs(start))?;
        let run = FrameRun { start: PhysAddr::new(first << shift), frames };
        let (slot, start, end) = self.locate(run)?;
        let mut bank = slot.bank.lock();
        let bank = bank.as_mut().ok_or(FrameError::NotOurs(run.start))?;
        bank.take_at(start, end, run.start)?;
        Ok(run)
    }

    /// The bank that a run is in, and the numbers of its first frame and of
    /// the one behind its last.
    #[inline]
    fn locate(&self, run: FrameRun) -> Result<(&Slot<E>, u64, u64), FrameError> {
        let slots = self.slots();
        let (address, shift) = (run.start.get(), self.shift());
        if run.frames == 0 {
            return Err(FrameError::BadRequest);
        }
        if address & ((1 << shift) - 1) != 0 {
            return Err(FrameError::Misaligned(run.start));
        }
        let start = address >> shift;
        let mut around = slots.iter().filter(|slot| slot.first() <= start && start < slot.end());
        let slot = around.next().ok_or(FrameError::NotOurs(run.start))?;
        if run.frames as u64 > slot.end() - start {
            return Err(FrameError::LeavesBank(run.start));
        }
        Ok((slot, start, start + run.frames as u64))
    }

    /// Counts of all banks together.
    #[must_use]
    pub fn stats(&self) -> FrameStats {
        let frame_size = self.frame_size().unwrap_or(0);
        let mut all = FrameStats { frame_size, ..FrameStats::default() };
        self.banks().for_each(|bank| all.add(&bank));
        all
    }

    /// Counts of each bank, in the order in which they were made.
    pub fn banks(&self) -> impl Iterator<Item = BankStats> {
        let slots = self.slots();
        let shift = self.shift();
        slots.iter().filter_map(move |slot| Some(slot.bank.lock().as_ref()?.stats(shift)))
    }
}

impl<E: Environment, const BANKS: usize> fmt::Display for Frames<E, BANKS> {
    /// A line of sums and one for each bank. No lock is held while writing.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.stats())?;
        self.banks().try_for_each(|bank| write!(f, "\n  {bank}"))
    }
}

impl<E: Environment, const BANKS: usize> fmt::Debug for Frames<E, BANKS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frames").field("stats", &self.stats()).finish_non_exhaustive()
    }
}
