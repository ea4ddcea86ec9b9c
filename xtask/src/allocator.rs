//! The allocators we run programs on, and the proof that they really serve.
//!
//! A preload fails quietly: the loader ignores a library it cannot open, and a
//! library that exports nothing is loaded and serves nobody. So before anything
//! is timed the loader itself is asked which library each `malloc` went to.

use crate::process::Job;
use crate::{tools, workspace};
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};

/// An allocator to choose.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Allocator {
    /// The C library's own: the baseline.
    Glibc,
    /// Ours.
    Granule,
}

impl Allocator {
    /// Its name in tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Allocator::Glibc => "glibc",
            Allocator::Granule => "granule",
        }
    }

    /// Finds it (builds it, when it is ours) and proves that it serves.
    pub(crate) fn ready(self) -> Result<Preload> {
        let library = match self {
            Allocator::Glibc => None,
            Allocator::Granule => Some(workspace::library_under_test()?),
        };
        Preload::proven(library)
    }
}

/// What to preload to put a program on an allocator.
#[derive(Clone, Debug)]
pub(crate) struct Preload {
    library: Option<PathBuf>,
    /// A variable of the environment, for the allocator to read.
    setting: Option<(&'static str, &'static str)>,
    /// The file to which instructions are counted, if they are.
    counts: Option<PathBuf>,
}

/// Some programs are linked to an allocator of their own (Debian's redis to
/// jemalloc). Naming the C library as a preload puts it first in the order of
/// search, which is the only way to see such a program on glibc.
const GLIBC: &str = "libc.so.6";

impl Preload {
    /// This library, or nothing, proved to serve.
    pub(crate) fn proven(library: Option<PathBuf>) -> Result<Preload> {
        let preload = Preload { library, setting: None, counts: None };
        preload.prove(&tools::require("cat")?, "/dev/null")?;
        Ok(preload)
    }

    /// Nothing: whatever the program is linked to.
    pub(crate) fn plain() -> Preload {
        Preload { library: None, setting: None, counts: None }
    }

    /// The same with a variable of the environment.
    pub(crate) fn with_setting(&self, name: &'static str, value: &'static str) -> Preload {
        Preload { setting: Some((name, value)), ..self.clone() }
    }

    /// The same under cachegrind, which writes counts of instructions to `file`, with
    /// caches of threads.
    pub(crate) fn counted(&self, file: &Path) -> Preload {
        Preload { counts: Some(file.to_owned()), ..self.clone() }
    }

    /// `job` under who counts, if somebody does.
    pub(crate) fn through(&self, job: Job) -> Job {
        let Some(file) = &self.counts else { return job };
        let mut out = std::ffi::OsString::from("--cachegrind-out-file=");
        out.push(file);
        let job = job.through("valgrind", |own| {
            own.extend(["-q", "--tool=cachegrind", "--cache-sim=no"].map(Into::into));
            own.push(out);
        });
        job.env("GRANULE_FRONTEND", "thread")
    }

    /// Says it to `job`.
    fn set(&self, job: Job) -> Job {
        match self.setting {
            Some((name, value)) => job.env(name, value),
            None => job,
        }
    }

    /// What is to be in the environment of who runs on it.
    pub(crate) fn setting(&self) -> Option<(&'static str, &'static str)> {
        self.setting
    }

    /// The library, if it is one.
    pub(crate) fn library(&self) -> Option<&Path> {
        self.library.as_deref()
    }

    /// Puts `job`, and all the job starts, on this allocator.
    pub(crate) fn apply(&self, job: Job) -> Job {
        let job = self.set(job);
        match &self.library {
            Some(library) => job.env("LD_PRELOAD", library),
            None => job.env("LD_PRELOAD", GLIBC),
        }
    }

    /// Like [`Preload::apply`], but glibc is reached by no preload at all: for
    /// programs linked to nothing else, where even naming it would cost.
    pub(crate) fn apply_plainly(&self, job: Job) -> Job {
        let job = self.set(job);
        match &self.library {
            Some(library) => job.env("LD_PRELOAD", library),
            None => job.env_remove("LD_PRELOAD"),
        }
    }

