//! The committed corpus, and programs made of random bytes: what the fuzzer
//! does, as far as a stable compiler and a few seconds go.

use std::path::Path;

use granule_fuzz::{c_abi, direct, early, frames, heap, replay};
use granule_host_tests::model::script::Random;

/// Runs what lies in the corpus of a target.
fn corpus(target: &str, run: impl Fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .expect("a corpus")
        .map(|entry| entry.expect("a file").path())
        .collect();
    files.sort();
    assert!(files.len() >= 20, "{} is nearly empty", folder.display());
    for file in files {
        run(&std::fs::read(&file).expect("readable"));
    }
}

/// Runs programs of random bytes.
fn random(programs: u64, run: impl Fn(&[u8])) {
    for seed in 0..programs {
        let mut random = Random::new(seed);
        let len = 16 + random.below(4096);
        run(&(0..len).map(|_| random.below(256) as u8).collect::<Vec<_>>());
    }
}

#[test]
fn the_heap_s_corpus_and_random_programs() {
    corpus("heap", |bytes| replay(bytes, heap::run));
    random(3_000, |bytes| replay(bytes, heap::run));
}

#[test]
fn the_frames_corpus_and_random_programs() {
    corpus("frames", |bytes| replay(bytes, frames::run));
    random(3_000, |bytes| replay(bytes, frames::run));
}

#[test]
fn the_slab_layer_s_corpus_and_random_programs() {
    corpus("slabs", |bytes| replay(bytes, direct::slabs));
    random(500, |bytes| replay(bytes, direct::slabs));
}

#[test]
fn the_region_engine_s_corpus_and_random_programs() {
    corpus("regions", |bytes| replay(bytes, direct::regions));
    random(300, |bytes| replay(bytes, direct::regions));
}

#[test]
fn the_early_heap_s_corpus_and_random_programs() {
    corpus("early", |bytes| replay(bytes, early::run));
    random(1_000, |bytes| replay(bytes, early::run));
}

#[test]
fn the_c_interface_s_corpus_and_random_programs() {
    corpus("c_abi", |bytes| replay(bytes, c_abi::run));
    random(300, |bytes| replay(bytes, c_abi::run));
}
