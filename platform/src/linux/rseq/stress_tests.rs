//! Sixteen threads on two CPUs, signals, drains and hops: every object has one
//! owner all the time, and all are there at the end. The same load has to find
//! out sequences that are not restarted; those runs are children, which may
//! end in any way but well.

use core::alloc::Layout;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering::*};
use std::boxed::Box;
use std::time::{Duration, Instant};
use std::vec::Vec;
use std::{env, println, process, thread};

use granule_core::{Config, Heap};

use super::tests::{PHYSICAL, again, caches_of_this_process, open, pin};
use super::*;
use crate::{Caches, HostPages};

const THREADS: u32 = 16;
const LETTERS: usize = 64;
/// Objects that a handler could not push back: more than ever come together.
const STRANDED: usize = 1 << 16;

/// A front end that can be looked at from outside its heap.
struct Shared<S: 'static>(&'static CpuSlots<S>);

// SAFETY: forwards.
unsafe impl<S: Sequences> FrontEnd<HostEnv> for Shared<S> {
    fn pop(&self, class: Class) -> *mut u8 {
        self.0.pop(class)
    }
    unsafe fn push(&self, class: Class, object: *mut u8) -> bool {
        // SAFETY: as the caller's.
        unsafe { self.0.push(class, object) }
    }
    unsafe fn swap(&self, class: Class, expected: Top, new: Top) -> bool {
        // SAFETY: as the caller's.
        unsafe { self.0.swap(class, expected, new) }
    }
    fn current(&self) -> Current<'_, HostEnv> {
        self.0.current()
    }
    fn attach(&self, slot: &'static Slot<HostEnv>) -> bool {
        self.0.attach(slot)
    }
    fn slot_of(&self, cpu: usize) -> Result<Option<&Slot<HostEnv>>, NoSuchCpu> {
        self.0.slot_of(cpu)
    }
    fn stop(&self, slot: &Slot<HostEnv>) -> bool {
        self.0.stop(slot)
    }
    fn restart(&self, slot: &Slot<HostEnv>) {
        self.0.restart(slot);
    }
}

struct Stressed<S>(PhantomData<fn() -> S>);

impl<S: Sequences> Config for Stressed<S> {
    type Pages = HostPages;
    type Front = Shared<S>;
    type Env = HostEnv;
}

type Stress<S> = Heap<Stressed<S>>;

static STOP: AtomicBool = AtomicBool::new(false);
static SIGNALS: AtomicU64 = AtomicU64::new(0);
static HITS: AtomicU64 = AtomicU64::new(0);
static MAIL: [AtomicPtr<u8>; LETTERS] = [const { AtomicPtr::new(null_mut()) }; LETTERS];
static STRAY: [AtomicPtr<u8>; STRANDED] = [const { AtomicPtr::new(null_mut()) }; STRANDED];
static STRAYS: AtomicUsize = AtomicUsize::new(0);
/// The heap of the handler.
static HEAP: AtomicPtr<()> = AtomicPtr::new(null_mut());

const LAYOUT: Layout = Layout::new::<[u64; 8]>();

fn fail(what: &str) -> ! {
    println!("found: {what}");
    process::exit(3);
}

/// The word of an object that says who has it.
fn owner(object: *mut u8) -> &'static AtomicU32 {
    // SAFETY: an object of the heap under test, whose memory stays.
    unsafe { &*object.cast::<AtomicU32>() }
}

fn claim(object: *mut u8, by: u32) {
    if owner(object).swap(by, AcqRel) != 0 {
        fail("an object with two owners");
    }
}

fn disclaim(object: *mut u8, by: u32) {
    if owner(object).swap(0, AcqRel) != by {
        fail("an object taken from its owner");
    }
}

/// Pops and pushes on top of whatever it interrupts: hits are allowed there.
extern "C" fn on_signal<S: Sequences>(_: libc::c_int) {
    let heap = HEAP.load(Acquire).cast::<Stress<S>>();
    // SAFETY: null, or the heap of the run, which lives for ever.
    let Some(heap) = (unsafe { heap.as_ref() }) else { return };
    SIGNALS.fetch_add(1, Relaxed);
    let class = Class::of(LAYOUT.size(), LAYOUT.align());
    let object = heap.pop_cached(class);
    if object.is_null() {
        return;
    }
    claim(object, THREADS + 1);
    disclaim(object, THREADS + 1);
    // SAFETY: just popped, of the class.
    if !unsafe { heap.push_cached(class, object) } {
        let at = STRAYS.fetch_add(1, Relaxed);
        STRAY.get(at).map_or_else(|| fail("too many strays"), |place| place.store(object, Release));
    }
}

