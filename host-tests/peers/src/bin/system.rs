//! The patterns on the system's allocator as Rust's global allocator.

#[global_allocator]
static GLOBAL: std::alloc::System = std::alloc::System;

fn main() -> impl std::process::Termination {
    granule_patterns::main()
}
