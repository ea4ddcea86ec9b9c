//! Counts generated words.

use std::collections::BTreeMap;

/// The most frequent of `count` generated words.
pub fn most_frequent(count: u64) -> String {
    let mut seen: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for at in 0..count {
        let word = format!("word{}", (at * at * 31 + at) % 613);
        seen.entry(word).or_default().push(at);
    }
    let mut all: Vec<_> = seen.into_iter().map(|(word, places)| (places.len(), word)).collect();
    all.sort();
    all.into_iter().rev().take(5).map(|(n, word)| format!("{word}={n} ")).collect()
}
