//! How the heap finds the CPU it runs on, in a kernel.
//!
//! A kernel keeps one [`CpuLocal`] per CPU and says, by [`KernelCpu`], where
//! that of the present CPU is; [`PerCpu`] makes of it the guard that
//! [`Guarded`](granule_core::cache::guarded::Guarded) wants. The guard is a
//! flag, set and cleared by plain stores: an interrupt that comes on top of an
//! entry finds the flag set and does without the cache, so interrupts (also
//! non-maskable ones) stay enabled on hit paths.
//!
//! To drain the cache of a CPU that runs, another one must know that it is
//! not inside an entry. It asks by an interrupt between processors, as Linux's
//! `membarrier` does, so that entries need no fence:
//!
//! ```text
//! drains    tops := STOPPED ─ asked += 1 ─ interrupt ─ … answered ≥ ticket ─ drain
//! drained                        answer: not entered? answered := asked
//! ```
//!
//! L1: `busy` is written by its own CPU alone, and is set from an entry's
//! begin to its end. L2: who has seen `answered` reach its ticket knows that
//! every entry begun before the ticket has ended.

use core::marker::PhantomData;
use core::sync::atomic::compiler_fence;

use granule_core::base::sync::atomic::{AtomicBool, AtomicU32, Ordering, fence, spin_loop};
use granule_core::cache::guarded::Cpu;
use granule_core::cache::place::Place;
use granule_core::provider::Node;

/// How often a CPU is asked before it counts as one that does not answer: some
/// ten milliseconds. It may be waiting, interrupts masked, for something that
/// the caller holds.
const ASKS: u32 = 1 << 10;

/// Turns of waiting between two interrupts.
const TURNS: u32 = 1 << 10;

/// What the heap keeps of a CPU: one in a kernel's data of each CPU.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct CpuLocal {
    busy: AtomicBool,
    pub(super) place: Place,
    number: usize,
    gone: AtomicBool,
    asked: AtomicU32,
    answered: AtomicU32,
}

impl CpuLocal {
    /// The local of the CPU with this number, present.
    #[must_use]
    pub const fn new(number: usize) -> Self {
        Self {
            busy: AtomicBool::new(false),
            place: Place::new(),
            number,
            gone: AtomicBool::new(false),
            asked: AtomicU32::new(0),
            answered: AtomicU32::new(0),
        }
    }

    /// The local whose address a kernel keeps in a register of the CPU: the
    /// fewest instructions. `None` for 0.
    ///
    /// # Safety
    ///
    /// Caller: `word` is 0, or a local's address that was exposed by
    /// [`word`](Self::word).
    #[must_use]
    #[inline(always)]
    pub unsafe fn from_word(word: usize) -> Option<&'static Self> {
        // SAFETY: by the contract null or a static's.
        unsafe { core::ptr::with_exposed_provenance::<Self>(word).as_ref() }
    }

    /// The word for such a register.
    #[must_use]
    pub fn word(&'static self) -> usize {
        core::ptr::from_ref(self).expose_provenance()
    }

    /// The CPU's number.
    #[must_use]
    #[inline]
    pub fn number(&self) -> usize {
        self.number
    }

    /// To be called on this CPU by the handler of the interrupt that
    /// [`KernelCpu::interrupt`] sends, and by any other handler if that is
    /// easier.
    pub fn answer(&self) {
        if !self.busy.load(Ordering::Relaxed) {
            // Acquire: entries from now on see what the asking CPU did before;
            // pairs with the Release in `ask`.
            let asked = self.asked.load(Ordering::Acquire);
            // Release: entries up to now are seen by who asked; pairs with the
            // Acquire in `has_answered`.
            self.answered.store(asked, Ordering::Release);
        }
    }

    /// To be called on this CPU, interrupts masked, as the last thing before
    /// it stops: it has no cache from now on, and need not answer.
    pub fn leave(&self) {
        self.busy.store(true, Ordering::Relaxed);
        // Release: its last entry is seen by who finds it gone; pairs with the
        // Acquire in `has_answered`.
        self.gone.store(true, Ordering::Release);
    }

    /// To be called on this CPU, interrupts masked, when it comes back.
    pub fn enter(&self) {
        self.gone.store(false, Ordering::Relaxed);
        // Pairs with the fence in `ask`: either who asks finds this CPU back, or
        // this CPU's entries find what was done before asking.
        fence(Ordering::SeqCst);
        self.busy.store(false, Ordering::Relaxed);
    }

    /// Asks the CPU to answer; the ticket that the answer must reach. `None` where the
    /// machine cannot count for two who ask at once (ARMv6-M, RISC-V without `A`).
    #[cfg(target_has_atomic = "32")]
    fn ask(&self) -> Option<u32> {
        // Release: pairs with the Acquire in `answer`.
        let ticket = self.asked.fetch_add(1, Ordering::Release).wrapping_add(1);
        // Pairs with the fence in `enter`.
        fence(Ordering::SeqCst);
        Some(ticket)
    }

    #[cfg(not(target_has_atomic = "32"))]
    fn ask(&self) -> Option<u32> {
        None
    }

    fn has_answered(&self, ticket: u32) -> bool {
        // Acquire: pairs with the Release in `answer` and in `leave`.
        let answered = self.answered.load(Ordering::Acquire);
        answered.wrapping_sub(ticket).cast_signed() >= 0 || self.gone.load(Ordering::Acquire)
    }
}

