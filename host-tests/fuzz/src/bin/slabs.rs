//! The fuzzer's target `slabs`: see the library.

#![no_main]

libfuzzer_sys::fuzz_target!(|program: granule_fuzz::direct::Small| {
    granule_fuzz::direct::slabs(&program);
});
