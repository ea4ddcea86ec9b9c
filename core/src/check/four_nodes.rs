//! A provider of four nodes for tests, and CPUs that are near to them.

use core::cell::Cell;
use core::ptr::NonNull;
use std::array;

use super::arena::Arena;
use super::surroundings::{Entered, TestCpu, present_cpu};
use crate::cache::guarded::Cpu;
use crate::provider::{Capabilities, Node, PageProvider, ProviderError, Reservation};

/// How many nodes there are.
pub(crate) const NODES: u16 = 4;
/// CPUs of each.
pub(crate) const CPUS_EACH: usize = 2;
/// All CPUs.
pub(crate) const CPUS: usize = NODES as usize * CPUS_EACH;

std::thread_local! {
    static MOVED: Cell<Option<u16>> = const { Cell::new(None) };
}

/// Says from now on that the caller is near `node`, whatever its CPU; `None`
/// ends that.
pub(crate) fn pretend_to_be_near(node: Option<u16>) {
    MOVED.set(node);
}

/// CPUs 0 and 1 are near node 0, 2 and 3 near node 1, and so on.
#[derive(Debug)]
pub(crate) struct NodeCpu;

// SAFETY: as `TestCpu`.
unsafe impl Cpu for NodeCpu {
    type Guard = Entered;

    fn try_enter() -> Option<(usize, Entered)> {
        TestCpu::try_enter()
    }

    fn node() -> Node {
        Node(MOVED.get().unwrap_or((present_cpu() / CPUS_EACH) as u16))
    }

    fn quiesce(cpu: usize) -> bool {
        TestCpu::quiesce(cpu)
    }
}

/// An arena a node.
pub(crate) struct FourNodes {
    arenas: [Arena; NODES as usize],
}

impl FourNodes {
    /// Each node hands out up to `limit` bytes, in steps of `step`.
    pub(crate) fn new(can: Capabilities, step: usize, limit: [usize; NODES as usize]) -> Self {
        Self { arenas: array::from_fn(|node| Arena::new(4096, can, limit[node]).in_steps_of(step)) }
    }

    /// A node's arena.
    pub(crate) fn of(&self, node: u16) -> &Arena {
        &self.arenas[usize::from(node)]
    }

    /// Bytes handed out, by node.
    pub(crate) fn reserved(&self) -> [usize; NODES as usize] {
        array::from_fn(|node| self.arenas[node].reserved())
    }

    /// The node of a block.
    pub(crate) fn node_of(&self, block: NonNull<u8>) -> u16 {
        self.node(block.as_ptr()).0
    }

    fn at(&self, address: NonNull<u8>) -> &Arena {
        self.of(self.node(address.as_ptr()).0)
    }
}

// SAFETY: an arena keeps the duties, and each range is passed to its own.
unsafe impl PageProvider for FourNodes {
    fn page_size(&self) -> usize {
        self.of(0).page_size()
    }

    fn capabilities(&self) -> Capabilities {
        self.of(0).capabilities()
    }

    fn suggest(&self, needed: usize, held: usize) -> usize {
        self.of(0).suggest(needed, held)
    }

    fn reserve(&self, _bytes: usize) -> Result<Reservation, ProviderError> {
        panic!("where there are nodes the heap says which")
    }

    fn nodes(&self) -> u16 {
        NODES
    }

    fn reserve_on(&self, node: Node, bytes: usize) -> Result<Reservation, ProviderError> {
        self.arenas.get(usize::from(node.0)).ok_or(ProviderError)?.reserve(bytes)
    }

    unsafe fn commit(&self, start: NonNull<u8>, bytes: usize) -> Result<(), ProviderError> {
        // SAFETY: by the contract.
        unsafe { self.at(start).commit(start, bytes) }
    }

    unsafe fn purge(&self, start: NonNull<u8>, bytes: usize) -> Result<(), ProviderError> {
        // SAFETY: by the contract.
        unsafe { self.at(start).purge(start, bytes) }
    }

    unsafe fn release(&self, reservation: Reservation) -> Result<(), ProviderError> {
        // SAFETY: by the contract.
        unsafe { self.at(reservation.start).release(reservation) }
    }

    fn node(&self, address: *const u8) -> Node {
        let node = self.arenas.iter().position(|arena| arena.has(address));
        Node(node.expect("an address of a reservation") as u16)
    }
}
