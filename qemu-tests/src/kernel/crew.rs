//! All cores at one job.
//!
//! Core 0 runs the cases and calls the others when a case wants them. Those
//! that wait sleep until an interrupt, so that an emulator with fewer cores
//! than the machine gets on.

use core::mem::transmute;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicUsize, Ordering};

use machine::smp::StartError;

use super::heap::{CPUS, present};

/// More than the cores of a job.
const CORES: u32 = 16;
const _: () = assert!((CPUS as u32) < CORES, "the number of cores has four bits");

/// What a core does: gets the core's number.
pub(crate) type Job = fn(usize);

static JOB: AtomicPtr<()> = AtomicPtr::new(null_mut());
/// How many jobs there have been, times [`CORES`], and for how many cores the latest
/// is. One word: who sleeps through a job must not take the next one's number of cores
/// for its own, or it would do that twice.
static ROUND: AtomicU32 = AtomicU32::new(0);
static AT_WORK: AtomicUsize = AtomicUsize::new(0);
static PRESENT: AtomicUsize = AtomicUsize::new(1);

/// Starts all cores but the caller's; fails with the first that does not.
pub(crate) fn assemble() -> Result<(), StartError> {
    let cores = count();
    for core in 1..cores {
        machine::smp::start(core, member)?;
    }
    while PRESENT.load(Ordering::Acquire) < cores {
        machine::cpu::relax();
    }
    Ok(())
}

/// Cores there are.
pub(crate) fn count() -> usize {
    machine::cpu::count().min(CPUS)
}

/// Runs `job` on the first `cores` cores, core 0, the caller's, included;
/// returns when all are done.
pub(crate) fn run(cores: usize, job: Job) {
    let cores = cores.min(count());
    AT_WORK.store(cores, Ordering::Relaxed);
    JOB.store(job as *mut (), Ordering::Relaxed);
    let round = ROUND.load(Ordering::Relaxed) / CORES + 1;
    // Release: pairs with the Acquire in `member`. At most `CPUS` cores.
    ROUND.store(round * CORES + cores as u32, Ordering::Release);
    (1..cores).for_each(machine::ipi::send);
    job(0);
    finish();
    // Acquire: pairs with the Release in `finish`.
    while AT_WORK.load(Ordering::Acquire) > 0 {
        sleep_unless(|| AT_WORK.load(Ordering::Relaxed) == 0);
    }
}

fn finish() {
    // Release: pairs with the Acquire in `run`.
    if AT_WORK.fetch_sub(1, Ordering::AcqRel) == 1 {
        machine::ipi::send(0);
    }
}

/// Waits for an interrupt, unless `ready`: tested with interrupts masked, and
/// one that comes after ends the wait.
fn sleep_unless(ready: impl Fn() -> bool) {
    let _masked = machine::cpu::mask();
    if !ready() {
        machine::cpu::wait_for_interrupt();
    }
}

fn member() -> ! {
    let core = machine::cpu::id();
    present();
    machine::cpu::enable();
    PRESENT.fetch_add(1, Ordering::AcqRel);
    let mut seen = 0;
    loop {
        // Acquire: pairs with the Release in `run`.
        let round = ROUND.load(Ordering::Acquire);
        if round == seen {
            sleep_unless(|| ROUND.load(Ordering::Relaxed) != seen);
            continue;
        }
        seen = round;
        if core < (round % CORES) as usize {
            // SAFETY: `run` stored a job, and stores no other before this core is done.
            let job: Job = unsafe { transmute(JOB.load(Ordering::Relaxed)) };
            job(core);
            finish();
        }
    }
}
