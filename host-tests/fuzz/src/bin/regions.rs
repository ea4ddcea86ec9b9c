//! The fuzzer's target `regions`: see the library.

#![no_main]

libfuzzer_sys::fuzz_target!(|program: granule_fuzz::direct::Paged| {
    granule_fuzz::direct::regions(&program);
});
