//! What a process pays before it has done anything: after `true`, run in a
//! loop, which is what a shell script or a build is to an allocator.

use super::Workload;
use crate::team::{Took, share, together};
use std::env;
use std::process::Command;

/// The argument with which this program ends at once.
pub(crate) const NOTHING: &str = "nothing";

/// Processes one after the other.
pub(crate) const START: Workload = Workload {
    name: "start",
    about: "a process started that does nothing, and its end",
    threads: &[1],
    operations: 150,
    run,
};

fn run(threads: usize, operations: u64) -> Took {
    let program = env::current_exe().expect("a process knows its program");
    together(threads, |_| {
        for _ in 0..share(operations, threads) {
            let done = Command::new(&program).arg(NOTHING).status();
            assert!(
                done.is_ok_and(|status| status.success()),
                "a process that does nothing failed"
            );
        }
    })
}
