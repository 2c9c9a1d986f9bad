//! What object storage answers about locks and versions.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| medmesh_control::fuzz::answers(data));