/// The locals of CPUs 0 to `N - 1`, for a `static`.
#[derive(Debug)]
pub struct CpuLocals<const N: usize>([CpuLocal; N]);

impl<const N: usize> Default for CpuLocals<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> CpuLocals<N> {
    /// All present.
    #[must_use]
    pub const fn new() -> Self {
        let mut locals = [const { CpuLocal::new(0) }; N];
        let mut number = 0;
        while number < N {
            locals[number].number = number;
            number += 1;
        }
        Self(locals)
    }

    /// The local of a CPU; `None` when there is no such number.
    #[must_use]
    #[inline]
    pub fn get(&self, number: usize) -> Option<&CpuLocal> {
        self.0.get(number)
    }
}

/// What a kernel tells the heap about its CPUs.
///
/// ```
/// use granule::kernel::cpu::{CpuLocal, CpuLocals, KernelCpu, PerCpu};
///
/// static LOCALS: CpuLocals<4> = CpuLocals::new();
/// struct Here;
/// # fn hart_id() -> usize { 0 }
///
/// // SAFETY: a hart's number is its own; this kernel is not preempted.
/// unsafe impl KernelCpu for Here {
///     type Pin = ();
///     const CPUS: usize = 4;
///     fn pin() {}
///     fn local() -> Option<&'static CpuLocal> {
///         LOCALS.get(hart_id())
///     }
///     fn local_of(cpu: usize) -> Option<&'static CpuLocal> {
///         LOCALS.get(cpu)
///     }
/// }
///
/// // For the kernel's heap `granule::kernel::front::InLocals<Here, E>`; for any
/// // number of heaps beside it:
/// type Front<E> = granule::cache::guarded::Guarded<PerCpu<Here>, E, 4>;
/// ```
///
/// # Safety
///
/// Implementor:
/// - while a [`Pin`](Self::Pin) exists, its holder stays on its CPU and is not
///   switched out for another that could enter: preemption is off, or the
///   kernel has none, or interrupts are masked;
/// - [`local`](Self::local) is the present CPU's, and no other CPU's at the
///   same time; [`local_of`](Self::local_of) finds the same by its number,
///   which is the local's own, and below [`CPUS`](Self::CPUS);
/// - no function allocates or frees through the heap it serves.
pub unsafe trait KernelCpu: 'static {
    /// Held for the few instructions of an entry.
    type Pin;

    /// All numbers of locals are below this, and each number below has a local
    /// or none above it has. The size of the front end, or less, saves each
    /// hit a comparison.
    const CPUS: usize = usize::MAX;

    /// Keeps the caller where it is.
    fn pin() -> Self::Pin;

    /// The local of the CPU the caller runs on; `None` when it has none, too
    /// early or beyond the last: such CPUs work without a cache.
    fn local() -> Option<&'static CpuLocal>;

    /// The local of a CPU by its number.
    fn local_of(cpu: usize) -> Option<&'static CpuLocal>;

    /// The node of memory that the CPU the caller runs on is near to, see
    /// [`FrontEnd::node`](granule_core::FrontEnd::node): for heaps that know more
    /// than one. Asked without a pin, in any context.
    #[inline]
    fn node() -> Node {
        Node(0)
    }

    /// Makes `cpu` call [`CpuLocal::answer`] soon, by an interrupt. `false`
    /// when that cannot be done: caches of CPUs that run then cannot be drained
    /// by others.
    fn interrupt(cpu: usize) -> bool {
        let _ = cpu;
        false
    }
}

