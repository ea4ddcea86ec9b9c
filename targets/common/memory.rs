//! What the device tree says: RAM, what of it is taken, CPUs, arguments.
//!
//! Devicetree Specification v0.4: 2.3.6 `reg`, 3.4 `/memory`, 3.5
//! `/reserved-memory`, 3.6 `/chosen`, 3.7 `/cpus`, 5.3 memory reservation
//! block; `numa-node-id` is the Linux kernel's binding, `numa.txt`. The tree may lie anywhere in RAM, so it counts as taken, too.

use dtoolkit::fdt::{Fdt, FdtNode};
use dtoolkit::{Node, Property};

pub use crate::boot::RAM_START;
use crate::cpu::MAX_CPUS;
use crate::paging::PageSize;

/// More than the machines of the tests have.
const RAM_RANGES: usize = 8;
/// The image, the tree, and what firmware keeps.
const RESERVED_RANGES: usize = 16;

/// Physical addresses from `start` up to, not including, `start + bytes`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryRange {
    /// The first address.
    pub start: usize,
    /// How many bytes.
    pub bytes: usize,
}

impl MemoryRange {
    /// The first address behind it.
    #[must_use]
    pub fn end(&self) -> usize {
        self.start + self.bytes
    }
}

/// What a kernel is told when it starts.
#[derive(Debug)]
pub struct BootInfo {
    ram: Ranges<RAM_RANGES>,
    ram_nodes: [u16; RAM_RANGES],
    cpu_nodes: [u16; MAX_CPUS],
    reserved: Ranges<RESERVED_RANGES>,
    cpus: usize,
    arguments: &'static str,
    timebase_hz: Option<u32>,
}

impl BootInfo {
    /// Where RAM is, in the order of the device tree.
    #[must_use]
    pub fn ram(&self) -> &[MemoryRange] {
        self.ram.as_slice()
    }

    /// The node of each range of [`ram`](Self::ram); 0 where the machine has one.
    #[must_use]
    pub fn ram_nodes(&self) -> &[u16] {
        &self.ram_nodes[..self.ram.count]
    }

    /// The node that a CPU is near to; 0 where the machine has one.
    #[must_use]
    pub fn cpu_node(&self, cpu: usize) -> u16 {
        self.cpu_nodes.get(cpu).copied().unwrap_or(0)
    }

    /// What of RAM is in use: the kernel's image with its stacks, the device
    /// tree, and what the tree reserves. Ranges need not be of whole pages,
    /// and may overlap.
    #[must_use]
    pub fn reserved(&self) -> &[MemoryRange] {
        self.reserved.as_slice()
    }

    /// How many CPUs there are: their numbers are 0 to `cpus() - 1`.
    #[must_use]
    pub fn cpus(&self) -> usize {
        self.cpus
    }

    /// The command line: QEMU's `-append`.
    #[must_use]
    pub fn arguments(&self) -> &'static str {
        self.arguments
    }

    /// The value of `key=value` among the arguments, which spaces separate.
    #[must_use]
    pub fn argument(&self, key: &str) -> Option<&'static str> {
        self.arguments.split(' ').find_map(|argument| {
            let (name, value) = argument.split_once('=')?;
            (name == key).then_some(value)
        })
    }

    /// The size of pages that `page=4k`, `page=16k` or `page=64k` asks for;
    /// 4 KiB where nothing is said; `None` where it says something else.
    #[must_use]
    pub fn page_size(&self) -> Option<PageSize> {
        self.argument("page").map_or(Some(PageSize::Kib4), PageSize::from_argument)
    }

    /// `timebase-frequency` of `/cpus`, where the machine has one.
    #[must_use]
    pub fn timebase_hz(&self) -> Option<u32> {
        self.timebase_hz
    }

    /// Reads the tree at `blob`, for a kernel that lies in `image`.
    ///
    /// # Safety
    ///
    /// Caller: `blob` is null or points to readable memory; if that holds a
    /// device tree, it stays unchanged for ever.
    pub(crate) unsafe fn read(blob: *const u8, image: MemoryRange) -> Result<Self, &'static str> {
        if blob.is_null() || !blob.addr().is_multiple_of(8) {
            return Err("there is no device tree");
        }
        // SAFETY: by the contract above; what is no tree is refused.
        let tree = unsafe { Fdt::from_raw(blob) }.map_err(|_| "the device tree is damaged")?;
        let cpus = tree.find_node("/cpus").ok_or("the device tree has no /cpus")?;
        let chosen = tree.find_node("/chosen");
        let bootargs = chosen.and_then(|node| text(&node, "bootargs"));
        let (ram, ram_nodes) = ram(tree)?;
        Ok(Self {
            ram,
            ram_nodes,
            cpu_nodes: cpu_nodes(cpus),
            reserved: reserved(tree, image)?,
            cpus: cpus.children().filter(|child| is(child, "cpu")).count().min(MAX_CPUS),
            arguments: bootargs.unwrap_or(""),
            timebase_hz: cpus
                .property("timebase-frequency")
                .and_then(|property| property.value_as::<u32>().ok()),
        })
    }
}

