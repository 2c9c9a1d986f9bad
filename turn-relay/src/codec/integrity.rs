//! MESSAGE-INTEGRITY, MESSAGE-INTEGRITY-SHA256 and FINGERPRINT (RFC 8489 §14.5–14.7).

use aws_lc_rs::{constant_time, hmac};

use super::attribute::ATTRIBUTE_HEADER_BYTES;
use super::message::{HEADER_BYTES, Message};

/// RFC 8489 §14.7.
const FINGERPRINT_MASK: u32 = 0x5354_554E;

/// Which HMAC protects a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IntegrityKind {
    /// MESSAGE-INTEGRITY: HMAC-SHA-1.
    Sha1,
    /// MESSAGE-INTEGRITY-SHA256, never truncated: TURN defines no truncation (RFC 8489 §14.6).
    Sha256,
}

impl IntegrityKind {
    /// Bytes of the tag.
    #[must_use]
    pub const fn tag_bytes(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        }
    }

    fn key(self, key: &[u8]) -> hmac::Key {
        match self {
            // HMAC-SHA-1 is what the RFC puts on the wire; the collisions of SHA-1 do not touch it.
            Self::Sha1 => hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key),
            Self::Sha256 => hmac::Key::new(hmac::HMAC_SHA256, key),
        }
    }

    /// The tag over `message`, which ends where the attribute will start.
    pub(super) fn tag(self, key: &[u8], message: &[u8]) -> hmac::Tag {
        let covered = message.len() - HEADER_BYTES + ATTRIBUTE_HEADER_BYTES + self.tag_bytes();
        let mut context = hmac::Context::with_key(&self.key(key));
        update_with_length(message, covered, |bytes| context.update(bytes));
        context.sign()
    }
}

/// The integrity attribute of a message: what it says, and how much it covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Integrity<'a> {
    /// Which HMAC.
    pub kind: IntegrityKind,
    pub(super) offset: usize,
    pub(super) tag: &'a [u8],
}

impl Integrity<'_> {
    /// Whether `key` made it; the comparison takes the same time whatever the tag.
    #[must_use]
    pub fn verify(&self, key: &[u8], message: &Message<'_>) -> bool {
        let expected = self.kind.tag(key, &message.bytes()[..self.offset]);
        constant_time::verify_slices_are_equal(expected.as_ref(), self.tag).is_ok()
    }
}

/// The value of FINGERPRINT for `message`, which ends where the attribute starts.
pub(super) fn fingerprint(message: &[u8]) -> u32 {
    let covered = message.len() - HEADER_BYTES + ATTRIBUTE_HEADER_BYTES + 4;
    let mut crc = crc32fast::Hasher::new();
    update_with_length(message, covered, |bytes| crc.update(bytes));
    crc.finalize() ^ FINGERPRINT_MASK
}

/// Feeds `message` as if its length field said `length` (the field covers the message up to
/// and including the attribute being computed, not what follows it).
fn update_with_length(message: &[u8], length: usize, mut update: impl FnMut(&[u8])) {
    let length = u16::try_from(length).expect("a message is at most 65,535 bytes");
    update(&message[..2]);
    update(&length.to_be_bytes());
    update(&message[4..]);
}
