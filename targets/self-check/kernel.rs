//! The kernel itself.

use core::panic::PanicInfo;
use core::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

use machine::cpu::{self, MAX_CPUS};
use machine::memory::{BootInfo, MemoryRange};
use machine::{exit, ipi, paging, smp, timer, trap, uart};

macro_rules! print {
    ($($text:tt)*) => { uart::print(format_args!($($text)*)) };
}

/// Interrupts that each core waits for.
const TICKS: u32 = 50;

static TIMER_HZ: AtomicU32 = AtomicU32::new(1000);

// Relaxed throughout, where nothing is said: mere counts.
static TIMER_COUNTS: [AtomicU32; MAX_CPUS] = [const { AtomicU32::new(0) }; MAX_CPUS];
static IPI_COUNTS: [AtomicU32; MAX_CPUS] = [const { AtomicU32::new(0) }; MAX_CPUS];
static STARTED: AtomicUsize = AtomicUsize::new(0);
static DONE: AtomicUsize = AtomicUsize::new(0);
static CLOBBER: AtomicU64 = AtomicU64::new(0);

machine::entry!(main);

fn main(boot: &'static BootInfo) -> ! {
    describe(boot);
    match boot.argument("case") {
        Some("fault") => fault(),
        Some("fault-at-top") => fault_at_top(boot),
        _ => {}
    }
    if let Some(hz) = boot.argument("hz") {
        TIMER_HZ.store(hz.parse().expect("a frequency"), Ordering::Relaxed);
    }
    count_instructions();
    trap::set_timer_handler(on_timer);
    trap::set_ipi_handler(on_ipi);
    start_others();
    share_the_work();
    wait_for(&DONE, cpu::count());
    write_at_the_top(boot);
    print!("self-check: ok\n");
    exit(boot.argument("exit").map_or(0, |code| code.parse().expect("a status")))
}

fn describe(boot: &BootInfo) {
    print!("self-check: {} cores, arguments {:?}\n", boot.cpus(), boot.arguments());
    for range in boot.ram() {
        print!("ram      {:#x} + {:#x}\n", range.start, range.bytes);
    }
    for range in boot.reserved() {
        print!("reserved {:#x} + {:#x}\n", range.start, range.bytes);
    }
    print!("pages of {} KiB, clock {} Hz\n", paging::page_size().bytes() >> 10, cpu::tick_hz());
    assert_eq!(boot.cpus(), cpu::count());
    assert_eq!(cpu::id(), 0, "core 0 boots");
    assert_eq!(
        boot.argument("page").unwrap_or("4k"),
        match paging::page_size() {
            paging::PageSize::Kib4 => "4k",
            paging::PageSize::Kib16 => "16k",
            paging::PageSize::Kib64 => "64k",
        }
    );
}

/// Reads from an address without memory, by every translation.
fn fault() -> ! {
    let nowhere = core::ptr::with_exposed_provenance::<u8>(0x7000_0000_0000);
    // SAFETY: none; the exception is what this is about.
    let byte = unsafe { nowhere.read_volatile() };
    panic!("there is a {byte} where nothing is");
}

/// The same while data accesses are translated, on machines where that differs.
fn fault_at_top(boot: &BootInfo) {
    let page = paging::page_size().bytes();
    // SAFETY: free RAM, which nobody else has.
    unsafe { paging::with_top_mapped::<()>(free(boot, page, page), page, |_| fault()) };
}

/// The count is the same in every run with `-icount shift=0`.
fn count_instructions() {
    let before = cpu::instructions();
    let mut sum = 0u64;
    for number in 0..1000u64 {
        sum = core::hint::black_box(sum + number);
    }
    print!("instructions of a loop: {}\n", cpu::instructions() - before);
}

fn start_others() {
    for cpu in 1..cpu::count() {
        smp::start(cpu, other).expect("it starts");
    }
    wait_for(&STARTED, cpu::count() - 1);
    for cpu in 0..cpu::count() {
        assert_eq!(smp::start(cpu, other), Err(smp::StartError::AlreadyRunning));
    }
    assert_eq!(smp::start(cpu::count(), other), Err(smp::StartError::NoSuchCpu));
}

fn other() -> ! {
    STARTED.fetch_add(1, Ordering::Relaxed);
    share_the_work();
    loop {
        cpu::wait_for_interrupt();
    }
}