fn ram(tree: Fdt<'static>) -> Result<(Ranges<RAM_RANGES>, [u16; RAM_RANGES]), &'static str> {
    let mut ranges = Ranges::EMPTY;
    let mut nodes = [0; RAM_RANGES];
    for node in tree.root().children().filter(|child| is(child, "memory")) {
        let from = ranges.count;
        ranges.push_reg(node)?;
        nodes[from..ranges.count].fill(numa_node(&node));
    }
    match ranges.count {
        0 => Err("the device tree has no /memory"),
        _ => Ok((ranges, nodes)),
    }
}

/// The nodes of CPUs by their numbers, which are their `reg`.
fn cpu_nodes(cpus: FdtNode<'static>) -> [u16; MAX_CPUS] {
    let mut nodes = [0; MAX_CPUS];
    for cpu in cpus.children().filter(|child| is(child, "cpu")) {
        let reg = cpu.property("reg").and_then(|reg| reg.value().last().copied());
        if let Some(place) = reg.and_then(|number| nodes.get_mut(usize::from(number))) {
            *place = numa_node(&cpu);
        }
    }
    nodes
}

/// `numa-node-id`; 0 where there is none.
fn numa_node(node: &FdtNode<'static>) -> u16 {
    let id = node.property("numa-node-id").and_then(|id| id.value_as::<u32>().ok());
    id.and_then(|id| u16::try_from(id).ok()).unwrap_or(0)
}

fn reserved(
    tree: Fdt<'static>,
    image: MemoryRange,
) -> Result<Ranges<RESERVED_RANGES>, &'static str> {
    let mut ranges = Ranges::EMPTY;
    ranges.push(image)?;
    let blob = tree.data();
    ranges.push(MemoryRange { start: blob.as_ptr().addr(), bytes: blob.len() })?;
    for entry in tree.memory_reservations() {
        ranges.push(range(entry.address(), entry.size()))?;
    }
    if let Some(node) = tree.find_node("/reserved-memory") {
        for child in node.children() {
            ranges.push_reg(child)?;
        }
    }
    Ok(ranges)
}

fn is(node: &FdtNode<'_>, name: &str) -> bool {
    node.name_without_address() == name
}

fn text(node: &FdtNode<'static>, name: &str) -> Option<&'static str> {
    node.property(name)?.value_as::<&'static str>().ok()
}

/// `usize` has 64 bits on every machine that has this file.
fn range(start: u64, bytes: u64) -> MemoryRange {
    MemoryRange { start: start as usize, bytes: bytes as usize }
}

/// A list of at most `N` ranges: there is no heap yet.
#[derive(Clone, Copy, Debug)]
struct Ranges<const N: usize> {
    ranges: [MemoryRange; N],
    count: usize,
}

impl<const N: usize> Ranges<N> {
    const EMPTY: Self = Self { ranges: [MemoryRange { start: 0, bytes: 0 }; N], count: 0 };

    fn as_slice(&self) -> &[MemoryRange] {
        &self.ranges[..self.count]
    }

    fn push(&mut self, range: MemoryRange) -> Result<(), &'static str> {
        let place = self.ranges.get_mut(self.count).ok_or("too many ranges of memory")?;
        *place = range;
        self.count += 1;
        Ok(())
    }

    /// The ranges of the node's `reg`; none where it has no such property.
    fn push_reg(&mut self, node: FdtNode<'static>) -> Result<(), &'static str> {
        const DAMAGED: &str = "a range of memory is damaged";
        for reg in node.reg().map_err(|_| DAMAGED)?.into_iter().flatten() {
            let start = reg.address::<u64>().map_err(|_| DAMAGED)?;
            let bytes = reg.size::<u64>().map_err(|_| DAMAGED)?;
            self.push(range(start, bytes))?;
        }
        Ok(())
    }
}
