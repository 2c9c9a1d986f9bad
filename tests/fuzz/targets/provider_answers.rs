//! Outside providers of identity: their addresses, documents, keys and tokens.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| medmesh_control::fuzz::provider(data));
