//! The few system calls the standard library does not offer.

use super::Cost;
use anyhow::{Result, bail};
use std::io::{Error, ErrorKind};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus};
use std::time::Duration;

/// Puts the command in a group of its own, which ends when our thread ends. Keys
/// interrupt it even where a shell has started us in the background, ignoring them:
/// programs under test send themselves such signals.
pub(super) fn own_group_that_dies_with_us(command: &mut Command) {
    command.process_group(0);
    let die_with_us = || {
        for signal in [libc::SIGINT, libc::SIGQUIT] {
            // SAFETY: no handler, which could run; cannot fail for these signals.
            unsafe { libc::signal(signal, libc::SIG_DFL) };
        }
        // SAFETY: PR_SET_PDEATHSIG takes one integer and touches no memory of ours.
        match unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) } {
            0 => Ok(()),
            _ => Err(Error::last_os_error()),
        }
    };
    // SAFETY: between fork and exec the closure makes system calls, which are
    // async-signal-safe, and reads errno; it neither allocates nor locks.
    unsafe { command.pre_exec(die_with_us) };
}

/// Waits until the child `pid` has ended, and leaves it a zombie (P1).
pub(super) fn wait_until_zombie(pid: libc::pid_t) -> Result<()> {
    look(pid, libc::WEXITED | libc::WNOWAIT).map(|_| ())
}

/// Whether the child `pid` has ended; leaves it a zombie (P1).
pub(super) fn is_zombie(pid: libc::pid_t) -> Result<bool> {
    look(pid, libc::WEXITED | libc::WNOWAIT | libc::WNOHANG)
}

/// Asks for the state of the child `pid`; true when there is something to say.
fn look(pid: libc::pid_t, options: libc::c_int) -> Result<bool> {
    loop {
        // SAFETY: all bits zero is a valid siginfo_t, which is plain data.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        // SAFETY: `info` is ours and writable for the length of the call.
        let done = unsafe { libc::waitid(libc::P_PID, pid.unsigned_abs(), &mut info, options) };
        match done {
            // SAFETY: waitid fills the fields of a child's signal, or leaves
            // the zeros, of which si_pid() then is 0: nothing to say.
            0 => return Ok(unsafe { info.si_pid() } == pid),
            _ if interrupted() => {}
            _ => bail!("waitid: {}", Error::last_os_error()),
        }
    }
}

/// Reaps the child `pid`: how it ended, and what it cost but for the wall time.
pub(super) fn reap(pid: libc::pid_t) -> Result<(ExitStatus, Cost)> {
    loop {
        let mut status = 0;
        // SAFETY: all bits zero is a valid rusage, which is plain data.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        // SAFETY: `status` and `usage` are ours and writable for the length of the call.
        let done = unsafe { libc::wait4(pid, &mut status, 0, &mut usage) };
        if done == pid {
            let count = |value| u64::try_from(value).unwrap_or_default();
            let cost = Cost {
                cpu: duration(usage.ru_utime) + duration(usage.ru_stime),
                peak_kib: count(usage.ru_maxrss),
                faults: count(usage.ru_minflt) + count(usage.ru_majflt),
                ..Cost::default()
            };
            return Ok((ExitStatus::from_raw(status), cost));
        }
        if !interrupted() {
            bail!("wait4: {}", Error::last_os_error());
        }
    }
}

/// Kills every process of the group that `leader` leads.
///
/// The leader is ours and not yet reaped (P1), so the group is ours too.
pub(super) fn kill_group(leader: libc::pid_t) {
    // SAFETY: kill touches no memory. A group that is already gone is fine.
    unsafe { libc::kill(-leader, libc::SIGKILL) };
}

/// Whether the last call was cut short by a signal.
fn interrupted() -> bool {
    Error::last_os_error().kind() == ErrorKind::Interrupted
}

/// A time of the kernel's as a [`Duration`].
fn duration(time: libc::timeval) -> Duration {
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    let micros = u64::try_from(time.tv_usec).unwrap_or_default();
    Duration::from_secs(seconds) + Duration::from_micros(micros)
}