/// On every core: lines, interrupts to all, ticks with floating point at work.
fn share_the_work() {
    for line in 0..20 {
        print!("core {} writes line {line} in one piece\n", cpu::id());
    }
    cpu::enable();
    for cpu in 0..cpu::count() {
        ipi::send(cpu);
    }
    let hz = TIMER_HZ.load(Ordering::Relaxed);
    let before = cpu::ticks();
    timer::start_periodic(hz);
    let mine = &TIMER_COUNTS[cpu::id()];
    while mine.load(Ordering::Relaxed) < TICKS {
        keep_floats();
    }
    timer::stop();
    let elapsed = cpu::ticks() - before;
    let least = cpu::tick_hz() / u64::from(hz) * u64::from(TICKS);
    assert!(elapsed >= least, "{TICKS} periods in {elapsed} ticks");
    while IPI_COUNTS[cpu::id()].load(Ordering::Relaxed) == 0 {
        cpu::relax();
    }
    print!(
        "core {}: {} timer and {} other interrupts, {} us\n",
        cpu::id(),
        mine.load(Ordering::Relaxed),
        IPI_COUNTS[cpu::id()].load(Ordering::Relaxed),
        elapsed * 1_000_000 / cpu::tick_hz(),
    );
    // Release: pairs with the Acquire in `wait_for`.
    DONE.fetch_add(1, Ordering::Release);
}

/// The sum of a geometric series, in registers that handlers use, too.
fn keep_floats() {
    let mut terms = [1.0f64, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0];
    for _ in 0..2000 {
        for term in &mut terms {
            *term = *term * 0.5 + *term * 0.5;
        }
    }
    assert!(terms.iter().sum::<f64>() == 255.0, "an interrupt changed a register: {terms:?}");
}

fn on_timer() {
    let count = TIMER_COUNTS[cpu::id()].fetch_add(1, Ordering::Relaxed);
    // Fills floating-point registers with something else.
    let mut values = [f64::from(count); 8];
    for round in 0..4 {
        for value in &mut values {
            *value = *value * 3.5 + f64::from(round);
        }
    }
    CLOBBER.store(values.iter().sum::<f64>().to_bits(), Ordering::Relaxed);
}

fn on_ipi() {
    IPI_COUNTS[cpu::id()].fetch_add(1, Ordering::Relaxed);
}

/// Memory that ends with the address space: plain and atomic accesses up to
/// the last byte, seen at the physical address afterwards.
fn write_at_the_top(boot: &BootInfo) {
    let page = paging::page_size().bytes();
    let bytes = 1 << 20;
    let place = free(boot, bytes, page);
    let work = |top: *mut u8| {
        assert_eq!(top.addr().wrapping_add(bytes), 0, "it ends with the address space");
        // SAFETY: all within the range; the last word is aligned.
        unsafe {
            // Not up to the end: `memset` stops where the end's address is
            // less than the start's, which means at once.
            top.write_bytes(0x11, bytes - 8);
            top.add(bytes - 8).cast::<u64>().write_volatile(0x1111_1111_1111_1111);
            let last = top.add(bytes - 1);
            assert_eq!(last.addr(), usize::MAX);
            last.write_volatile(0xa5);
            assert_eq!(last.read_volatile(), 0xa5);
            let word = AtomicU64::from_ptr(top.add(bytes - 8).cast());
            word.fetch_add(1, Ordering::Relaxed);
        }
    };
    for _ in 0..2 {
        // SAFETY: free RAM, which nobody else has.
        unsafe { paging::with_top_mapped(place, bytes, work) };
    }
    let last = core::ptr::with_exposed_provenance::<u64>(place + bytes - 8);
    // SAFETY: RAM, written above.
    assert_eq!(unsafe { last.read_volatile() }, 0xa511_1111_1111_1112);
    print!("the last byte of the address space is at {:#x}\n", place + bytes - 1);
}

/// The first free place of so many bytes.
fn free(boot: &BootInfo, bytes: usize, align: usize) -> usize {
    let overlaps =
        |place: usize, range: &MemoryRange| place < range.end() && range.start < place + bytes;
    let ram = boot.ram()[0];
    (ram.start.next_multiple_of(align)..ram.end() - bytes)
        .step_by(align)
        .find(|&place| !boot.reserved().iter().any(|range| overlaps(place, range)))
        .expect("there is room")
}

fn wait_for(count: &AtomicUsize, target: usize) {
    // Acquire: what was done before counting is seen.
    while count.load(Ordering::Acquire) < target {
        cpu::relax();
    }
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    uart::print_urgently(format_args!("{info}\n"));
    exit(1)
}
