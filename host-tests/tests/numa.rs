//! `GRANULE_NUMA`: every value serves a program, also where the kernel refuses
//! to tell of nodes or to place memory; and a heap of two nodes, pretended.
#![cfg(target_os = "linux")]

use std::alloc::Layout;
use std::collections::BTreeSet;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::ptr::NonNull;
use std::sync::mpsc;

use granule::provider::Node;

/// Set in the children, which run [`child`] alone.
const CHILD: &str = "GRANULE_TEST_NUMA_CHILD";

/// A live block of a thread's, with the byte that it is full of.
struct Block(NonNull<u8>, Layout, u8);

// SAFETY: the block's one owner is whoever has this.
unsafe impl Send for Block {}

impl Block {
    fn take(size: usize, seed: u8) -> Self {
        let layout = Layout::from_size_align(size, 8).expect("a layout");
        let start = NonNull::new(granule::process_heap().alloc(layout)).expect("memory");
        // SAFETY: live, that large.
        unsafe { start.write_bytes(seed, size) };
        Self(start, layout, seed)
    }

    fn end(self) {
        let Self(start, layout, seed) = self;
        // SAFETY: live, that large, and of that layout.
        unsafe {
            let bytes = std::slice::from_raw_parts(start.as_ptr(), layout.size());
            assert!(bytes.iter().all(|byte| *byte == seed), "overwritten");
            granule::process_heap().dealloc(start, layout);
        }
    }
}

/// An even and an odd CPU that this process may run on, where it has both: those are
/// of different nodes where two are pretended.
fn sides() -> Vec<usize> {
    // SAFETY: all bits zero is an empty set.
    let mut all: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the set is ours, and so large.
    let got = unsafe { libc::sched_getaffinity(0, size_of_val(&all), &mut all) };
    assert_eq!(got, 0, "the kernel says where we may run");
    // SAFETY: below the size of a set.
    let may = |cpu: &usize| unsafe { libc::CPU_ISSET(*cpu, &all) };
    let first = |odd| (0..libc::CPU_SETSIZE as usize).filter(may).find(|cpu| cpu % 2 == odd);
    [0, 1].into_iter().filter_map(first).collect()
}

/// Keeps the calling thread on a CPU.
fn stay_on(cpu: usize) {
    // SAFETY: all bits zero is an empty set.
    let mut one: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: below the size of a set, as the CPU came out of one.
    unsafe { libc::CPU_SET(cpu, &mut one) };
    // SAFETY: the set is ours, and so large.
    let set = unsafe { libc::sched_setaffinity(0, size_of_val(&one), &one) };
    assert_eq!(set, 0, "a CPU that we may run on");
}

/// Threads in a ring, each of which frees what the one before it took. Returns
/// the nodes that blocks were on.
fn ring(threads: usize, rounds: usize) -> BTreeSet<u16> {
    let (senders, receivers): (Vec<_>, Vec<_>) =
        (0..threads).map(|_| mpsc::sync_channel::<Vec<Block>>(4)).unzip();
    let mut seen = BTreeSet::new();
    let sides = &sides();
    std::thread::scope(|scope| {
        let next = senders.into_iter().cycle().skip(1);
        let workers: Vec<_> = receivers
            .into_iter()
            .zip(next)
            .enumerate()
            .map(|(number, (from, to))| {
                scope.spawn(move || {
                    stay_on(sides[number % sides.len()]);
                    let mut nodes = BTreeSet::new();
                    for round in 0..rounds {
                        let size = |at: usize| [16, 64, 200, 1000, 9000, 70_000][at % 6];
                        let take = |at| Block::take(size(at), (number * 31 + round + at) as u8);
                        let blocks: Vec<_> = (0..150).map(take).collect();
                        let node = |block: &Block| {
                            granule::process_heap().node_of(block.0.as_ptr()).map(|node| node.0)
                        };
                        nodes.extend(blocks.iter().filter_map(node));
                        to.send(blocks).expect("the next one lives");
                        from.recv().expect("sent").into_iter().for_each(Block::end);
                    }
                    nodes
                })
            })
            .collect();
        for worker in workers {
            seen.extend(worker.join().expect("no panic"));
        }
    });
    seen
}

