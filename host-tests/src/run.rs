//! Runs a program in a process group of its own, with a deadline.

use std::ffi::OsString;
use std::io::Read;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};

use crate::compile::{Linkage, Source};

/// A program about to be run.
#[derive(Clone, Debug)]
pub struct Run {
    program: PathBuf,
    args: Vec<OsString>,
    env: Vec<(String, OsString)>,
    preload: Vec<PathBuf>,
    timeout: Duration,
    address_space: Option<u64>,
    user: Option<u32>,
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It returned this status.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
    /// It overran its deadline, and its process group was killed.
    TimedOut,
}

/// What a program left behind.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// How it ended.
    pub exit: Exit,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Run {
    /// A run of `program` without arguments, with half a minute to finish.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            env: Vec::new(),
            preload: Vec::new(),
            timeout: Duration::from_secs(30) * crate::scale(),
            address_space: None,
            user: None,
        }
    }

    /// Adds an argument.
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Sets an environment variable.
    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.env.push((name.to_owned(), value.into()));
        self
    }

    /// Appends a library to `LD_PRELOAD`.
    pub fn preload(mut self, library: impl Into<PathBuf>) -> Self {
        self.preload.push(library.into());
        self
    }

    /// Sets the deadline.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Limits the address space before the program starts, as `ulimit -v` does.
    pub fn address_space(mut self, bytes: u64) -> Self {
        self.address_space = Some(bytes);
        self
    }

    /// Runs it as another user, which root can.
    pub fn user(mut self, id: u32) -> Self {
        self.user = Some(id);
        self
    }

    /// Runs it to its end or its deadline.
    pub fn outcome(&self) -> Result<Outcome> {
        let mut command = Command::new(&self.program);
        command.args(&self.args).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        command.env_remove("LD_PRELOAD").env_remove("MALLOC_ARENA_MAX");
        if !self.preload.is_empty() {
            command.env("LD_PRELOAD", joined(&self.preload));
        }
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        if let Some(id) = self.user {
            command.uid(id);
        }
        let address_space = self.address_space;
        // SAFETY: the closure runs between fork and exec and only calls
        // `prctl` and `setrlimit`, system calls that take no lock.
        unsafe {
            command.pre_exec(move || {
                // A program does not outlive the test that waits for it.
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                set_limit(libc::RLIMIT_CORE, 0)?;
                address_space.map_or(Ok(()), |bytes| set_limit(libc::RLIMIT_AS, bytes))
            });
        }
        let child = command.spawn().with_context(|| format!("start {}", self.program.display()))?;
        let outcome = watch(child, self.timeout)?;
        // A library that is not loaded would leave the C library under test.
        ensure!(!outcome.stderr.contains("cannot be preloaded"), "{}", outcome.stderr);
        Ok(outcome)
    }

    /// Runs it and returns its standard output; any end but exit 0 is an error.
    pub fn success(&self) -> Result<String> {
        let outcome = self.outcome()?;
        if outcome.exit != Exit::Code(0) {
            bail!("{:?} {:?}: {}", self.program.file_name(), self.args, outcome.describe());
        }
        Ok(outcome.stdout)
    }

    /// Runs it and returns its peak resident set in KiB.
    ///
    /// A small static launcher starts it: the kernel counts what a process
    /// held before `exec` as well, and a test process holds megabytes.
    pub fn peak_rss_kib(&self) -> Result<u64> {
        let launcher = Source::new("launch.c").program(Linkage::Plain)?;
        let mut run = Self { program: launcher.path, args: Vec::new(), ..self.clone() };
        run.preload.clear();
        run.args.push(joined(&self.preload));
        run.args.push(self.program.clone().into());
        run.args.extend(self.args.iter().cloned());
        let outcome = run.outcome()?;
        ensure!(outcome.exit == Exit::Code(0), "{}", outcome.describe());
        let line = outcome.stderr.lines().rev().find_map(|line| line.strip_prefix("maxrss "));
        line.context("the launcher printed no maxrss")?.parse().context("maxrss")
    }
}

impl Outcome {
    /// The end and the last lines of both outputs, for a failure message.
    pub fn describe(&self) -> String {
        let tail = |text: &str| {
            let lines: Vec<_> = text.lines().collect();
            lines[lines.len().saturating_sub(12)..].join("\n    ")
        };
        let mut text = format!("ended with {:?}", self.exit);
        for (name, output) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            if !output.is_empty() {
                text.push_str(&format!("\n  {name}:\n    {}", tail(output)));
            }
        }
        text
    }
}

