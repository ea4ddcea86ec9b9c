//! Several threads play random programs on one heap, each against a shadow of
//! its own, and free each other's blocks. Afterwards everything adds up.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use granule_core::{Config, Heap};
use granule_host_tests::model::faulty::Faulty;
use granule_host_tests::model::fixtures::{HoppingCpus, heap};
use granule_host_tests::model::script::{Random, play};
use granule_host_tests::model::{Block, Free, Shadow, check_empty};

const THREADS: usize = 6;

/// Plays, and hands every few steps some blocks to the next thread, which
/// verifies them, keeps them for a while, and frees them.
fn player<C: Config>(
    heap: &Heap<C>,
    seed: u64,
    rounds: usize,
    give: &Sender<Block>,
    take: &Receiver<Block>,
) {
    let mut shadow = Shadow::new(heap);
    let mut random = Random::new(seed);
    for round in 0..rounds {
        let failures = play(&mut shadow, &mut random, 60, 120, 300_000);
        assert_eq!(failures, 0);
        for _ in 0..random.below(40) {
            if let Some(block) = shadow.leave(random.below(1 << 20)) {
                give.send(block).expect("the next thread plays on");
            }
        }
        for block in take.try_iter() {
            block.verify(usize::MAX);
            shadow.enter(block);
            if round.is_multiple_of(2) {
                shadow.free(random.below(1 << 20), Free::Unsized);
            }
        }
    }
    shadow.free_all(seed as usize);
}

/// A game of all threads. What is still on its way at the end is freed here.
fn game<C: Config>(heap: &'static Heap<C>, seed: u64, rounds: usize) {
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..THREADS).map(|_| channel::<Block>()).unzip();
    let left: Vec<Receiver<Block>> = thread::scope(|scope| {
        let players: Vec<_> = receivers
            .into_iter()
            .enumerate()
            .map(|(number, take)| {
                let give = senders[(number + 1) % THREADS].clone();
                scope.spawn(move || {
                    player(heap, seed * 1000 + number as u64, rounds, &give, &take);
                    take
                })
            })
            .collect();
        players.into_iter().map(|player| player.join().expect("a player failed")).collect()
    });
    drop(senders);
    let mut rest = Shadow::new(heap);
    for block in left.iter().flat_map(Receiver::try_iter) {
        block.verify(usize::MAX);
        rest.enter(block);
    }
    rest.check_counts();
    rest.free_all(seed as usize);
}

fn rounds() -> usize {
    60 * granule_host_tests::scale() as usize
}

#[test]
fn on_the_process_heap() {
    for seed in 1..4 {
        game(granule::process_heap(), seed, rounds());
        // The players are gone, and with them their caches.
        check_empty(granule::process_heap());
    }
}

#[test]
fn on_a_heap_beside_it() {
    static HEAP: granule::Heap = granule::new_heap();
    for seed in 4..7 {
        game(&HEAP, seed, rounds());
        // The players' numbers keep their caches for the next threads.
        HEAP.reclaim();
        let stats = HEAP.stats();
        assert_eq!(stats.live_bytes(), 0, "{stats:?}");
    }
}

#[test]
fn on_hopping_cpus() {
    let heap = heap::<_, HoppingCpus>(Faulty::new(usize::MAX));
    for seed in 7..10 {
        game(heap, seed, rounds());
        check_empty(heap);
    }
}

#[test]
fn on_hopping_cpus_while_one_thread_reclaims() {
    let heap = heap::<_, HoppingCpus>(Faulty::new(usize::MAX));
    let done = std::sync::atomic::AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                heap.reclaim();
                assert!(heap.stats().live_bytes() < 1 << 30);
            }
        });
        let game = scope.spawn(|| game_without_counts(heap, 10, rounds()));
        let result = game.join();
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        result.expect("the game failed");
    });
    check_empty(heap);
}

/// A game while somebody else uses the heap as well.
fn game_without_counts<C: Config>(heap: &'static Heap<C>, seed: u64, rounds: usize) {
    thread::scope(|scope| {
        for number in 0..THREADS as u64 {
            scope.spawn(move || {
                let mut shadow = Shadow::new(heap);
                let mut random = Random::new(seed * 1000 + number);
                let failures = play(&mut shadow, &mut random, rounds * 60, 120, 300_000);
                assert_eq!(failures, 0);
                shadow.free_all(number as usize);
            });
        }
    });
}
