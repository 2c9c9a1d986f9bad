//! The relay's pure server: clients, peers, noise and time.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| medmesh_turn::fuzz::server(data));
