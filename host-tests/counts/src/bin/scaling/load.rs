//! The load: threads of the simulated machine, which replace blocks of their own and
//! hand some on.

use crate::machine::Simulated;
use std::alloc::Layout;
use std::ptr::NonNull;
use std::sync::Mutex;

/// Blocks that a thread has.
const SLOTS: usize = 64;

/// A live block, which whoever has it may use.
struct Block(NonNull<u8>, Layout);

// SAFETY: whoever has the value is the only one to use the block.
unsafe impl Send for Block {}

impl Block {
    fn new<const CACHES: usize>(heap: &Simulated<CACHES>, size: usize) -> Self {
        let layout = Layout::from_size_align(size, 16).expect("a small layout");
        Self(NonNull::new(heap.alloc(layout)).expect("memory"), layout)
    }

    fn free<const CACHES: usize>(self, heap: &Simulated<CACHES>) {
        // SAFETY: live, of this layout, and given up by its only owner.
        unsafe { heap.dealloc(self.0, self.1) };
    }
}

/// A thread of the simulated machine. It runs on whichever CPU has it.
pub(crate) struct Task {
    number: usize,
    blocks: Vec<Option<Block>>,
    random: u32,
}

/// What threads share.
pub(crate) struct Shared<'heap, const CACHES: usize> {
    heap: &'heap Simulated<CACHES>,
    /// For each thread, a block that another one has left for it.
    handed: Vec<Mutex<Option<Block>>>,
    /// For each CPU, a thread that may go on there.
    waiting: Vec<Mutex<Option<Task>>>,
}

impl<'heap, const CACHES: usize> Shared<'heap, CACHES> {
    pub(crate) fn new(heap: &'heap Simulated<CACHES>, tasks: usize, cpus: usize) -> Self {
        Self {
            heap,
            handed: (0..tasks).map(|_| Mutex::new(None)).collect(),
            waiting: (0..cpus).map(|_| Mutex::new(None)).collect(),
        }
    }

    /// Leaves a thread for one of the first `running` CPUs, and takes one that was left
    /// there, if any.
    pub(crate) fn migrate(&self, mut task: Task, running: usize) -> Option<Task> {
        let to = task.step() as usize % running;
        self.waiting[to].lock().expect("no panic inside").replace(task)
    }

    /// A thread that was left for a CPU.
    pub(crate) fn arrived(&self, cpu: usize) -> Option<Task> {
        self.waiting[cpu].lock().expect("no panic inside").take()
    }
}

impl Task {
    pub(crate) fn new(number: usize) -> Self {
        let blocks = (0..SLOTS).map(|_| None).collect();
        Self { number, blocks, random: number as u32 * 2_654_435_761 + 1 }
    }

    /// The next number of this thread's sequence (Marsaglia, "Xorshift RNGs", 2003).
    fn step(&mut self) -> u32 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 17;
        self.random ^= self.random << 5;
        self.random
    }

    /// Replaces so many blocks; one in eight goes to another thread.
    pub(crate) fn run<const CACHES: usize>(
        &mut self,
        shared: &Shared<'_, CACHES>,
        operations: usize,
    ) {
        for _ in 0..operations {
            let random = self.step();
            let at = (random >> 8) as usize % SLOTS;
            let old = self.blocks[at].take();
            if random.is_multiple_of(8) {
                let place = &shared.handed[(random >> 16) as usize % shared.handed.len()];
                let other = std::mem::replace(&mut *place.lock().expect("no panic inside"), old);
                let ours = shared.handed[self.number].lock().expect("no panic inside").take();
                [other, ours].into_iter().flatten().for_each(|block| block.free(shared.heap));
            } else if let Some(block) = old {
                block.free(shared.heap);
            }
            self.blocks[at] = Some(Block::new(shared.heap, 16 + (random >> 12) as usize % 497));
        }
    }

    /// Frees whatever the thread has.
    pub(crate) fn end<const CACHES: usize>(self, heap: &Simulated<CACHES>) {
        self.blocks.into_iter().flatten().for_each(|block| block.free(heap));
    }
}