#[test]
fn child() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let seen = ring(6, 25);
    let heap = granule::process_heap();
    heap.reclaim();
    heap.check().expect("whole");
    assert!(heap.node_of(std::ptr::null()).is_none() && !seen.contains(&8));
    assert!(heap.node_of(std::ptr::null()) != Some(Node(0)));
    println!("nodes {seen:?} {:?}", granule::caches());
}

/// `BPF_LD | BPF_W | BPF_ABS`, `BPF_JMP | BPF_JEQ | BPF_K`, `BPF_RET | BPF_K`.
const LOAD: u16 = 0x20;
const EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;

/// Has the kernel answer these system calls with `EPERM` from now on, as
/// containers do.
fn refuse<const N: usize>(calls: [libc::c_long; N]) -> std::io::Result<()> {
    let step = |code, jt, k| libc::sock_filter { code, jt, jf: 0, k };
    // The number is the first word of what is looked at.
    let mut program = vec![step(LOAD, 0, 0)];
    for (at, call) in calls.iter().enumerate() {
        program.push(step(EQUAL, (N - at) as u8, *call as u32));
    }
    program.push(step(RETURN, 0, libc::SECCOMP_RET_ALLOW));
    program.push(step(RETURN, 0, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32));
    let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: a program of that length, which lives as long as the call.
    let refused = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0
            || libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter) != 0
    };
    if refused { Err(std::io::Error::last_os_error()) } else { Ok(()) }
}

/// What the child says with this value of `GRANULE_NUMA`, and this front end.
fn with(value: Option<&str>, front: &str, before: fn() -> std::io::Result<()>) -> String {
    let mut command = Command::new(std::env::current_exe().expect("a test has a file"));
    command.args(["child", "--exact", "--nocapture", "--test-threads=1"]).env(CHILD, "1");
    command.env("GRANULE_FRONTEND", front).env_remove("GRANULE_NUMA");
    command.envs(value.map(|value| ("GRANULE_NUMA", value)));
    // SAFETY: `before` makes system calls, and allocates by the C library's
    // `malloc`, which may be used after a fork.
    unsafe { command.pre_exec(before) };
    let output = command.output().expect("the child runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{value:?}, {front}: {text}{errors}");
    text.lines().find_map(|line| Some(line.split_once("nodes ")?.1.to_owned())).expect("its line")
}

fn allowed() -> std::io::Result<()> {
    Ok(())
}

/// Nodes of this machine, by the kernel's list of those with memory: `0`, `0-1`.
fn machine_has_one() -> bool {
    let list = std::fs::read_to_string("/sys/devices/system/node/has_memory");
    list.map_or(true, |list| list.trim() == "0")
}

#[test]
fn any_value_serves_a_program() {
    for value in [None, Some("local"), Some("interleave"), Some("off"), Some("8"), Some("")] {
        let said = with(value, "", allowed);
        if machine_has_one() || value == Some("off") || value == Some("interleave") {
            assert!(said.starts_with("{0}"), "{value:?}: {said}");
        }
    }
}

#[test]
fn where_the_kernel_refuses_there_is_one_node() {
    for value in [None, Some("local"), Some("interleave")] {
        let said = with(value, "", || refuse([libc::SYS_get_mempolicy, libc::SYS_mbind]));
        assert!(said.starts_with("{0}"), "{value:?}: {said}");
    }
    with(Some("local"), "", || refuse([libc::SYS_mbind]));
}

#[test]
fn two_nodes_can_be_pretended_with_either_front_end() {
    let several = sides().len() > 1;
    for front in ["rseq", "thread"] {
        let said = with(Some("pretend"), front, allowed);
        if several {
            assert!(said.starts_with("{0, 1}"), "{front}: {said}");
        }
    }
}
