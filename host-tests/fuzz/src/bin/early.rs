//! The fuzzer's target `early`: see the library.

#![no_main]

libfuzzer_sys::fuzz_target!(|program: granule_fuzz::early::Program| {
    granule_fuzz::early::run(&program);
});
