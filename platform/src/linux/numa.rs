//! Nodes of memory, as the kernel tells them.
//!
//! The nodes that the process may use are numbered without gaps, the lowest
//! first, up to [`MOST`] and then from 0 again. A region is placed once, as it
//! is reserved, by `mbind`: a preference, so that a full node means memory that
//! is further away, and not none. Where the kernel refuses that (a container's
//! filter of system calls does), pages come from the node that touches
//! them first, which most often is the same.
//!
//! | `GRANULE_NUMA` | |
//! |---|---|
//! | `local`, nothing | memory of the CPU's node, where there are several |
//! | `interleave` | pages of all nodes in turn; one set of slabs and depots |
//! | `off` | nothing is asked and nothing is placed |
//! | `pretend` | as if every other CPU were on another node: for tests |
//!
//! Who asks before there is an environment is told of one node, and what is
//! reserved then is not placed.

use core::ptr::null_mut;
use core::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use granule_core::provider::{Node, Reservation};

use super::env::quietly;
use super::{rseq, settings};

/// Most nodes that the process's heap tells apart.
pub(crate) const MOST: u16 = 8;

/// Words of a set of nodes: as many bits as any kernel has nodes.
const WORDS: usize = 1024 / 64;

/// `MPOL_F_NODE`, `MPOL_F_ADDR` and `MPOL_F_MEMS_ALLOWED` of `get_mempolicy`.
const NODE: libc::c_int = 1 << 0;
const ADDR: libc::c_int = 1 << 1;
const MEMS_ALLOWED: libc::c_int = 1 << 2;

/// How memory is placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Policy {
    Unknown,
    /// One node, or as if.
    One,
    Local,
    Interleaved,
    Pretended,
}

static POLICY: AtomicU8 = AtomicU8::new(Policy::Unknown as u8);
/// The nodes whose memory the process may use, of the first 64.
static NODES: AtomicU64 = AtomicU64::new(1);

fn policy() -> Policy {
    // Acquire: pairs with the Release in `look`, after the set of nodes.
    match POLICY.load(Ordering::Acquire) {
        ONE => Policy::One,
        LOCAL => Policy::Local,
        INTERLEAVED => Policy::Interleaved,
        PRETENDED => Policy::Pretended,
        _ => look(),
    }
}

const ONE: u8 = Policy::One as u8;
const LOCAL: u8 = Policy::Local as u8;
const INTERLEAVED: u8 = Policy::Interleaved as u8;
const PRETENDED: u8 = Policy::Pretended as u8;

/// What the environment and the kernel say. Two at once find the same.
#[cold]
fn look() -> Policy {
    let Ok(value) = settings::variable(b"GRANULE_NUMA") else { return Policy::Unknown };
    let policy = match policy_of(value) {
        Policy::Local | Policy::Interleaved if allowed().count_ones() < 2 => Policy::One,
        policy => policy,
    };
    if matches!(policy, Policy::Local | Policy::Interleaved) {
        NODES.store(allowed(), Ordering::Relaxed);
    }
    // Release: pairs with the Acquire in `policy`.
    POLICY.store(policy as u8, Ordering::Release);
    policy
}

fn policy_of(value: Option<&[u8]>) -> Policy {
    match value {
        Some(b"interleave") => Policy::Interleaved,
        Some(b"off") => Policy::One,
        Some(b"pretend") => Policy::Pretended,
        _ => Policy::Local,
    }
}

/// The nodes that the process may use; the first alone where the kernel does
/// not say.
fn allowed() -> u64 {
    let mut nodes = [0u64; WORDS];
    let at = nodes.as_mut_ptr();
    let none = null_mut::<libc::c_void>();
    let flags = MEMS_ALLOWED;
    // SAFETY: the kernel writes so many bits at most.
    let told = quietly(|| unsafe {
        libc::syscall(libc::SYS_get_mempolicy, none, at, WORDS * 64, none, flags)
    });
    if told == 0 && nodes[0] != 0 { nodes[0] } else { 1 }
}

/// The number of a node that the kernel numbers `node`, out of a set.
fn rank(nodes: u64, node: u32) -> Node {
    let below = 1u64.checked_shl(node).map_or(0, |bit| nodes & (bit - 1));
    Node(below.count_ones() as u16 % MOST)
}

/// The kernel's number of a node out of a set.
fn kernel_node(nodes: u64, node: Node) -> Option<u32> {
    let mut rest = nodes;
    for _ in 0..node.0 {
        rest &= rest.checked_sub(1)?;
    }
    (rest != 0).then(|| rest.trailing_zeros())
}

