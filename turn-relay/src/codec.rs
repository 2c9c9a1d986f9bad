//! STUN and TURN on the wire (RFC 8489, RFC 8656): borrowed, bounded, allocation-free to read.
//!
//! [`decode`] is the one entry for bytes from outside. Whatever it is given it returns a
//! value or an error; it never panics, never allocates and looks at each byte of the
//! framing once. [`Builder`] writes messages; only the control path does that.

mod address;
pub mod attribute;
mod builder;
mod channel;
mod fields;
mod integrity;
mod message;
mod stream;

pub use address::{decode_xor_address, encode_xor_address};
pub use attribute::{Attribute, Attributes};
pub use builder::Builder;
pub use channel::{CHANNEL_HEADER_BYTES, ChannelData, ChannelNumber};
pub use fields::{Family, Fields, UnknownAttributes};
pub use integrity::{Integrity, IntegrityKind};
pub(crate) use message::message_type;
pub use message::{Class, HEADER_BYTES, Message, Method, TransactionId};
pub use stream::{FRAME_BYTES_MAX, FrameError, Framer, Frames};

/// RFC 8489 §5: tells STUN from everything else in a datagram.
pub const MAGIC_COOKIE: u32 = 0x2112_A442;

/// A datagram a TURN listener may receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Datagram<'a> {
    /// A STUN message whose attributes are well framed and whose fingerprint, if any, is right.
    Message(Message<'a>),
    /// Channel data.
    ChannelData(ChannelData<'a>),
}

/// Why bytes are neither.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Fewer bytes than the header and its length field ask for.
    #[error("truncated")]
    Truncated,
    /// Neither a STUN message nor channel data.
    #[error("not STUN and not channel data")]
    Foreign,
    /// A length field that contradicts the datagram.
    #[error("wrong length")]
    Length,
    /// An attribute that runs over the end.
    #[error("wrong attribute")]
    Attribute,
    /// A FINGERPRINT that is not last or does not match.
    #[error("wrong fingerprint")]
    Fingerprint,
}

/// Reads one datagram.
///
/// # Errors
/// See [`DecodeError`].
pub fn decode(datagram: &[u8]) -> Result<Datagram<'_>, DecodeError> {
    let first = *datagram.first().ok_or(DecodeError::Truncated)?;
    match first >> 6 {
        0b00 => Message::decode(datagram).map(Datagram::Message),
        0b01 => ChannelData::decode(datagram).map(Datagram::ChannelData),
        _ => Err(DecodeError::Foreign),
    }
}

/// `bytes` rounded up to a multiple of four.
pub(crate) const fn padded(bytes: usize) -> usize {
    bytes.next_multiple_of(4)
}

#[cfg(test)]
mod tests;
