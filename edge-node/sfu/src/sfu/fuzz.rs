//! What the fuzzer drives: bytes in, a panic if a promise is broken.
//!
//! Compiled for tests and with `--cfg fuzzing` only.

use std::time::Instant;

use crate::control::{self, Heard};
use crate::join::ResourceId;
use crate::mesh::{Body, Reassembly};
use crate::sfu::Sfu;

/// Reads `data` as the body of a media datagram; what reads is written back the same, and
/// comes out of fragments whole.
pub fn mesh_body(data: &[u8]) {
    let Ok(body) = Body::parse(data) else { return };
    let written = body.write();
    assert_eq!(&written[..], data, "one body has one form");
    if body.fragment.is_some() {
        let mut dropped = 0;
        let _ = Reassembly::default().add(&body, &mut dropped);
        return;
    }
    for datagram_max in [0, 16, 40, 1_200] {
        let parts = body.split(datagram_max);
        let mut reassembly = Reassembly::default();
        let mut whole = None;
        for (number, part) in parts.iter().enumerate() {
            assert!(
                part.len() <= datagram_max,
                "{} bytes in {datagram_max}",
                part.len()
            );
            let part = Body::parse(part).expect("what we write we read");
            assert_eq!((part.sequence, part.timestamp), (body.sequence, body.timestamp));
            if part.fragment.is_none() {
                assert_eq!(part, body);
            } else {
                let done = reassembly.add(&part, &mut 0);
                assert_eq!(done.is_some(), number + 1 == parts.len());
                whole = done;
            }
        }
        if parts.len() > 1 {
            assert_eq!(whole.as_deref(), Some(body.payload));
        }
    }
}

/// Reads `data` as a message of the `control` channel.
pub fn control_message(data: &[u8]) {
    if let Some(Heard::Wish { video }) = control::parse(data) {
        assert!(video.len() <= 64, "wishes are bounded");
    }
}

impl Sfu {
    /// As if ICE and DTLS of the connection had come up. False when there is no such connection.
    pub fn fuzz_connect(&mut self, resource: ResourceId) -> bool {
        let now = self.now;
        let found = self.resources.get(&resource).copied();
        let Some(connection) = found.and_then(|key| self.connections.get_mut(&key)) else {
            return false;
        };
        connection.connected_at.get_or_insert(now);
        let room = connection.room;
        self.mark(room);
        true
    }

    /// A message came on the connection's `control` channel.
    pub fn fuzz_control(&mut self, now: Instant, resource: ResourceId, message: &[u8]) {
        self.advance(now);
        if let Some(key) = self.resources.get(&resource).copied() {
            self.handle_control(key, message);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn random_bytes_break_nothing(mut data in prop::collection::vec(any::<u8>(), 0..200)) {
            super::control_message(&data);
            super::mesh_body(&data);
            if let [flags, codec, ..] = &mut data[..] {
                (*flags, *codec) = (*flags & 0xF8, *codec % 6);
            }
            super::mesh_body(&data);
        }
    }
}
