//! Uses the other three crates; what it prints must not depend on an allocator.

fn main() {
    println!("{}", words::most_frequent(20_000));
    println!("{}", trees::depths(5_000));
    println!("{}", threads::sum_of_parts(8, 2_000));
}
