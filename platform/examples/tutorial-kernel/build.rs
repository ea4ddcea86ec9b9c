//! Links the kernel where its boot code expects it.

use std::env;

fn main() {
    let variable = |name| env::var(name).unwrap_or_default();
    if variable("CARGO_CFG_TARGET_OS") == "none" {
        let script = format!("{}/link.ld", variable("CARGO_MANIFEST_DIR"));
        println!("cargo:rerun-if-changed={script}");
        // The target's default is a program that relocates itself.
        for argument in ["-no-pie", "-znorelro", &format!("-T{script}")] {
            println!("cargo:rustc-link-arg-bins={argument}");
        }
    }
}
