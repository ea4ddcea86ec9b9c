//! The patterns on rpmalloc as Rust's global allocator.

#[global_allocator]
static GLOBAL: rpmalloc::RpMalloc = rpmalloc::RpMalloc;

fn main() -> impl std::process::Termination {
    granule_patterns::main()
}
