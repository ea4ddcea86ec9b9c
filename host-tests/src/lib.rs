//! Host tests of granule.
