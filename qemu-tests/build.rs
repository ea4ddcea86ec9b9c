//! Links the kernel with its machine's scripts: a library's build script
//! cannot do that for it.

use std::env;

fn main() {
    let variable = |name| env::var(name).unwrap_or_default();
    if variable("CARGO_CFG_TARGET_OS") != "none" {
        return;
    }
    let (here, arch) = (variable("CARGO_MANIFEST_DIR"), variable("CARGO_CFG_TARGET_ARCH"));
    for script in ["link.ld", "defmt.ld"] {
        let script = format!("{here}/../targets/{arch}-virt/{script}");
        println!("cargo:rerun-if-changed={script}");
        println!("cargo:rustc-link-arg-bins=-T{script}");
    }
}
