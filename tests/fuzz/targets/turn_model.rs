//! The relay's pure server beside its model: allocations, permissions, channels, TCP
//! connections, clients that move, and held ports, in virtual time.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| medmesh_turn::fuzz::model(data));
