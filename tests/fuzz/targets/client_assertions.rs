//! What a machine signs to be let in, and what others would like to have signed.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| medmesh_control::fuzz::assertions(data));