/// The guard of [`Guarded`](granule_core::cache::guarded::Guarded), out of what
/// a kernel tells.
#[derive(Debug)]
pub struct PerCpu<K>(PhantomData<fn() -> K>);

/// An entry on a CPU: ends when dropped.
#[derive(Debug)]
pub struct Entry<P> {
    local: &'static CpuLocal,
    _pin: P,
}

impl<P> Drop for Entry<P> {
    #[inline(always)]
    fn drop(&mut self) {
        // An interrupt on this CPU sees what the entry did before the flag.
        compiler_fence(Ordering::Release);
        self.local.busy.store(false, Ordering::Relaxed);
    }
}

impl<K: KernelCpu> PerCpu<K> {
    /// The caller's local, and the guard.
    #[inline(always)]
    pub(super) fn enter() -> Option<(&'static CpuLocal, Entry<K::Pin>)> {
        let pin = K::pin();
        let local = K::local()?;
        if local.busy.load(Ordering::Relaxed) {
            return None;
        }
        local.busy.store(true, Ordering::Relaxed);
        compiler_fence(Ordering::Acquire);
        Some((local, Entry { local, _pin: pin }))
    }
}

// SAFETY: L1. An entry on top of another finds the flag set; between the test
// and the store an interrupt may enter, and has left before the store; nobody
// else is on the CPU, as the pin says. A CPU's own entries are ordered by its
// program order, those of contexts that moved there by the kernel's switch.
unsafe impl<K: KernelCpu> Cpu for PerCpu<K> {
    type Guard = Entry<K::Pin>;

    const CPUS: usize = K::CPUS;

    #[inline(always)]
    fn try_enter() -> Option<(usize, Self::Guard)> {
        let (local, entry) = Self::enter()?;
        Some((local.number, entry))
    }

    #[inline]
    fn node() -> Node {
        K::node()
    }

    fn quiesce(cpu: usize) -> bool {
        let Some(target) = K::local_of(cpu) else { return false };
        if is_entered::<K>() {
            // The caller is on top of an entry, which would wait for itself.
            return false;
        }
        let Some(ticket) = target.ask() else { return false };
        for _ in 0..ASKS {
            if target.has_answered(ticket) {
                return true;
            }
            if !K::interrupt(cpu) {
                break;
            }
            for _ in 0..TURNS {
                if target.has_answered(ticket) {
                    return true;
                }
                // Interrupts may be masked here, and another CPU be asking.
                answer_here::<K>();
                spin_loop();
            }
        }
        target.has_answered(ticket)
    }
}

fn is_entered<K: KernelCpu>() -> bool {
    let _pin = K::pin();
    K::local().is_some_and(|local| {
        // A CPU that has left has no entry, though its flag is set.
        local.busy.load(Ordering::Relaxed) && !local.gone.load(Ordering::Relaxed)
    })
}

fn answer_here<K: KernelCpu>() {
    let _pin = K::pin();
    if let Some(local) = K::local() {
        local.answer();
    }
}

#[cfg(test)]
#[path = "cpu_tests.rs"]
mod tests;

#[cfg(all(test, loom))]
#[path = "cpu_models.rs"]
mod models;
