//! The body of a media datagram between edges.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| medmesh_sfu::fuzz::mesh_body(data));
