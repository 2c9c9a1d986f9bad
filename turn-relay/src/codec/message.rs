//! The STUN header (RFC 8489 §5).

use super::attribute::{self, Attributes};
use super::{DecodeError, MAGIC_COOKIE};

/// Type, length, cookie, transaction id.
pub const HEADER_BYTES: usize = 20;

/// Names one transaction; chosen by the client.
pub type TransactionId = [u8; 12];

/// What kind of message it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Wants an answer.
    Request,
    /// Wants none.
    Indication,
    /// Answer to a request that worked.
    Success,
    /// Answer to a request that did not.
    Error,
}

/// What a message is about: 12 bits, of which we know some.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Method(u16);

impl Method {
    /// RFC 8489 §18.1.
    pub const BINDING: Self = Self(0x001);
    /// RFC 8656 §17.
    pub const ALLOCATE: Self = Self(0x003);
    /// RFC 8656 §17.
    pub const REFRESH: Self = Self(0x004);
    /// RFC 8656 §17.
    pub const SEND: Self = Self(0x006);
    /// RFC 8656 §17.
    pub const DATA: Self = Self(0x007);
    /// RFC 8656 §17.
    pub const CREATE_PERMISSION: Self = Self(0x008);
    /// RFC 8656 §17.
    pub const CHANNEL_BIND: Self = Self(0x009);

    /// RFC 6062 §6.1.
    pub const CONNECT: Self = Self(0x00A);
    /// RFC 6062 §6.1.
    pub const CONNECTION_BIND: Self = Self(0x00B);
    /// RFC 6062 §6.1.
    pub const CONNECTION_ATTEMPT: Self = Self(0x00C);

    /// The 12 bits.
    #[must_use]
    pub const fn code(self) -> u16 {
        self.0
    }

    /// The method of 12 bits; higher bits are cut off.
    #[must_use]
    pub const fn from_code(code: u16) -> Self {
        Self(code & 0x0FFF)
    }
}

/// Class and method share 14 bits (RFC 8489 §5, figure 3).
pub(crate) const fn message_type(class: Class, method: Method) -> u16 {
    let m = method.0;
    let class = match class {
        Class::Request => 0x000,
        Class::Indication => 0x010,
        Class::Success => 0x100,
        Class::Error => 0x110,
    };
    (m & 0xF80) << 2 | (m & 0x070) << 1 | (m & 0x00F) | class
}

const fn split_type(bits: u16) -> (Class, Method) {
    let class = match bits & 0x110 {
        0x000 => Class::Request,
        0x010 => Class::Indication,
        0x100 => Class::Success,
        _ => Class::Error,
    };
    (
        class,
        Method((bits >> 2) & 0xF80 | (bits >> 1) & 0x070 | bits & 0x00F),
    )
}

/// A STUN message whose framing has been checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// What kind it is.
    pub class: Class,
    /// What it is about.
    pub method: Method,
    bytes: &'a [u8],
}

impl<'a> Message<'a> {
    pub(super) fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let (header, body) = bytes
            .split_first_chunk::<HEADER_BYTES>()
            .ok_or(DecodeError::Truncated)?;
        let [t1, t0, l1, l0, c3, c2, c1, c0, ..] = *header;
        if u32::from_be_bytes([c3, c2, c1, c0]) != MAGIC_COOKIE {
            return Err(DecodeError::Foreign);
        }
        let length = usize::from(u16::from_be_bytes([l1, l0]));
        if !length.is_multiple_of(4) || length != body.len() {
            return Err(DecodeError::Length);
        }
        let (class, method) = split_type(u16::from_be_bytes([t1, t0]));
        let message = Self { class, method, bytes };
        attribute::check(message)?;
        Ok(message)
    }

    /// The whole message.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Which transaction it belongs to.
    #[must_use]
    pub fn transaction(&self) -> TransactionId {
        *self.bytes[8..]
            .first_chunk()
            .expect("decode() checked for a whole header")
    }

    /// Every attribute in order.
    #[must_use]
    pub fn attributes(&self) -> Attributes<'a> {
        Attributes::new(&self.bytes[HEADER_BYTES..])
    }
}
