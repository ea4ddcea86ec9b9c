//! A long run in phases, each with other sizes, of which a few blocks survive.
//!
//! After the way fragmentation is studied (Johnstone and Wilson, "The Memory
//! Fragmentation Problem: Solved?", ISMM 1998; Powers and others, "Mesh",
//! PLDI 2019, whose Redis load changes its sizes): what is resident at the end
//! is compared with what lives.

use super::{SCALE, Workload};
use crate::block::Block;
use crate::memory;
use crate::random::Random;
use crate::team::{End, Took, share, together};
use std::sync::Mutex;
use std::thread::sleep;
use std::time::Duration;

/// Sizes of the phases: any from half to one and a half of these.
const SIZES: [usize; 8] = [64, 400, 32, 2000, 160, 8000, 96, 900];
/// One block in so many survives its phase.
const SURVIVOR: usize = 16;
/// What remains is measured after a while in which little happens.
const IDLE: usize = 25;

/// The phases.
pub(crate) const PHASES: Workload = Workload {
    name: "phases",
    about: "KiB taken, in eight phases of other sizes, one block in 16 surviving",
    threads: SCALE,
    operations: 400_000,
    run,
};

fn run(threads: usize, operations: u64) -> Took {
    let survivors = Mutex::new(Vec::new());
    let mut took = together(threads, |number| {
        let mut random = Random::new(number);
        let mut mine = Vec::new();
        let bytes = share(operations, threads) as usize * 1024 / SIZES.len();
        for size in SIZES {
            // Half of what a phase takes lives at its end, the other half is
            // replaced on the way.
            let mut blocks: Vec<Block> = Vec::with_capacity(bytes / size / 2 + 1);
            let mut taken = 0;
            while taken < bytes {
                let mut block = Block::new(size / 2 + random.below(size));
                block.fill();
                taken += block.size();
                if blocks.len() < bytes / size / 2 {
                    blocks.push(block);
                } else if !blocks.is_empty() {
                    let at = random.below(blocks.len());
                    blocks[at] = block;
                }
            }
            blocks.retain(|_| random.below(SURVIVOR) == 0);
            mine.append(&mut blocks);
        }
        survivors.lock().expect("nobody panics while holding them").append(&mut mine);
    });
    let survivors = survivors.into_inner().expect("nobody panicked");
    // A process that idles along: whoever gives memory back late has its
    // occasions. Asleep, so it costs no time that anybody reports.
    for _ in 0..IDLE {
        sleep(Duration::from_millis(10));
        drop((0..64).map(|at| Block::new(64 << (at % 12))).collect::<Vec<_>>());
    }
    let live: usize = survivors.iter().map(Block::size).sum();
    let resident_kib = memory::resident_kib().expect("the kernel tells what is resident");
    took.end = Some(End { resident_kib, live_kib: live as u64 / 1024 });
    took
}
