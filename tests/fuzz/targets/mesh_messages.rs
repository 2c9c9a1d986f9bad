//! Length-delimited mesh messages as they come off a stream.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| medmesh_edge::fuzz::mesh_stream(data));
