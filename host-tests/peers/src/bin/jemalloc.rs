//! The patterns on jemalloc as Rust's global allocator.

#[global_allocator]
static GLOBAL: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> impl std::process::Termination {
    granule_patterns::main()
}
