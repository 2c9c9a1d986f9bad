//! Every query string and the one form a route takes.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| medmesh_control::fuzz::queries(data));
