//! Attributes: type, length, value, padding (RFC 8489 §14).
#![expect(
    missing_docs,
    reason = "constants are the attributes of their names, RFC 8489 §18.3 and RFC 8656 §18"
)]

use super::message::{HEADER_BYTES, Message};
use super::{DecodeError, integrity, padded};

pub const USERNAME: u16 = 0x0006;
pub const MESSAGE_INTEGRITY: u16 = 0x0008;
pub const ERROR_CODE: u16 = 0x0009;
pub const UNKNOWN_ATTRIBUTES: u16 = 0x000A;
pub const CHANNEL_NUMBER: u16 = 0x000C;
pub const LIFETIME: u16 = 0x000D;
pub const XOR_PEER_ADDRESS: u16 = 0x0012;
pub const DATA: u16 = 0x0013;
pub const REALM: u16 = 0x0014;
pub const NONCE: u16 = 0x0015;
pub const XOR_RELAYED_ADDRESS: u16 = 0x0016;
pub const REQUESTED_ADDRESS_FAMILY: u16 = 0x0017;
pub const DONT_FRAGMENT: u16 = 0x001A;
pub const EVEN_PORT: u16 = 0x0018;
pub const REQUESTED_TRANSPORT: u16 = 0x0019;
pub const MESSAGE_INTEGRITY_SHA256: u16 = 0x001C;
pub const PASSWORD_ALGORITHM: u16 = 0x001D;
pub const USERHASH: u16 = 0x001E;
pub const XOR_MAPPED_ADDRESS: u16 = 0x0020;
pub const RESERVATION_TOKEN: u16 = 0x0022;
pub const CONNECTION_ID: u16 = 0x002A;
pub const ADDITIONAL_ADDRESS_FAMILY: u16 = 0x8000;
pub const ADDRESS_ERROR_CODE: u16 = 0x8001;
pub const PASSWORD_ALGORITHMS: u16 = 0x8002;
pub const ALTERNATE_DOMAIN: u16 = 0x8003;
pub const ALTERNATE_SERVER: u16 = 0x8023;
pub const ICMP: u16 = 0x8004;
pub const MOBILITY_TICKET: u16 = 0x8030;
/// ADDITIONAL-ADDRESS-FAMILY in the drafts before RFC 8656; coturn still sends it.
pub const ADDITIONAL_ADDRESS_FAMILY_DRAFT: u16 = 0x8032;
pub const FINGERPRINT: u16 = 0x8028;

/// Type and length in front of each value.
pub(super) const ATTRIBUTE_HEADER_BYTES: usize = 4;

/// One attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attribute<'a> {
    /// Its type.
    pub kind: u16,
    /// Its value, without padding.
    pub value: &'a [u8],
    /// Where it starts, in bytes from the start of the message.
    pub offset: usize,
}

/// Walks attributes; ends early at one that is cut off, which [`super::decode`] has ruled out.
#[derive(Clone, Debug)]
pub struct Attributes<'a> {
    body: &'a [u8],
    at: usize,
}

impl<'a> Attributes<'a> {
    pub(super) fn new(body: &'a [u8]) -> Self {
        Self { body, at: 0 }
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Attribute<'a>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let (&[k1, k0, l1, l0], rest) = self.body.get(self.at..)?.split_first_chunk()?;
        let length = usize::from(u16::from_be_bytes([l1, l0]));
        let value = rest.get(..length)?;
        let offset = HEADER_BYTES + self.at;
        self.at += ATTRIBUTE_HEADER_BYTES + padded(length);
        Some(Attribute {
            kind: u16::from_be_bytes([k1, k0]),
            value,
            offset,
        })
    }
}

/// Whether the attributes fill the message exactly, and the fingerprint is last and right.
pub(super) fn check(message: Message<'_>) -> Result<(), DecodeError> {
    let mut attributes = message.attributes();
    while let Some(attribute) = attributes.next() {
        if attribute.kind == FINGERPRINT {
            let last = attributes.at == attributes.body.len();
            let expected = integrity::fingerprint(&message.bytes()[..attribute.offset]);
            if !last || attribute.value != expected.to_be_bytes() {
                return Err(DecodeError::Fingerprint);
            }
        }
    }
    if attributes.at == attributes.body.len() {
        Ok(())
    } else {
        Err(DecodeError::Attribute)
    }
}
