//! The patterns on mimalloc as Rust's global allocator.

#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> impl std::process::Termination {
    granule_patterns::main()
}
