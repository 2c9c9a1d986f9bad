//! What control nodes send each other, and snapshot files.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| medmesh_consensus::fuzz::messages(data));
