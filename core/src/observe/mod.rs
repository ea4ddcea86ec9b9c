//! Beside the layers: looking at a heap.

pub mod stats;
