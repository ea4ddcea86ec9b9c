//! The fuzzer's target `frames`: see the library.

#![no_main]

libfuzzer_sys::fuzz_target!(|program: granule_fuzz::frames::Program| {
    granule_fuzz::frames::run(&program);
});