fn work<S: Sequences>(heap: &'static Stress<S>, own: u32, cpus: usize) {
    let mut state = 0x9e37_79b9_7f4a_7c15u64.wrapping_mul(u64::from(own));
    let mut held: Vec<*mut u8> = Vec::with_capacity(64);
    let mut hits = 0;
    let release = |object: *mut u8| {
        disclaim(object, own);
        // SAFETY: live, of that layout, ours no more.
        unsafe { heap.dealloc(NonNull::new_unchecked(object), LAYOUT) };
    };
    while !STOP.load(Relaxed) {
        for _ in 0..1000 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            hits += 1;
            if state & 1 == 0 && held.len() < 64 {
                let object = heap.alloc(LAYOUT);
                claim(object, own);
                held.push(object);
            } else if let Some(object) = held.pop() {
                release(object);
            }
            if state & 0x1f00 == 0
                && let Some(object) = held.pop()
            {
                // To whoever comes by next: claimed by nobody on the way.
                disclaim(object, own);
                let letter = MAIL[(state >> 32) as usize % LETTERS].swap(object, AcqRel);
                if !letter.is_null() {
                    claim(letter, own);
                    release(letter);
                }
            }
        }
        if state & 0xff == 0 {
            let both = [0, cpus - 1];
            pin(&both[..1 + (state >> 40) as usize % 2]);
        }
    }
    held.into_iter().for_each(release);
    HITS.fetch_add(hits, Relaxed);
}

/// Runs the load; returns what is left behind: nothing, in bytes.
fn run<S: Sequences>(seconds: u64) -> Option<usize> {
    // SAFETY: `open` opens it.
    let slots = open(Box::leak(Box::new(unsafe { CpuSlots::<S>::new() })))?;
    let heap: &'static Stress<S> = Box::leak(Box::new(Heap::new(HostPages::new(), Shared(slots))));
    HEAP.store(core::ptr::from_ref(heap).cast_mut().cast(), Release);
    for signal in [libc::SIGUSR1, libc::SIGALRM] {
        let handler = on_signal::<S> as extern "C" fn(libc::c_int);
        // SAFETY: the handler allocates by hits only.
        unsafe { libc::signal(signal, handler as libc::sighandler_t) };
    }
    let tick = libc::timeval { tv_sec: 0, tv_usec: 500 };
    let timer = libc::itimerval { it_interval: tick, it_value: tick };
    // SAFETY: `timer` is readable.
    unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const timer, null_mut()) };
    let cpus = thread::available_parallelism().map_or(1, |cpus| cpus.get().min(2));
    let workers: Vec<_> =
        (1..=THREADS).map(|own| thread::spawn(move || work(heap, own, cpus))).collect();
    let mut drains = 0;
    let end = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < end {
        for worker in &workers {
            use std::os::unix::thread::JoinHandleExt;
            // SAFETY: the thread has not been joined.
            unsafe { libc::pthread_kill(worker.as_pthread_t(), libc::SIGUSR1) };
        }
        drains += usize::from(heap.drain_cpu(drains % 2).is_ok());
        thread::sleep(Duration::from_micros(200));
    }
    STOP.store(true, Relaxed);
    workers.into_iter().for_each(|worker| worker.join().expect("no panic"));
    // SAFETY: null ends a timer.
    unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const NO_TIMER, null_mut()) };
    HEAP.store(null_mut(), Release);
    for place in MAIL.iter().chain(&STRAY) {
        if let Some(object) = NonNull::new(place.swap(null_mut(), Acquire)) {
            // SAFETY: live, of that layout.
            unsafe { heap.dealloc(object, LAYOUT) };
        }
    }
    heap.reclaim();
    println!(
        "{} operations, {} signals, {drains} drains, {} strays",
        HITS.load(Relaxed),
        SIGNALS.load(Relaxed),
        STRAYS.load(Relaxed)
    );
    let stats = heap.stats();
    Some(stats.live_bytes() + stats.cached_bytes + stats.slab_bytes)
}

static NO_TIMER: libc::itimerval = libc::itimerval {
    it_interval: libc::timeval { tv_sec: 0, tv_usec: 0 },
    it_value: libc::timeval { tv_sec: 0, tv_usec: 0 },
};

const CHILD: &str = "linux::rseq::stress_tests::every_object_has_one_owner";
const KIND: &str = "GRANULE_TEST_SEQUENCES";

/// The load itself runs in children: it has signals, and what breaks there
/// breaks nothing else.
#[test]
fn every_object_has_one_owner() {
    let left = match env::var(KIND).as_deref() {
        Ok("dense") => run::<Dense>(2),
        Ok("physical") => run::<Physical>(2),
        Ok("unarmed") => run::<arch::broken::Unarmed>(20),
        Ok("skipped") => run::<arch::broken::Skipped>(20),
        _ if caches_of_this_process() != Caches::Cpus => None,
        _ => {
            let areas = ("GLIBC_TUNABLES", "glibc.pthread.rseq=0");
            let none = ("GLIBC_TUNABLES", "");
            for (kind, variable) in
                [("dense", none), ("dense", areas), ("physical", (PHYSICAL, "1"))]
            {
                let (passed, text) = again(CHILD, &[(KIND, kind), variable]);
                assert!(passed && text.contains("1 passed"), "{text}");
                println!("{text}");
            }
            return;
        }
    };
    if let Some(left) = left {
        assert_eq!(left, 0, "bytes are not accounted for");
    }
}

#[test]
fn sequences_that_are_not_restarted_are_found_out() {
    if caches_of_this_process() != Caches::Cpus {
        return;
    }
    for broken in ["unarmed", "skipped"] {
        let (passed, text) = again(CHILD, &[(KIND, broken)]);
        assert!(!passed, "{broken}: nobody noticed\n{text}");
        println!("{broken}: {text}");
    }
}
