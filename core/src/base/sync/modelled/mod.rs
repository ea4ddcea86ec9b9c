//! What stands in for the machine's atomics, memory and locks in models.
//!
//! loom's own atomics are large, have no const constructors and cannot be
//! laid over memory that is merely zero, and the core needs all three. So an
//! atomic of the core stays a plain word in models, which holds the value it
//! was made with. The first access in an execution *adopts* it: an atomic of
//! loom's, made before any thread was spawned, stands for it from then on. It
//! holds the difference to the plain word (by exclusive or), so that it could
//! be made before the word's value was known.
//!
//! ```text
//! word  ┌ made with: 7 ┐   never written to ┐
//!       └──────────────┘                    ├─▶ value 5 = 7 ^ 2
//! loom  ┌ 2 ┐   loads, stores, orderings    ┘
//! ```
//!
//! Outside a model every atomic is the machine's, so that ordinary tests run
//! in the same build.

use core::cell::RefCell;
use core::panic::Location;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;
use std::vec::Vec;

use core::sync::atomic::Ordering;
use loom::cell::UnsafeCell;
use loom::sync::atomic::AtomicU64 as Loom;

mod atomics;
mod interrupt;
pub mod plain;

pub use atomics::{
    AtomicBool, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, fence, spin_loop,
};
pub(crate) use interrupt::came_by_itself;
pub use interrupt::{Masked, interrupt_after, interrupt_now};

/// A place in the source that says a strong ordering, compares, or stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Site {
    /// The file, from the root of the workspace.
    pub file: &'static str,
    /// The line of the call.
    pub line: u32,
    column: u32,
    /// The operation.
    pub call: &'static str,
    lacks: Lacks,
}

/// What a place lacks in a mutant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Lacks {
    /// The acquiring half of an ordering.
    Acquire,
    /// The releasing half.
    Release,
    /// The comparison of an exchange.
    Compare,
    /// A fence between a store and a load.
    Fence,
    /// The store.
    Store,
}

impl core::fmt::Display for Site {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let lacks = match self.lacks {
            Lacks::Acquire => "without Acquire",
            Lacks::Release => "without Release",
            Lacks::Compare => "that does not compare",
            Lacks::Fence => "that is not there",
            Lacks::Store => "that does nothing",
        };
        write!(f, "{}:{}: `{}` {lacks}", self.file, self.line, self.call)
    }
}

/// What one execution of a model knows, and what a model has met so far.
#[derive(Default)]
struct Execution {
    on: bool,
    spare: Vec<Word>,
    words: HashMap<usize, Word>,
    memory: BTreeMap<usize, Memory>,
    sites: BTreeSet<Site>,
    mutation: Option<Site>,
}

/// An adopted word.
#[derive(Clone)]
struct Word {
    loom: Rc<Loom>,
    /// Written to before each load: of the accesses to one atomic loom keeps
    /// the last alone, and so forgets a load of one thread when a load of
    /// another comes before that one's store. Two stores it takes for a race.
    loads: Rc<Loom>,
    made_with: u64,
}

/// Memory written to by plain stores.
#[derive(Clone)]
struct Memory {
    bytes: usize,
    witness: Rc<UnsafeCell<()>>,
}

std::thread_local! {
    // loom's threads all run on the thread that runs the model.
    static EXECUTION: RefCell<Execution> = RefCell::default();
}

fn with<R>(work: impl FnOnce(&mut Execution) -> R) -> R {
    EXECUTION.with_borrow_mut(work)
}

/// Begins a model, or one mutant of it: forgets what was met before.
pub(crate) fn begin(mutation: Option<Site>) {
    with(|all| *all = Execution { mutation, ..Execution::default() });
}

/// Begins an execution with so many atomics.
pub(crate) fn begin_execution(atomics: usize) {
    let new = || Rc::new(Loom::new(0));
    let spare = (0..atomics).map(|_| Word { loom: new(), loads: new(), made_with: 0 }).collect();
    interrupt::clear();
    with(|all| {
        all.on = true;
        all.spare = spare;
        all.words.clear();
        all.memory.clear();
    });
}

/// Ends an execution: the caller is its only thread again.
pub(crate) fn end_execution() {
    with(|all| all.on = false);
}

/// Ends a model; the places it has met.
pub(crate) fn end() -> Vec<Site> {
    with(|all| core::mem::take(all).sites).into_iter().collect()
}

/// Whether the caller is inside an execution. One that panics is over.
fn is_on() -> bool {
    !std::thread::panicking() && with(|all| all.on)
}

/// The word at `address` that was made with some value, adopted.
fn adopt(address: usize, made_with: impl FnOnce() -> u64) -> Word {
    let (word, memory) = with(|all| {
        let word = match all.words.get(&address) {
            Some(word) => word.clone(),
            None => {
                let word = all.spare.pop().expect("as many atomics as the model touches");
                let word = Word { made_with: made_with(), ..word };
                all.words.insert(address, word.clone());
                word
            }
        };
        (word, plain::around(&all.memory, address))
    });
    // Who reaches an atomic must know that it was made.
    if let Some(memory) = memory {
        memory.witness.with(|_| ());
    }
    word
}

/// An atomic is gone.
fn forget(address: usize) {
    // Some go with a thread of the machine's, after its thread-locals.
    let _ = EXECUTION.try_with(|all| all.borrow_mut().words.remove(&address));
}

/// Notes that a place says `order`, and weakens it if that is the mutation.
fn weakened(order: Ordering, call: &'static str, at: &'static Location<'static>) -> Ordering {
    use Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};
    if order == SeqCst {
        return if mutated(Lacks::Fence, call, at) { Relaxed } else { SeqCst };
    }
    let acquires = matches!(order, Acquire | AcqRel) && !mutated(Lacks::Acquire, call, at);
    let releases = matches!(order, Release | AcqRel) && !mutated(Lacks::Release, call, at);
    match (acquires, releases) {
        (true, true) => AcqRel,
        (true, false) => Acquire,
        (false, true) => Release,
        (false, false) => Relaxed,
    }
}

/// Notes that a place could lack this; whether it is to.
fn mutated(lacks: Lacks, call: &'static str, at: &'static Location<'static>) -> bool {
    let site = Site { file: at.file(), line: at.line(), column: at.column(), call, lacks };
    with(|all| {
        all.sites.insert(site);
        all.mutation == Some(site)
    })
}
