//! What our own clients read of a server: events, links, metrics; and a machine's key file.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| medmesh_api_client::fuzz::answers(data));
