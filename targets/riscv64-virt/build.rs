//! Links the examples as kernels. A kernel in another package passes the
//! script itself: a library's build script cannot.

use std::env;

fn main() {
    println!("cargo:rerun-if-changed=link.ld");
    if env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("none") {
        let folder = env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
        println!("cargo:rustc-link-arg-examples=-T{folder}/link.ld");
    }
}