fn joined(libraries: &[PathBuf]) -> OsString {
    let mut list = OsString::new();
    for library in libraries {
        if !list.is_empty() {
            list.push(":");
        }
        list.push(library);
    }
    list
}

fn set_limit(resource: libc::__rlimit_resource_t, bytes: u64) -> std::io::Result<()> {
    let limit = libc::rlimit { rlim_cur: bytes, rlim_max: bytes };
    // SAFETY: `limit` is a valid `rlimit` that lives through the call.
    match unsafe { libc::setrlimit(resource, &limit) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

/// Waits for the child or the deadline, then ends what is left of its group.
fn watch(mut child: Child, timeout: Duration) -> Result<Outcome> {
    let stdout = collect(child.stdout.take().context("stdout")?);
    let stderr = collect(child.stderr.take().context("stderr")?);
    let pid = libc::id_t::from(child.id());
    let start = Instant::now();
    let mut pause = Duration::from_micros(200);
    let mut timed_out = false;
    while !has_ended(pid)? {
        if start.elapsed() > timeout {
            timed_out = true;
            break;
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(10));
    }
    let group = -libc::pid_t::try_from(pid)?;
    // SAFETY: `kill` reads no memory. The child is not reaped yet, so its id
    // still names its own group and no other.
    unsafe { libc::kill(group, libc::SIGKILL) };
    let status = child.wait().context("wait for the program")?;
    let join = |reader: JoinHandle<String>| {
        reader.join().map_err(|_| anyhow!("the thread reading the output panicked"))
    };
    let exit = if timed_out { Exit::TimedOut } else { exit_of(status) };
    Ok(Outcome { exit, stdout: join(stdout)?, stderr: join(stderr)? })
}

fn exit_of(status: ExitStatus) -> Exit {
    status.code().map_or_else(|| Exit::Signal(status.signal().unwrap_or(0)), Exit::Code)
}

/// Whether the child has ended; it stays to be reaped.
fn has_ended(pid: libc::id_t) -> Result<bool> {
    // SAFETY: all-zero bytes are a valid `siginfo_t`.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: `info` is writable and lives through the call.
    if unsafe { libc::waitid(libc::P_PID, pid, &mut info, flags) } != 0 {
        return Err(std::io::Error::last_os_error()).context("waitid");
    }
    // SAFETY: a successful `waitid` fills the child's id, or leaves it zero.
    Ok(unsafe { info.si_pid() } != 0)
}

fn collect(mut pipe: impl Read + Send + 'static) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // A read error ends the output early; the exit status still tells.
        let _ = pipe.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// The path of a program every system has.
pub fn shell() -> &'static Path {
    Path::new("/bin/sh")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(text: &str) -> Run {
        Run::new(shell()).arg("-c").arg(text)
    }

    #[test]
    fn reports_status_and_both_outputs() {
        let outcome = script("echo out; echo err >&2; exit 7").outcome().unwrap();
        assert_eq!(outcome.exit, Exit::Code(7));
        assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), ("out\n", "err\n"));
    }

    #[test]
    fn reports_the_signal() {
        let outcome = script("kill -ABRT $$").outcome().unwrap();
        assert_eq!(outcome.exit, Exit::Signal(libc::SIGABRT));
    }

    #[test]
    fn a_deadline_ends_the_whole_group() {
        let start = Instant::now();
        let run = script("sleep 100 & sleep 100").timeout(Duration::from_millis(100));
        assert_eq!(run.outcome().unwrap().exit, Exit::TimedOut);
        // The background process holds the pipe: it must be dead as well.
        assert!(start.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn leftovers_of_a_finished_program_are_ended() {
        let start = Instant::now();
        assert_eq!(script("sleep 100 & exit 0").outcome().unwrap().exit, Exit::Code(0));
        assert!(start.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn the_address_space_is_limited() {
        let outcome = script("ulimit -v; ulimit -c").address_space(256 << 20).outcome().unwrap();
        assert_eq!(outcome.stdout, "262144\n0\n");
    }

    #[test]
    fn a_missing_preload_is_an_error() {
        let error = script("true").preload("/nonexistent.so").outcome().unwrap_err();
        assert!(error.to_string().contains("cannot be preloaded"), "{error}");
    }
}
