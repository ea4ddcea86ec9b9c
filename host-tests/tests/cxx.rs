//! Operators new and delete, from C++, in the three ways of linking.
#![cfg(target_os = "linux")]

granule_host_tests::suites! {
    /// Every form of the operators, `bad_alloc` and the new handler.
    operators => "cxx_new.cpp";
    /// Containers, threads, overaligned types and exceptions.
    programs => "cxx_use.cpp";
}
