//! STUN and channel data framed on TCP and TLS, cut anywhere (RFC 8489 §6.2.2, RFC 8656 §12.5).
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| medmesh_turn::fuzz::stream(data));
