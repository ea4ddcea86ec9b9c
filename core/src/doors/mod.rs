//! Above the layers: the ways in that Rust knows.

mod global_alloc;
