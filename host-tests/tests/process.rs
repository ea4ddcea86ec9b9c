//! Threads, forks, signals, and the edges of a process's life.
#![cfg(target_os = "linux")]

granule_host_tests::suites! {
    /// Short threads, a thousand at once, cross-thread frees, signals.
    threads => "threads.c";
    /// fork, exec and spawn while other threads allocate.
    fork => "fork.c";
    /// Before main, exit handlers, thread-specific data, cancellation.
    life => "life.c";
    /// Static and thread-local C++ objects.
    life_cxx => "life_cxx.cpp";
}