    /// Fails unless a running process has this allocator mapped.
    pub(crate) fn require_mapped(&self, pid: libc::pid_t) -> Result<()> {
        let Some(library) = &self.library else { return Ok(()) };
        let maps = std::fs::read_to_string(format!("/proc/{pid}/maps"))?;
        if !maps.contains(&*library.to_string_lossy()) {
            bail!("process {pid} runs without {}", library.display());
        }
        Ok(())
    }

    /// Proves that `program arg` gets every `malloc` from this allocator.
    pub(crate) fn prove(&self, program: &Path, arg: &str) -> Result<()> {
        let job = Job::new(program).arg(arg).env("LD_DEBUG", "bindings").env("LD_BIND_NOW", "1");
        let trace = self.apply(job).run_ok()?;
        let trace = String::from_utf8_lossy(&trace.stderr);
        let wanted = match &self.library {
            Some(library) => library.to_string_lossy().into_owned(),
            None => GLIBC.to_owned(),
        };
        judge(&trace, program, &wanted)
    }
}

/// Reads the loader's trace: every binding of `malloc` must go to `wanted`.
///
/// A binding to the program itself proves nothing either way. A program with a
/// `malloc` of its own has only such; but so has one that merely takes the
/// address of `malloc` (Debian's python3), whose entry then jumps on to where
/// its other binding goes. Hence these do not count, and one must.
fn judge(trace: &str, program: &Path, wanted: &str) -> Result<()> {
    let mut served = false;
    for line in trace.lines().filter(|line| line.contains("normal symbol `malloc'")) {
        // 12: binding file USER [0] to PROVIDER [0]: normal symbol `malloc' [VERSION]
        let files = line.split_once("binding file ").and_then(|(_, rest)| rest.split_once(" to "));
        let (user, rest) = files.context("the loader's trace is not of the form we know")?;
        let user = user.trim_end_matches(" [0]");
        let provider = rest.split(" [").next().unwrap_or_default();
        if provider.ends_with(wanted) {
            // The library's use of itself is no service to anybody.
            served |= !user.ends_with(wanted) || wanted == GLIBC;
        } else if Path::new(provider) != program {
            bail!(
                "the preload is not active: {} gets malloc from {provider}, not from {wanted}",
                program.display()
            );
        }
    }
    if !served {
        bail!("the preload is not active: nothing in {} uses {wanted}", program.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line of the loader's trace.
    fn binding(user: &str, provider: &str) -> String {
        format!("  7: binding file {user} [0] to {provider} [0]: normal symbol `malloc' [X]\n")
    }

    #[test]
    fn the_wanted_library_must_serve() {
        let (cat, ours) = (Path::new("/bin/cat"), "/x/libgranule.so");
        let good = binding("/bin/cat", ours);
        assert!(judge(&good, cat, ours).is_ok());
        assert!(judge(&good, cat, GLIBC).is_err(), "another library serves");
        assert!(judge("  7: nothing here", cat, ours).is_err(), "nobody serves");
        assert!(judge(&binding(ours, ours), cat, ours).is_err(), "it serves only itself");
    }

    #[test]
    fn a_program_may_refer_to_itself_but_not_serve_itself() {
        let (python, ours) = (Path::new("/bin/python3"), "/x/libgranule.so");
        let own = binding("/lib/libc.so.6", "/bin/python3");
        assert!(judge(&own, python, ours).is_err(), "it has an allocator of its own");
        assert!(judge(&(own + &binding("/bin/python3", ours)), python, ours).is_ok());
    }

    #[test]
    fn a_library_without_malloc_is_found_out() {
        // libm is always there, can be preloaded, and exports no malloc.
        let preload = Preload { library: Some("libm.so.6".into()), setting: None, counts: None };
        let cat = tools::require("cat").expect("every system has cat");
        let error = preload.prove(&cat, "/dev/null").expect_err("libm is no allocator");
        assert!(error.to_string().contains("not active"), "{error}");
    }

    #[test]
    fn glibc_serves_by_default() {
        Allocator::Glibc.ready().expect("the C library serves itself");
    }
}
