//! Counts instructions by executing them one by one: the only way to count a
//! restartable sequence, which valgrind does not know.
//!
//! ```text
//! child:   warm ─ int3 ─ call OPERATION ─ int3 ─ …
//! parent:         └ step, forget the sequence, step, … └ so many steps
//! ```
//! Each step is an interruption, after which the kernel would restart the
//! sequence, for ever. So the parent clears the word that announces the
//! sequence after each step: then the kernel knows of none. Nobody else runs
//! on the CPU's cache in between, because nobody else uses this heap.

use anyhow::{Context, Result, bail, ensure};
use std::arch::asm;
use std::ffi::c_void;
use std::ptr::null_mut;

/// Where the C library's area for restartable sequences announces one.
const ANNOUNCED: usize = 8;

/// An operation to count: two words in, a word out.
pub(crate) type Operation = unsafe extern "C" fn(usize, usize) -> usize;

/// Performs an operation where the parent counts it.
///
/// # Safety
///
/// Caller: as for the operation.
pub(crate) unsafe fn counted(operation: Operation, first: usize, second: usize) -> usize {
    let result;
    // SAFETY: the contract of the operation; a call between two traps, which
    // the parent, who is there from `count` on, takes for marks.
    unsafe {
        asm!(
            "int3",
            "call {operation}",
            "int3",
            operation = in(reg) operation,
            inlateout("rdi") first => _,
            inlateout("rsi") second => _,
            lateout("rax") result,
            clobber_abi("C"),
        );
    }
    result
}

/// Runs `work` in a child; how many instructions each of its [`counted`]
/// operations took, from its first to its return.
pub(crate) fn count(work: impl FnOnce()) -> Result<Vec<u64>> {
    let announced = area()? + ANNOUNCED;
    // SAFETY: there is one thread: the child may do all that this process may.
    match unsafe { libc::fork() } {
        -1 => bail!("fork: {}", std::io::Error::last_os_error()),
        0 => {
            // SAFETY: TRACEME takes no other arguments.
            let traced = unsafe { libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) };
            if traced == 0 {
                work();
            }
            // SAFETY: ends the child without what the parent is to do at exit.
            unsafe { libc::_exit(i32::from(traced != 0)) }
        }
        child => follow(child, announced),
    }
}

/// The address of this thread's area, and of the child's: its memory is a copy.
fn area() -> Result<usize> {
    // SAFETY: the name is a string of C; what is found is read below.
    let offset = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"__rseq_offset".as_ptr()) };
    ensure!(!offset.is_null(), "this C library registers no restartable sequences");
    // SAFETY: a ptrdiff_t by the C library's documentation.
    let offset = unsafe { *offset.cast::<isize>() };
    let pointer: usize;
    // SAFETY: the first word of a thread's block is its own address (the ABI).
    unsafe { asm!("mov {}, fs:[0]", out(reg) pointer, options(pure, readonly, nostack)) };
    Ok(pointer.wrapping_add_signed(offset))
}

/// Follows the child to its end.
fn follow(child: libc::pid_t, announced: usize) -> Result<Vec<u64>> {
    let mut counts = Vec::new();
    loop {
        match wait(child)? {
            // A mark, not a step: stepping begins and ends inside.
            Some(libc::SIGTRAP) => counts.push(step_to_mark(child, announced)?),
            Some(signal) => bail!("the child got signal {signal}"),
            None => return Ok(counts),
        }
        resume(libc::PTRACE_CONT, child)?;
    }
}

/// Steps from one mark to the next; the instructions called in between.
fn step_to_mark(child: libc::pid_t, announced: usize) -> Result<u64> {
    /// More than any hit: something else is being followed.
    const MOST: u64 = 100_000;
    const MARK: libc::c_long = 0xcc;
    let mut steps = 0;
    while peek(child, instruction(child)?) & 0xff != MARK {
        resume(libc::PTRACE_SINGLESTEP, child)?;
        ensure!(wait(child)? == Some(libc::SIGTRAP), "the child stopped for no step");
        // SAFETY: POKEDATA writes a word of the child's, in its area.
        let done = unsafe { libc::ptrace(libc::PTRACE_POKEDATA, child, announced, 0) };
        ensure!(done == 0, "cannot write to the child's area");
        steps += 1;
        ensure!(steps < MOST, "no hit");
    }
    // Over the second mark.
    resume(libc::PTRACE_SINGLESTEP, child)?;
    wait(child)?;
    // But for the call.
    Ok(steps - 1)
}

/// Where the child is.
fn instruction(child: libc::pid_t) -> Result<usize> {
    // SAFETY: all bits zero is a valid user_regs_struct.
    let mut registers: libc::user_regs_struct = unsafe { std::mem::zeroed() };
    let into = (&raw mut registers).cast::<c_void>();
    // SAFETY: `registers` is ours and writable.
    let done = unsafe { libc::ptrace(libc::PTRACE_GETREGS, child, null_mut::<c_void>(), into) };
    ensure!(done == 0, "cannot read the child's registers");
    usize::try_from(registers.rip).context("an address")
}

/// A word of the child's code.
fn peek(child: libc::pid_t, address: usize) -> libc::c_long {
    // SAFETY: PEEKTEXT reads the child's memory, none of ours.
    unsafe { libc::ptrace(libc::PTRACE_PEEKTEXT, child, address, 0) }
}

/// Lets the stopped child go on, without the signal that stopped it.
fn resume(request: libc::c_uint, child: libc::pid_t) -> Result<()> {
    // SAFETY: CONT and SINGLESTEP touch no memory.
    let done = unsafe { libc::ptrace(request, child, 0, 0) };
    ensure!(done == 0, "cannot resume the child: {}", std::io::Error::last_os_error());
    Ok(())
}

/// Waits for the child to stop, and why; nothing when it has ended well.
fn wait(child: libc::pid_t) -> Result<Option<libc::c_int>> {
    let mut status = 0;
    // SAFETY: `status` is ours and writable.
    let done = unsafe { libc::waitpid(child, &mut status, 0) };
    ensure!(done == child, "waitpid: {}", std::io::Error::last_os_error());
    if libc::WIFSTOPPED(status) {
        return Ok(Some(libc::WSTOPSIG(status)));
    }
    ensure!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "the child failed");
    Ok(None)
}
