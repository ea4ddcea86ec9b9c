//! The patterns on granule as Rust's global allocator.

#[global_allocator]
static GLOBAL: granule::Granule = granule::Granule::new();

fn main() -> impl std::process::Termination {
    granule_patterns::main()
}
