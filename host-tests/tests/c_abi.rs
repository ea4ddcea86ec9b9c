//! The C interface, from C, in the three ways of linking.
#![cfg(target_os = "linux")]

granule_host_tests::suites! {
    /// malloc, calloc, realloc, reallocarray, free.
    malloc => "abi_malloc.c";
    /// aligned_alloc, posix_memalign, memalign, valloc, pvalloc.
    aligned => "abi_aligned.c";
    /// Sized frees, malloc.h, and what the C library allocates itself.
    extra => "abi_extra.c";
}
