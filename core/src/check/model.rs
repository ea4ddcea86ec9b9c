//! Models: every order in which a few threads may take their steps, and every
//! value that weak memory lets them see, tried by loom on the core's own code.
//!
//! ```text
//! cargo xtask test models        RUSTFLAGS="--cfg loom" cargo test models
//!
//! verify ┬ as the code is: holds
//!        └ for each place listed that says Acquire or Release, or compares:
//!          the same without ─▶ must fail
//! ```
//!
//! So a model that could not fail is found out by its own mutants. The places
//! are found as the model runs, in the code as it is: nothing in the core
//! knows of mutations. With `GRANULE_SURVIVORS` set, the places that are not
//! listed are tried as well, and what survives is printed: something else
//! orders it in this model. loom treats `SeqCst` accesses
//! as `AcqRel`, does not let loads see stores of the future, and preempts a
//! thread only as often as told: a model that holds is no proof.

use core::cell::Cell;
use std::any::Any;
use std::format;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::string::String;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::vec::Vec;

use crate::base::sync::modelled::{self, Site};

/// What one execution may do before it counts as one that does not end.
const BRANCHES: usize = 50_000;

/// All that a lock says, for models of what one guards.
pub const LOCK: &str = "sync.rs: self.closed";

/// Words of a thread's stack.
const STACK: usize = 1 << 15;

/// Says how many preemptions there may be, if more than usual.
const PREEMPTIONS: &str = "GRANULE_PREEMPTIONS";

/// Says that what is not needed is tried, too.
const SURVIVORS: &str = "GRANULE_SURVIVORS";

/// How loom says so.
const ENDLESS: &str = "exceeded maximum number of branches";

/// A few threads that use one protocol, and assert its invariants.
#[derive(Debug)]
pub struct Model<F> {
    run: F,
    atomics: usize,
    preemptions: usize,
}

impl<F: Fn() + Copy + Send + Sync + 'static> Model<F> {
    /// Runs `run` once in each execution, on loom's first thread. It ends when
    /// all threads have, and leaves nothing behind.
    #[must_use]
    pub fn new(run: F) -> Self {
        Self { run, atomics: 64, preemptions: 3 }
    }

    /// At most so many atomics are accessed in one execution.
    #[must_use]
    pub fn atomics(self, atomics: usize) -> Self {
        Self { atomics, ..self }
    }

    /// Threads are preempted so often in one execution; they wait for each
    /// other any number of times.
    #[must_use]
    pub fn preemptions(self, preemptions: usize) -> Self {
        Self { preemptions, ..self }
    }

    /// Explores the model, which must hold, and its mutants, which must fail:
    /// those of the places that the invariants hang on, each described by
    /// parts of the line and of the change, `FILE: PART & PART`. A place that
    /// is to store nothing says so.
    pub fn verify(self, needs: &[&str]) {
        let (_, sites) = self.holds();
        let all = std::env::var_os(SURVIVORS).is_some();
        let mut wrong = Vec::new();
        for listed in needs {
            if !sites.iter().any(|site| is(*site, listed)) {
                wrong.push(format!("never met: {listed}"));
            }
        }
        for &site in &sites {
            let needed = needs.iter().any(|listed| is(site, listed));
            if !needed && !all {
                continue;
            }
            let end = catch_unwind(AssertUnwindSafe(|| self.explore(Some(site))));
            let end = end.map_err(|panic| first_line(&*panic));
            let said = end.as_ref().err().map_or("survives", String::as_str);
            std::println!("  {} // {} ─▶ {said}", site, line(site));
            if needed && (end.is_ok() || said.contains(ENDLESS)) {
                wrong.push(format!("{site} {said}"));
            }
        }
        assert!(!needs.is_empty() && wrong.is_empty(), "{}", wrong.join("\n"));
    }

    /// Explores the model, which must hold. Returns how many executions there
    /// are, and the places met.
    pub fn holds(&self) -> (usize, Vec<Site>) {
        let executions = self.explore(None);
        let sites = modelled::end();
        assert!(executions > 1, "only one order of steps");
        std::println!("holds in {executions} executions");
        (executions, sites)
    }

    /// Explores a model of an interrupt, which must hold. Whether the
    /// interrupt has come.
    pub fn comes(&self) -> bool {
        self.explore(None);
        modelled::came_by_itself()
    }

    /// Whether a model that may be broken fails.
    pub fn is_broken(&self) -> bool {
        let end = catch_unwind(AssertUnwindSafe(|| self.explore(None)));
        end.is_err_and(|panic| !first_line(&*panic).contains(ENDLESS))
    }

    /// Explores the model, which is broken on purpose and must fail.
    pub fn fails(&self) {
        let end = catch_unwind(AssertUnwindSafe(|| self.explore(None)));
        let panic = end.expect_err("what is broken must fail");
        let said = first_line(&*panic);
        std::println!("fails: {said}");
        assert!(!said.contains(ENDLESS), "it did not fail, but did not end: {said}");
    }

    fn explore(&self, mutation: Option<Site>) -> usize {
        let (run, atomics) = (self.run, self.atomics);
        modelled::begin(mutation);
        let mut loom = loom::model::Builder::new();
        loom.preemption_bound = Some(self.preemptions.max(asked(PREEMPTIONS)));
        loom.max_branches = BRANCHES;
        let executions = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&executions);
        loom.check(move || {
            count.fetch_add(1, Relaxed);
            modelled::begin_execution(atomics);
            spawn(run).join();
            modelled::end_execution();
        });
        executions.load(Relaxed)
    }
}

