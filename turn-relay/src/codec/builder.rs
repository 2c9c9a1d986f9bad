//! Writing messages.

use std::net::SocketAddr;

use super::attribute as kind;
use super::integrity::{IntegrityKind, fingerprint};
use super::message::{Class, HEADER_BYTES, Method, TransactionId, message_type};
use super::{MAGIC_COOKIE, encode_xor_address, padded};

/// A message being written. Attributes go in in the order of the calls; integrity, then
/// fingerprint, come last.
#[derive(Clone, Debug)]
pub struct Builder {
    bytes: Vec<u8>,
    transaction: TransactionId,
}

impl Builder {
    /// An empty message.
    #[must_use]
    pub fn new(class: Class, method: Method, transaction: TransactionId) -> Self {
        // Fits every response the server makes, so that none grows while it is written.
        let mut bytes = Vec::with_capacity(192);
        bytes.extend_from_slice(&message_type(class, method).to_be_bytes());
        bytes.extend_from_slice(&[0, 0]);
        bytes.extend_from_slice(&MAGIC_COOKIE.to_be_bytes());
        bytes.extend_from_slice(&transaction);
        Self { bytes, transaction }
    }

    /// Appends an attribute with its padding.
    ///
    /// # Panics
    /// When the message would pass 65,535 bytes.
    #[must_use]
    pub fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        let length = u16::try_from(value.len()).expect("an attribute is at most 65,535 bytes");
        self.bytes.extend_from_slice(&kind.to_be_bytes());
        self.bytes.extend_from_slice(&length.to_be_bytes());
        self.bytes.extend_from_slice(value);
        self.bytes.resize(padded(self.bytes.len()), 0);
        let body = u16::try_from(self.bytes.len() - HEADER_BYTES).expect("a message is at most 65,535 bytes");
        self.bytes[2..4].copy_from_slice(&body.to_be_bytes());
        self
    }

    /// Appends an XOR address attribute.
    #[must_use]
    pub fn address(self, kind: u16, address: SocketAddr) -> Self {
        let mut value = [0; 20];
        let length = encode_xor_address(address, &self.transaction, &mut value);
        self.attribute(kind, &value[..length])
    }

    /// Appends ERROR-CODE with an empty reason phrase: the reason is for people, nobody
    /// reads it off the wire, and an answer should be no larger than it must.
    #[must_use]
    pub fn error_code(self, code: u16) -> Self {
        let [class, number] = [(code / 100) as u8, (code % 100) as u8];
        self.attribute(kind::ERROR_CODE, &[0, 0, class, number])
    }

    /// Appends the integrity attribute of `kind` under `key`.
    #[must_use]
    pub fn integrity(self, kind: IntegrityKind, key: &[u8]) -> Self {
        let tag = kind.tag(key, &self.bytes);
        let attribute = match kind {
            IntegrityKind::Sha1 => kind::MESSAGE_INTEGRITY,
            IntegrityKind::Sha256 => kind::MESSAGE_INTEGRITY_SHA256,
        };
        self.attribute(attribute, tag.as_ref())
    }

    /// Appends FINGERPRINT.
    #[must_use]
    pub fn fingerprint(self) -> Self {
        let value = fingerprint(&self.bytes).to_be_bytes();
        self.attribute(kind::FINGERPRINT, &value)
    }

    /// The finished message.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }
}
