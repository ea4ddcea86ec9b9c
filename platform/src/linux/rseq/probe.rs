//! Whether restartable sequences work here, asked once, before they are used.
//!
//! What they need: CPUs few enough for the table; `membarrier`, without which
//! no cache could be drained (Linux 5.10); areas, the C library's or ours
//! (see [`area`]); and a kernel that keeps its side. That it does is not taken
//! on trust: the number of the CPU has to be the one another call says, and
//! the sequences themselves are tried on a scratch cache. What one thread
//! cannot try is being interrupted at the right moment, so kernels known to
//! lose aborts are recognised by their version.

use core::ptr::NonNull;
use core::sync::atomic::{AtomicPtr, Ordering};

use granule_core::base::class::{ALL_CLASSES, Class};
use granule_core::cache::sheaf::{Top, Word};
use granule_core::cache::tops::Tops;

use super::super::env::{quietly, told};
use super::area::{Areas, Numbers};
use super::{CPUS, CpuSlots, Entry, Sequences, area, membarrier, stopped};

/// The key in the kernel's vector for the bytes of an area that the kernel knows.
const AT_RSEQ_FEATURE_SIZE: libc::c_ulong = 27;
/// ... when `mm_cid` is among them.
const WITH_MM_CID: libc::c_ulong = 28;

/// How often the number of the CPU is compared: the thread may be moved
/// between the two looks.
const LOOKS: usize = 100;

/// Why CPUs have no caches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::linux) enum Refusal {
    /// The kernel is known to lose aborts.
    Kernel,
    /// More CPUs than the table has entries.
    Cpus,
    /// No `membarrier` for sequences.
    Membarrier,
    /// No area: the kernel has none, or somebody else uses it.
    Area,
    /// The kernel or the sequences did something else than they should.
    SelfTest,
}

/// How much a kernel is trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::linux) enum Rigour {
    /// Not the ones known to be broken.
    Careful,
    /// Any that passes the self-test: somebody insists.
    Insistent,
}

/// Opens `slots` for the process, if all it needs is there. Nobody else uses
/// them meanwhile, nor does the same.
pub(in crate::linux) fn set_up<S: Sequences>(
    slots: &CpuSlots<S>,
    rigour: Rigour,
) -> Result<(), Refusal> {
    if rigour == Rigour::Careful && loses_aborts() {
        return Err(Refusal::Kernel);
    }
    let limit = possible_cpus().ok_or(Refusal::Cpus)?;
    if !membarrier::register() {
        return Err(Refusal::Membarrier);
    }
    let areas = Areas::find(S::NUMBERS, limit).ok_or(Refusal::Area)?;
    let works = counts_cpus(&areas) && {
        areas.prepare();
        try_sequences(slots, &areas)
    };
    slots.fill(limit, stopped());
    if !works || !membarrier::restart_sequences() {
        areas.give_up();
        return Err(Refusal::SelfTest);
    }
    area::publish(&areas);
    Ok(())
}

/// Which numbers the kernel has.
pub(in crate::linux) fn numbers() -> Numbers {
    #[cfg(test)]
    if std::env::var_os(super::tests::PHYSICAL).is_some() {
        return Numbers::Physical;
    }
    let known = told(AT_RSEQ_FEATURE_SIZE);
    if known >= WITH_MM_CID { Numbers::Dense } else { Numbers::Physical }
}

/// A bound for the numbers of CPUs, also of those to be plugged in; `None` when
/// the table is too small. It is the length of the kernel's own sets of CPUs.
fn possible_cpus() -> Option<usize> {
    let mut set = [0u64; CPUS / 64];
    let (bytes, set) = (size_of_val(&set), set.as_mut_ptr());
    // SAFETY: the set is writable and as long as said.
    let length = quietly(|| unsafe { libc::syscall(libc::SYS_sched_getaffinity, 0, bytes, set) });
    usize::try_from(length).ok().filter(|length| *length > 0).map(|length| length * 8)
}

