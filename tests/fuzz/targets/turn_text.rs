//! What operators and clients write for a relay: secrets, rules for peers, user names.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| medmesh_turn::fuzz::text(data));
