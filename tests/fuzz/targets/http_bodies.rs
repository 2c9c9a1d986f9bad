//! Every JSON body a route takes: nested no deeper than allowed, and no refusal repeats what was sent.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| medmesh_control::fuzz::bodies(data));
