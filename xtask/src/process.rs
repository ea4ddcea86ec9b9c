//! Processes that cannot hang, and what they cost.
//!
//! Every [`Job`] runs in a process group of its own. A guard kills the whole
//! group when the time is up; the end of the leader kills what it left behind.
//!
//! ```text
//! spawn ─ guard armed ─ waitid(WNOWAIT) ─ guard disarmed ─ kill group ─ wait4
//! ```
//! P1: from `spawn` to `wait4` the leader is alive or a zombie, so its number
//! names this group and no other: a kill can never hit a stranger.

mod guard;
mod sys;

use anyhow::{Context, Result, bail};
use guard::Guard;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{PipeReader, Read, Seek};
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How long a job may take unless it says otherwise.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(120);

/// A command to run, with a limit on its time.
#[derive(Clone)]
pub(crate) struct Job {
    program: PathBuf,
    args: Vec<OsString>,
    env: Vec<(OsString, Option<OsString>)>,
    cwd: Option<PathBuf>,
    input: Option<PathBuf>,
    timeout: Duration,
}

/// What a run cost.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Cost {
    /// From just before the start to the end of the leader.
    pub(crate) wall: Duration,
    /// User and system time of the leader and of all it waited for.
    pub(crate) cpu: Duration,
    /// Peak resident memory of the largest single process, in KiB.
    pub(crate) peak_kib: u64,
    /// Page faults, with and without a disk, of the leader and of all it
    /// waited for.
    pub(crate) faults: u64,
}

impl Cost {
    /// The cost of `self` and then `next`: times add up, peaks do not.
    pub(crate) fn then(self, next: Cost) -> Cost {
        Cost {
            wall: self.wall + next.wall,
            cpu: self.cpu + next.cpu,
            peak_kib: self.peak_kib.max(next.peak_kib),
            faults: self.faults + next.faults,
        }
    }
}

/// A job that ended within its time.
pub(crate) struct Finished {
    /// How it ended.
    pub(crate) status: ExitStatus,
    /// What it cost.
    pub(crate) cost: Cost,
    /// All it wrote to standard output, empty when that was not captured.
    pub(crate) stdout: Vec<u8>,
    /// All it wrote to standard error, empty when that was not captured.
    pub(crate) stderr: Vec<u8>,
}

/// A started job. Dropping it kills its group.
#[must_use = "dropping a running job kills it"]
pub(crate) struct Running {
    name: String,
    pid: libc::pid_t,
    started: Instant,
    timeout: Duration,
    guard: Option<Guard>,
    stdout: Option<File>,
    stderr: Option<File>,
}

impl Job {
    /// A job running `program` with no arguments and no input.
    pub(crate) fn new(program: impl Into<PathBuf>) -> Job {
        Job {
            program: program.into(),
            args: Vec::new(),
            env: Vec::new(),
            cwd: None,
            input: None,
            timeout: DEFAULT_TIMEOUT,
        }
    }