/// How many nodes are told apart.
#[inline]
pub(super) fn nodes() -> u16 {
    // Acquire: as in `policy`. Most machines have one node, and misses ask.
    if POLICY.load(Ordering::Acquire) == ONE {
        return 1;
    }
    match policy() {
        Policy::Local => (NODES.load(Ordering::Relaxed).count_ones() as u16).min(MOST),
        Policy::Pretended => 2,
        _ => 1,
    }
}

/// The node that the caller's CPU is near to.
pub(crate) fn here() -> Node {
    match policy() {
        Policy::Local => {
            let node = rseq::node().unwrap_or_else(|| place().1);
            rank(NODES.load(Ordering::Relaxed), node)
        }
        Policy::Pretended => Node((place().0 % 2) as u16),
        _ => Node(0),
    }
}

/// The caller's CPU and its node.
fn place() -> (u32, u32) {
    let (mut cpu, mut node) = (0u32, 0u32);
    let none = null_mut::<libc::c_void>();
    // SAFETY: both are writable; the third is no longer used.
    quietly(|| unsafe { libc::syscall(libc::SYS_getcpu, &raw mut cpu, &raw mut node, none) });
    (cpu, node)
}

/// Places a fresh reservation that is for `node`, or for any.
pub(super) fn place_at(reservation: &Reservation, node: Option<Node>) {
    let nodes = NODES.load(Ordering::Relaxed);
    let (mode, set) = match (policy(), node) {
        (Policy::Interleaved, _) => (libc::MPOL_INTERLEAVE, nodes),
        (Policy::Local, Some(node)) => match kernel_node(nodes, node) {
            Some(node) => (libc::MPOL_PREFERRED, 1 << node),
            None => return,
        },
        _ => return,
    };
    let Reservation { start, bytes } = *reservation;
    // A word more than is looked at: the kernel's count of bits is off by one.
    let set = [set, 0u64];
    let (at, bits) = (set.as_ptr(), u64::BITS + 1);
    // SAFETY: a mapping of ours that nobody has touched, and a set of so many
    // bits. Refused, it stays as it is.
    let _ = quietly(|| unsafe {
        libc::syscall(libc::SYS_mbind, start.as_ptr(), bytes, mode, at, bits, 0)
    });
}

/// The node of memory that has been touched.
pub(super) fn node_of(address: *const u8) -> Node {
    if policy() != Policy::Local {
        return Node(0);
    }
    let mut node = 0u32;
    let none = null_mut::<libc::c_void>();
    let flags = NODE | ADDR;
    let at = &raw mut node;
    // SAFETY: `node` is writable; the kernel takes any address.
    let told =
        quietly(|| unsafe { libc::syscall(libc::SYS_get_mempolicy, at, none, 0, address, flags) });
    if told == 0 { rank(NODES.load(Ordering::Relaxed), node) } else { Node(0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_as_documented_and_others_as_none() {
        for (value, policy) in [
            ("local", Policy::Local),
            ("interleave", Policy::Interleaved),
            ("off", Policy::One),
            ("pretend", Policy::Pretended),
            ("", Policy::Local),
            ("Off", Policy::Local),
            ("0", Policy::Local),
        ] {
            assert_eq!(policy_of(Some(value.as_bytes())), policy, "{value:?}");
        }
        assert_eq!(policy_of(None), Policy::Local);
    }

    #[test]
    fn nodes_are_numbered_without_gaps() {
        let nodes = 0b1010_0001;
        let ranks = [0, 5, 7].map(|node| rank(nodes, node).0);
        assert_eq!(ranks, [0, 1, 2]);
        let back = [0, 1, 2, 3].map(|node| kernel_node(nodes, Node(node)));
        assert_eq!(back, [Some(0), Some(5), Some(7), None]);
        // More than are told apart, and more than are looked at.
        assert_eq!(
            (rank(u64::MAX, 9), rank(u64::MAX, 64), rank(nodes, 200)),
            (Node(1), Node(0), Node(0))
        );
        assert!((0..MOST).all(|node| kernel_node(u64::MAX, Node(node)) == Some(node.into())));
    }

    #[test]
    fn the_kernel_names_a_node_for_the_caller_and_for_memory() {
        let nodes = allowed();
        assert_ne!(nodes, 0);
        assert!(here().0 < super::nodes());
        let word = 7u8;
        assert!(node_of(&raw const word).0 < super::nodes());
    }
}
