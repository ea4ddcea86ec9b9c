//! Link flags of the shared library.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=layout.ld");
    let linux = std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "linux");
    if linux {
        // Never unloaded: blocks, thread keys and fork handlers outlive
        // `dlclose`. Bound at once: a lazy binding inside `malloc` would
        // enter the loader, which may allocate.
        // What the library calls of its own is its own: a program that wraps
        // `malloc` or `realloc` would be entered twice.
        let flags = ["-z,nodelete", "-z,now", "-Bsymbolic-functions", "-soname,libgranule.so"];
        // Where the library's pages lie in the kernel's windows, see the script.
        let layout = concat!("-T,", env!("CARGO_MANIFEST_DIR"), "/layout.ld");
        for flag in flags.into_iter().chain(["-z,separate-code", layout]) {
            println!("cargo:rustc-cdylib-link-arg=-Wl,{flag}");
        }
    }
}
