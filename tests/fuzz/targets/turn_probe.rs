//! What a relay answers to whoever asks whether it serves.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| medmesh_turn::fuzz::probe(data));
