//! The fuzzer's target `c_abi`: see the library.

#![no_main]

libfuzzer_sys::fuzz_target!(|program: granule_fuzz::c_abi::Program| {
    granule_fuzz::c_abi::run(&program);
});
