//! The patterns on the C library's `malloc` of this process: whichever library
//! was preloaded serves, so that one binary measures all.

use anyhow::Result;

fn main() -> Result<()> {
    granule_patterns::main()
}
