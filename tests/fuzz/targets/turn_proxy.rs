//! The header of the PROXY protocol, version 2, that a balancer puts in front of a connection.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| medmesh_turn::fuzz_proxy_header(data));
