//! The file of the root keys.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| medmesh_vault::fuzz::key_file(data));