    /// Adds one argument.
    pub(crate) fn arg(mut self, arg: impl AsRef<OsStr>) -> Job {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    pub(crate) fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Job {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Sets an environment variable.
    pub(crate) fn env(mut self, key: &str, value: impl AsRef<OsStr>) -> Job {
        self.env.push((key.into(), Some(value.as_ref().to_owned())));
        self
    }

    /// Keeps an environment variable of ours from the job.
    pub(crate) fn env_remove(mut self, key: &str) -> Job {
        self.env.push((key.into(), None));
        self
    }

    /// Sets the working folder.
    pub(crate) fn cwd(mut self, folder: impl Into<PathBuf>) -> Job {
        self.cwd = Some(folder.into());
        self
    }

    /// Feeds a file to standard input.
    pub(crate) fn input(mut self, file: impl Into<PathBuf>) -> Job {
        self.input = Some(file.into());
        self
    }

    /// Runs it as the argument of another program, whose own come first.
    pub(crate) fn through(
        mut self,
        program: impl Into<PathBuf>,
        own: impl FnOnce(&mut Vec<OsString>),
    ) -> Job {
        let mut args = Vec::new();
        own(&mut args);
        args.push(std::mem::replace(&mut self.program, program.into()).into());
        args.append(&mut self.args);
        Job { args, ..self }
    }

    /// Sets the limit on wall time.
    pub(crate) fn timeout(mut self, limit: Duration) -> Job {
        self.timeout = limit;
        self
    }

    /// Runs to the end and keeps the output, however the job exits.
    pub(crate) fn run(&self) -> Result<Finished> {
        self.spawn()?.wait()
    }

    /// Runs to the end, keeps the output, and fails unless the job exits 0.
    pub(crate) fn run_ok(&self) -> Result<Finished> {
        let finished = self.run()?;
        if !finished.status.success() {
            bail!("{} failed ({})\n{}", self.name(), finished.status, finished.tail());
        }
        Ok(finished)
    }

    /// Runs to the end with our own standard output and error.
    pub(crate) fn stream(&self) -> Result<ExitStatus> {
        Ok(self.start([Stdio::inherit(), Stdio::inherit()])?.wait()?.status)
    }

    /// Starts the job, its output kept for [`Running::wait`].
    ///
    /// Call it from the main thread: the job dies with the thread that
    /// started it, so that an interrupted xtask leaves no server behind.
    pub(crate) fn spawn(&self) -> Result<Running> {
        // Files, not pipes: no reader to keep up, and a stray grandchild that
        // holds its end open cannot make us wait.
        let (out, err) = (tempfile::tempfile()?, tempfile::tempfile()?);
        let mut running = self.start([out.try_clone()?.into(), err.try_clone()?.into()])?;
        (running.stdout, running.stderr) = (Some(out), Some(err));
        Ok(running)
    }

    /// Starts the job, its standard output to be read while it runs.
    ///
    /// The reader meets the end at the latest when the time is up. Call it
    /// from the main thread, as [`Job::spawn`].
    pub(crate) fn pipe(&self) -> Result<(Running, PipeReader)> {
        let (reader, writer) = std::io::pipe()?;
        let err = tempfile::tempfile()?;
        // Our own end for writing is gone when `start` returns, or the reader
        // would never meet the end.
        let mut running = self.start([writer.into(), err.try_clone()?.into()])?;
        running.stderr = Some(err);
        Ok((running, reader))
    }

    fn start(&self, [stdout, stderr]: [Stdio; 2]) -> Result<Running> {
        let mut command = Command::new(&self.program);
        command.args(&self.args);
        for (key, value) in &self.env {
            match value {
                Some(value) => command.env(key, value),
                None => command.env_remove(key),
            };
        }
        if let Some(folder) = &self.cwd {
            command.current_dir(folder);
        }
        command.stdin(match &self.input {
            Some(file) => File::open(file).with_context(|| format!("{}", file.display()))?.into(),
            None => Stdio::null(),
        });
        command.stdout(stdout).stderr(stderr);
        sys::own_group_that_dies_with_us(&mut command);
        let started = Instant::now();
        let child = command.spawn().with_context(|| format!("cannot start {}", self.name()))?;
        let pid = libc::pid_t::try_from(child.id()).context("process number out of range")?;
        let guard = Some(Guard::arm(pid, self.timeout));
        let (name, timeout) = (self.name(), self.timeout);
        Ok(Running { name, pid, started, timeout, guard, stdout: None, stderr: None })
    }

    /// The program and its first words, for messages.
    fn name(&self) -> String {
        let program = self.program.file_name().unwrap_or(self.program.as_os_str());
        let words: Vec<_> = self.args.iter().take(4).map(|arg| arg.to_string_lossy()).collect();
        format!("`{} {}`", program.to_string_lossy(), words.join(" ")).replace(" `", "`")
    }
}

impl Running {
    /// The process number of the leader.
    pub(crate) fn pid(&self) -> libc::pid_t {
        self.pid
    }

    /// Whether the leader has ended; it still waits to be reaped.
    pub(crate) fn ended(&self) -> Result<bool> {
        sys::is_zombie(self.pid)
    }

    /// Waits for the end; an error when the time ran out.
    pub(crate) fn wait(mut self) -> Result<Finished> {
        sys::wait_until_zombie(self.pid)?;
        let wall = self.started.elapsed();
        let guard = self.guard.take().expect("armed by `start`, taken only here and in `drop`");
        let timed_out = guard.disarm();
        sys::kill_group(self.pid);
        let (status, used) = sys::reap(self.pid)?;
        let stdout = read_all(self.stdout.take())?;
        let stderr = read_all(self.stderr.take())?;
        let finished = Finished { status, cost: Cost { wall, ..used }, stdout, stderr };
        if timed_out {
            let limit = self.timeout.as_secs();
            bail!("{} ran longer than {limit} s and was killed\n{}", self.name, finished.tail());
        }
        Ok(finished)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The guard is there as long as `wait` has not begun to reap.
        if let Some(guard) = self.guard.take() {
            guard.disarm();
            sys::kill_group(self.pid);
            // Nothing to report to: the caller has given up on this job.
            let _ = sys::reap(self.pid);
        }
    }
}

impl Finished {
    /// Standard output as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// The last lines of output and error, for a message.
    pub(crate) fn tail(&self) -> String {
        const LINES: usize = 15;
        let all = [self.stdout.as_slice(), self.stderr.as_slice()].concat();
        let all = String::from_utf8_lossy(&all);
        let lines: Vec<&str> = all.lines().collect();
        lines[lines.len().saturating_sub(LINES)..].join("\n")
    }
}

/// The peak resident memory so far of a running process, in KiB.
pub(crate) fn peak_of_running(pid: libc::pid_t) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    peak_in_status(&status).with_context(|| format!("process {pid} tells no VmHWM"))
}

/// The peak resident memory in the text of a `/proc/PID/status`, in KiB.
pub(crate) fn peak_in_status(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// All of a file that another process wrote; nothing where there is none.
fn read_all(file: Option<File>) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let Some(mut file) = file else { return Ok(bytes) };
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
