//! The fuzzer's target `heap`: see the library.

#![no_main]

libfuzzer_sys::fuzz_target!(|program: granule_fuzz::heap::Program| {
    granule_fuzz::heap::run(&program);
});
