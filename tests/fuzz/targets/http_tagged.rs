//! Challenges and cookies that the cluster tags: only what it wrote is believed, as it wrote it.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| medmesh_control::fuzz::tagged(data));
