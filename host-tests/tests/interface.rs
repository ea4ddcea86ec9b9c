//! The header, the exported names, and the shape of the shared library.
#![cfg(target_os = "linux")]

use std::collections::BTreeSet;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use granule_host_tests::{Linkage, Source, library};

granule_host_tests::suites! {
    /// `granule_version`, `granule_get_stats`, and that granule serves at all.
    stats => "stats.c";
}

/// Compiles and runs the header's program in one standard.
fn header_in(language: &str, standard: &str) -> Result<()> {
    for order in ["-DSYSTEM_HEADERS_FIRST", "-DGRANULE_FIRST"] {
        let source = ["-x", language, standard, "-pedantic", order]
            .into_iter()
            .fold(Source::new("header.c"), Source::flag);
        for linkage in [Linkage::Dynamic, Linkage::Static] {
            let program = source.program(linkage)?;
            program.run()?.success().with_context(|| format!("{standard} {order}"))?;
        }
    }
    Ok(())
}

#[test]
fn the_header_suits_c() -> Result<()> {
    ["-std=c89", "-std=c99", "-std=c11", "-std=gnu17", "-std=c2x"]
        .iter()
        .try_for_each(|standard| header_in("c", standard))
}

#[test]
fn the_header_suits_cxx() -> Result<()> {
    ["-std=c++98", "-std=c++11", "-std=gnu++17", "-std=c++20"]
        .iter()
        .try_for_each(|standard| header_in("c++", standard))
}

/// The C interface.
const C_NAMES: &[&str] = &[
    "malloc",
    "free",
    "calloc",
    "realloc",
    "reallocarray",
    "aligned_alloc",
    "posix_memalign",
    "memalign",
    "valloc",
    "pvalloc",
    "malloc_usable_size",
    "malloc_trim",
    "mallinfo",
    "mallinfo2",
    "malloc_info",
    "malloc_stats",
    "mallopt",
    "free_sized",
    "free_aligned_sized",
    "cfree",
    "granule_version",
    "granule_get_stats",
    "granule_check",
    "granule_heap_new",
    "granule_heap_new_with",
    "granule_heap_delete",
    "granule_heap_destroy",
    "granule_heap_reset",
    "granule_heap_malloc",
    "granule_heap_calloc",
    "granule_heap_realloc",
    "granule_heap_aligned_alloc",
    "granule_heap_free",
    "granule_heap_free_sized",
    "granule_heap_free_aligned_sized",
    "granule_heap_of",
    "granule_heap_contains",
    "granule_heap_cap",
    "granule_heap_get_stats",
    "granule_pool_create",
    "granule_pool_create_fixed",
    "granule_pool_identify",
    "granule_pool_reset",
    "granule_pool_destroy",
    "granule_pool_fault",
];

/// The C++ operators in the Itanium ABI's spelling.
const CXX_NAMES: &[&str] = &[
    "_Znwm",
    "_Znam",
    "_ZnwmSt11align_val_t",
    "_ZnamSt11align_val_t",
    "_ZdlPv",
    "_ZdaPv",
    "_ZdlPvm",
    "_ZdaPvm",
    "_ZdlPvRKSt9nothrow_t",
    "_ZdaPvRKSt9nothrow_t",
    "_ZdlPvSt11align_val_t",
    "_ZdaPvSt11align_val_t",
    "_ZdlPvmSt11align_val_t",
    "_ZdaPvmSt11align_val_t",
    "_ZdlPvSt11align_val_tRKSt9nothrow_t",
    "_ZdaPvSt11align_val_tRKSt9nothrow_t",
];

fn tool(program: &str, args: &[&str]) -> Result<String> {
    let shared = library::shared()?;
    let output = Command::new(program).args(args).arg(shared).output();
    let output = output.with_context(|| format!("start {program}"))?;
    ensure!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).context("output of a binary tool")
}

#[test]
fn the_library_exports_its_interface_and_nothing_else() -> Result<()> {
    let symbols = tool("nm", &["-D", "--defined-only", "--format=posix"])?;
    let exported: BTreeSet<&str> =
        symbols.lines().filter_map(|line| line.split([' ', '@']).next()).collect();
    let expected: BTreeSet<&str> = C_NAMES.iter().chain(CXX_NAMES).copied().collect();
    let missing: Vec<_> = expected.difference(&exported).collect();
    let extra: Vec<_> = exported.difference(&expected).collect();
    ensure!(missing.is_empty() && extra.is_empty(), "missing {missing:?}, too many {extra:?}");
    Ok(())
}

#[test]
fn the_library_needs_only_the_c_library() -> Result<()> {
    let dynamic = tool("readelf", &["-dW"])?;
    for line in dynamic.lines().filter(|line| line.contains("(NEEDED)")) {
        let known = ["[libc.so.6]", "[ld-linux-x86-64.so.2]", "[ld-linux-aarch64.so.1]"];
        ensure!(known.iter().any(|name| line.contains(name)), "{line}");
    }
    Ok(())
}

#[test]
fn the_library_binds_at_once_and_stays_loaded() -> Result<()> {
    // Lazy binding would resolve, and perhaps allocate, inside an allocation;
    // unloading would pull code from under threads and exit handlers.
    let dynamic = tool("readelf", &["-dW"])?;
    ensure!(dynamic.contains("NOW"), "not linked with -z now:\n{dynamic}");
    ensure!(dynamic.contains("NODELETE"), "not linked with -z nodelete:\n{dynamic}");
    Ok(())
}