loom::thread_local! {
    static CPU: Cell<usize> = Cell::new(0);
}

/// Moves the calling thread to a CPU.
pub fn migrate(cpu: usize) {
    CPU.with(|own| own.set(cpu));
}

/// The CPU the calling thread is on; 0 until it was moved.
#[must_use]
pub fn cpu() -> usize {
    CPU.with(Cell::get)
}

/// A thread of a model.
#[derive(Debug)]
#[must_use = "a model joins its threads"]
pub struct Thread<R>(loom::thread::JoinHandle<Here<R>>);

/// What a thread is given, and gives.
#[derive(Debug)]
struct Here<T>(T);

// SAFETY: all of loom's threads run on the thread that runs the model.
unsafe impl<T> Send for Here<T> {}

impl<R> Thread<R> {
    /// Waits until the thread has ended.
    pub fn join(self) -> R {
        // One that panics ends the model.
        self.0.join().expect("no panic").0
    }
}

impl<F> Here<F> {
    fn run<R>(self) -> Here<R>
    where
        F: FnOnce() -> R,
    {
        Here((self.0)())
    }
}

/// Spawns a thread of a model, with a stack for builds without optimisation.
pub fn spawn<R: 'static>(run: impl FnOnce() -> R + 'static) -> Thread<R> {
    let run = Here(run);
    let thread = loom::thread::Builder::new().stack_size(STACK);
    Thread(thread.spawn(move || run.run()).expect("room for five threads"))
}

fn asked(variable: &str) -> usize {
    std::env::var(variable).ok().and_then(|value| value.parse().ok()).unwrap_or(0)
}

fn first_line(panic: &(dyn Any + Send)) -> String {
    let said = panic.downcast_ref::<String>().map(String::as_str);
    let said = said.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no reason");
    let mut lines = said.lines().map(str::trim).filter(|line| !line.is_empty());
    String::from(lines.next().unwrap_or_default())
}

/// The line of a place in the source.
fn line(site: Site) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace");
    let text = std::fs::read_to_string(root.join(site.file)).unwrap_or_default();
    let line = text.lines().nth(site.line as usize - 1).unwrap_or_default();
    String::from(line.trim())
}

fn is(site: Site, listed: &str) -> bool {
    let (file, parts) = listed.split_once(": ").expect("FILE: PART & PART");
    let text = format!("{} {site}", line(site));
    let nothing = "does nothing";
    let fits = text.contains(nothing) == parts.contains(nothing);
    fits && site.file.ends_with(file) && parts.split(" & ").all(|part| text.contains(part))
}