/// Whether the kernel is one of the series whose arm64 side was reported to
/// lose aborts.
fn loses_aborts() -> bool {
    if !cfg!(target_arch = "aarch64") {
        return false;
    }
    // SAFETY: all-zero bytes are a valid `utsname`.
    let mut name: libc::utsname = unsafe { core::mem::zeroed() };
    // SAFETY: `name` is writable. Failure leaves an empty release.
    quietly(|| unsafe { libc::uname(&raw mut name) });
    is_of_series(&name.release.map(|byte| byte as u8), [6, 19])
}

/// Whether a kernel's release ("6.19.3-arch1") is of a series.
fn is_of_series(release: &[u8], series: [u32; 2]) -> bool {
    let mut parts = release.split(|byte| !byte.is_ascii_digit()).map(|digits| {
        digits.iter().fold(0u32, |number, digit| {
            number.saturating_mul(10).saturating_add(u32::from(digit - b'0'))
        })
    });
    series.iter().all(|wanted| parts.next() == Some(*wanted))
}

/// Whether the kernel numbers CPUs in the area as it does elsewhere.
fn counts_cpus(areas: &Areas) -> bool {
    let bound = u32::try_from(areas.limit()).unwrap_or(u32::MAX);
    let same = || {
        let mut cpu = 0u32;
        let none = core::ptr::null_mut::<u8>();
        // SAFETY: `cpu` is writable, null is allowed for the rest.
        let failed =
            quietly(|| unsafe { libc::syscall(libc::SYS_getcpu, &raw mut cpu, none, none) });
        failed == 0 && areas.cpu_id() == cpu
    };
    (0..LOOKS).any(|_| same()) && areas.number() < bound
}

/// The tops of a cache of nobody's.
#[repr(C, align(64))]
struct Scratch([AtomicPtr<Word>; ALL_CLASSES]);

const _: () = assert!(size_of::<Scratch>() == size_of::<Tops>());

/// Whether the sequences pop, push and swap, on whatever CPU. `slots` are
/// nobody's yet.
fn try_sequences<S: Sequences>(slots: &CpuSlots<S>, areas: &Areas) -> bool {
    let class = Class::of(64, 8);
    let scratch = Scratch([const { AtomicPtr::new(Top::sentinel().as_ptr()) }; ALL_CLASSES]);
    let mark = || Word::new(core::ptr::without_provenance_mut(1));
    let sheaf = [mark(), Word::new(core::ptr::null_mut()), mark()];
    let mut object = 0u64;
    let object = (&raw mut object).cast::<u8>();
    // SAFETY: between two marks; what the sequences make of it ends here.
    let empty = unsafe { Top::from_ptr(NonNull::from(&sheaf[1])) };
    slots.fill(areas.limit(), (&raw const scratch).cast_mut().cast());
    let entries: &[Entry] = &slots.tops;
    let area = areas.offset();
    let now = || scratch.0[class.index()].load(Ordering::Relaxed);
    // SAFETY: the areas are registered for this thread, and all numbers lead
    // to the scratch cache, the caller's alone.
    unsafe {
        S::pop(area, entries, class).is_null()
            && !S::push(area, entries, class, object)
            && !S::swap(area, entries, class, empty, empty)
            && S::swap(area, entries, class, Top::sentinel(), empty)
            && S::pop(area, entries, class).is_null()
            && S::push(area, entries, class, object)
            && !S::push(area, entries, class, object)
            && core::ptr::eq(now(), &raw const sheaf[2])
            && S::pop(area, entries, class) == object
            && core::ptr::eq(now(), &raw const sheaf[1])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_told_apart() {
        for broken in ["6.19.0", "6.19", "6.19.11-arch1-1", "6.19-rc3"] {
            assert!(is_of_series(broken.as_bytes(), [6, 19]), "{broken}");
        }
        for fine in ["6.18.44", "6.1.19", "6.190.1", "7.0.0", "5.10.6-19", "", "six"] {
            assert!(!is_of_series(fine.as_bytes(), [6, 19]), "{fine}");
        }
    }

    #[test]
    fn there_are_as_many_cpus_as_the_kernel_can_have() {
        let online = std::thread::available_parallelism().expect("CPUs").get();
        assert!(possible_cpus().is_some_and(|cpus| (online..=CPUS).contains(&cpus)));
    }
}
