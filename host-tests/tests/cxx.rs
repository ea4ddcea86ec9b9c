//! Operators new and delete, from C++, in the three ways of linking.
#![cfg(target_os = "linux")]

use anyhow::{Result, ensure};
use granule_host_tests::{Linkage, Source};

granule_host_tests::suites! {
    /// Every form of the operators, `bad_alloc` and the new handler.
    operators => "cxx_new.cpp";
    /// Containers, threads, overaligned types and exceptions.
    programs => "cxx_use.cpp";
    /// granule.hpp: resources, allocators, heaps that end.
    heaps => "cxx_heaps.cpp";
}

/// Memory that a heap has from the process's waits in quarantine when it ends.
#[test]
fn heaps_end_in_the_tier_full() -> Result<()> {
    let case = "a_heap_ends_with_containers_that_are_left";
    let program = Source::new("cxx_heaps.cpp").program(Linkage::Dynamic)?;
    program.run()?.arg(case).env("GRANULE_CHECK", "full").success()?;
    Ok(())
}

/// The README's example, and the header in each standard that it says it suits.
#[test]
fn the_example_runs_and_the_header_suits_its_standards() -> Result<()> {
    for linkage in [Linkage::Dynamic, Linkage::Static] {
        let said = Source::new("example_requests.cpp").program(linkage)?.run()?.success()?;
        ensure!(said == "32 requests of 1000 words\n", "{said}");
        for standard in ["-std=c++11", "-std=c++14", "-std=c++17", "-std=gnu++20"] {
            let flags = [standard, "-pedantic"];
            let source = flags.into_iter().fold(Source::new("cxx_header.cpp"), Source::flag);
            source.program(linkage)?.run()?.success()?;
        }
        let bare = ["-fno-exceptions", "-fno-rtti"].into_iter();
        let source = bare.fold(Source::new("cxx_header.cpp"), Source::flag);
        source.program(linkage)?.run()?.success()?;
    }
    Ok(())
}
