//! ChannelData (RFC 8656 §12.4).

use super::DecodeError;

/// Number and length.
pub const CHANNEL_HEADER_BYTES: usize = 4;

/// A channel number: 0x4000–0x7FFF, as the first two bits of channel data have it.
///
/// RFC 8656 §12 allows clients 0x4000–0x4FFF only, RFC 5766 allowed them all; which of them
/// may be bound is the server's business.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelNumber(u16);

impl ChannelNumber {
    /// `None` outside 0x4000–0x7FFF.
    #[must_use]
    pub const fn new(number: u16) -> Option<Self> {
        if number >> 14 == 0b01 {
            Some(Self(number))
        } else {
            None
        }
    }

    /// Whether RFC 8656 lets clients use it; higher ones are reserved.
    #[must_use]
    pub const fn is_unreserved(self) -> bool {
        self.0 <= 0x4FFF
    }

    /// The number on the wire.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }
}

/// One channel data message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelData<'a> {
    /// The channel.
    pub number: ChannelNumber,
    /// The application data, without padding.
    pub data: &'a [u8],
}

impl<'a> ChannelData<'a> {
    /// Over UDP the data may be followed by padding (RFC 8656 §12.5); it is not looked at.
    pub(super) fn decode(datagram: &'a [u8]) -> Result<Self, DecodeError> {
        let (&[n1, n0, l1, l0], rest) = datagram.split_first_chunk().ok_or(DecodeError::Truncated)?;
        let number = ChannelNumber::new(u16::from_be_bytes([n1, n0])).ok_or(DecodeError::Foreign)?;
        let length = usize::from(u16::from_be_bytes([l1, l0]));
        let data = rest.get(..length).ok_or(DecodeError::Truncated)?;
        Ok(Self { number, data })
    }

    /// The header that goes in front of `length` bytes of data.
    #[must_use]
    pub const fn header(number: ChannelNumber, length: u16) -> [u8; CHANNEL_HEADER_BYTES] {
        let [n1, n0] = number.0.to_be_bytes();
        let [l1, l0] = length.to_be_bytes();
        [n1, n0, l1, l0]
    }
}
