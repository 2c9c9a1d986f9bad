//! STUN and TURN messages and addresses (RFC 8489, RFC 8656).
#![no_main]

use libfuzzer_sys::fuzz_target;
use medmesh_turn::codec::{decode_xor_address, encode_xor_address};

fuzz_target!(|data: &[u8]| {
    medmesh_turn::fuzz::codec(data);
    let Some((transaction, value)) = data.split_first_chunk() else {
        return;
    };
    if let Some(address) = decode_xor_address(value, transaction) {
        let mut again = [0; 20];
        let length = encode_xor_address(address, transaction, &mut again);
        assert_eq!(again[1..length], value[1..], "{address}");
    }
});
