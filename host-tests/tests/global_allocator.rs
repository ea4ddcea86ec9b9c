//! A Rust program whose global allocator is granule: this one, its test
//! harness included.

use std::collections::{BTreeMap, HashMap};
use std::sync::mpsc::channel;
use std::thread;

#[global_allocator]
static GLOBAL: granule::Granule = granule::Granule::new();

/// Strings made in one thread, sorted in a second, dropped in a third.
#[test]
fn values_live_in_one_thread_and_end_in_another() {
    let (to_sort, unsorted) = channel::<String>();
    let (to_drop, sorted) = channel::<BTreeMap<String, Vec<usize>>>();
    let maker = thread::spawn(move || {
        for number in 0..20_000usize {
            to_sort.send(format!("{:x}", number.wrapping_mul(40_503) % 5_000)).expect("a sorter");
        }
    });
    let sorter = thread::spawn(move || {
        let mut places = BTreeMap::<String, Vec<usize>>::new();
        for (place, word) in unsorted.iter().enumerate() {
            places.entry(word).or_default().push(place);
        }
        to_drop.send(places).expect("somebody who drops");
    });
    let dropper = thread::spawn(move || {
        let places = sorted.recv().expect("a map");
        let words = places.len();
        assert!(words > 1000 && places.values().map(Vec::len).sum::<usize>() == 20_000);
        words
    });
    maker.join().expect("no panic");
    sorter.join().expect("no panic");
    assert!(dropper.join().expect("no panic") <= 5_000);
}

#[test]
fn what_grows_and_shrinks_keeps_its_contents() {
    let mut numbers = Vec::new();
    for number in 0..3_000_000u32 {
        numbers.push(number);
    }
    numbers.truncate(1_000);
    numbers.shrink_to_fit();
    assert!(numbers.iter().enumerate().all(|(at, &number)| at == number as usize));
    let zeros = vec![0u8; 9 << 20];
    assert!(zeros.iter().all(|&zero| zero == 0));
    let squares: HashMap<u64, u64> = (0..50_000).map(|number| (number, number * number)).collect();
    assert_eq!(squares.get(&49_999), Some(&2_499_900_001));
}

#[test]
fn impossible_sizes_are_errors_not_ends() {
    let mut bytes = Vec::<u8>::new();
    assert!(bytes.try_reserve_exact(isize::MAX as usize).is_err());
    assert!(bytes.try_reserve_exact(1 << 46).is_err());
    bytes.try_reserve_exact(1 << 20).expect("memory");
}

#[test]
fn the_heap_is_the_processs_and_threads_or_cpus_have_caches() {
    let block = Box::new([7u64; 32]);
    assert!(granule::process_heap().stats().live_bytes() >= size_of_val(&*block));
    assert_ne!(granule::caches(), granule::Caches::Open);
}
