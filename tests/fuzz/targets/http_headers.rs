//! The headers that are read: cookies and tokens, conditions, idempotency keys, what is accepted, who is behind a proxy.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| medmesh_control::fuzz::headers(data));
