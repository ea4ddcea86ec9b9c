//! The patterns on snmalloc as Rust's global allocator.

#[global_allocator]
static GLOBAL: snmalloc_rs::SnMalloc = snmalloc_rs::SnMalloc;

fn main() -> impl std::process::Termination {
    granule_patterns::main()
}
