//! Logs by defmt, through the same serial line as the text.
//!
//! A frame is a byte that no text has, the frame in rzCOBS, and 0. It is put
//! together in memory and written at once, so frames of several cores, and
//! lines of text, do not mix.

use core::cell::UnsafeCell;

use defmt::Encoder;
use granule::kernel::interrupts::Masked;
use machine::cpu::Interrupts;
use spin::mutex::SpinMutex;

/// Begins a frame: never part of UTF-8.
const BEGIN: u8 = 0xff;
/// Longest frame; what is longer is cut off and will not decode.
const ROOM: usize = 512;

#[defmt::global_logger]
struct Logger;

struct Frame {
    encoder: Encoder,
    bytes: [u8; ROOM],
    len: usize,
    interrupts: Option<Masked<Interrupts>>,
}

struct Shared(UnsafeCell<Frame>);

// SAFETY: reached by who holds `LOCK`.
unsafe impl Sync for Shared {}

static LOCK: SpinMutex<()> = SpinMutex::new(());
static FRAME: Shared = Shared(UnsafeCell::new(Frame {
    encoder: Encoder::new(),
    bytes: [0; ROOM],
    len: 0,
    interrupts: None,
}));

impl Frame {
    fn encode(&mut self, step: impl FnOnce(&mut Encoder, &mut dyn FnMut(&[u8]))) {
        let Self { encoder, bytes, len, .. } = self;
        step(encoder, &mut |more: &[u8]| {
            let end = (*len + more.len()).min(ROOM);
            let taken = end - *len;
            bytes[*len..end].copy_from_slice(&more[..taken]);
            *len = end;
        });
    }
}

// SAFETY: `acquire` takes the lock with interrupts masked, so nothing on any
// core is between it and `release` but who took it; nothing here logs.
unsafe impl defmt::Logger for Logger {
    fn acquire() {
        let masked = machine::cpu::mask();
        core::mem::forget(LOCK.lock());
        // SAFETY: the lock is held.
        let frame = unsafe { &mut *FRAME.0.get() };
        frame.interrupts = Some(masked);
        frame.bytes[0] = BEGIN;
        frame.len = 1;
        frame.encode(|encoder, write| encoder.start_frame(write));
    }

    unsafe fn flush() {}

    unsafe fn release() {
        // SAFETY: the lock is held.
        let frame = unsafe { &mut *FRAME.0.get() };
        frame.encode(|encoder, write| encoder.end_frame(write));
        if frame.len == ROOM {
            // Cut off, and yet ended.
            frame.bytes[ROOM - 1] = 0;
        }
        machine::uart::write(&frame.bytes[..frame.len]);
        let masked = frame.interrupts.take();
        // SAFETY: taken by `acquire`.
        unsafe { LOCK.force_unlock() };
        // After the lock is open.
        drop(masked);
    }

    unsafe fn write(bytes: &[u8]) {
        // SAFETY: the lock is held.
        let frame = unsafe { &mut *FRAME.0.get() };
        frame.encode(|encoder, write| encoder.write(bytes, write));
    }
}

defmt::timestamp!("{=u64:us}", super::clock::micros());
