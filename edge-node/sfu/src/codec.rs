//! Codecs as one byte, and what little of a payload forwarding has to see:
//! where a keyframe starts and how tall its picture is.

use str0m::format::{Codec, CodecSpec};
use str0m::rtp::Vp8Descriptor;

/// A codec with the parameters that make two streams incompatible. Payload type
/// numbers differ per connection; tags do not, and travel between edges.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct CodecTag(u8);

impl CodecTag {
    pub(crate) const OPUS: Self = Self(1);
    pub(crate) const VP8: Self = Self(2);
    pub(crate) const VP9_PROFILE_0: Self = Self(3);
    pub(crate) const VP9_PROFILE_2: Self = Self(4);
    pub(crate) const AV1: Self = Self(5);
    /// Plus 4 for packetization mode 1, plus the profile: 0 baseline,
    /// 1 constrained baseline, 2 main, 3 high.
    const H264: u8 = 16;
    const H264_LAST: u8 = Self::H264 + 7;
    /// One more than the largest tag: the size of a table by tag.
    pub(crate) const COUNT: usize = Self::H264_LAST as usize + 1;

    /// The tag of a negotiated codec, if it is one we forward.
    pub(crate) fn of(spec: &CodecSpec) -> Option<Self> {
        match spec.codec {
            Codec::Opus => Some(Self::OPUS),
            Codec::Vp8 => Some(Self::VP8),
            Codec::Vp9 => match spec.format.profile_id.unwrap_or(0) {
                0 => Some(Self::VP9_PROFILE_0),
                2 => Some(Self::VP9_PROFILE_2),
                _ => None,
            },
            Codec::Av1 => Some(Self::AV1),
            Codec::H264 => {
                let mode = spec.format.packetization_mode.unwrap_or(0).min(1);
                let profile = match spec.format.profile_level_id.unwrap_or(0x42_00_1f) >> 8 {
                    0x42_00 => 0,
                    0x42_e0 | 0x42_c0 => 1,
                    0x4d_00 => 2,
                    0x64_00 | 0x64_0c => 3,
                    _ => return None,
                };
                Some(Self(Self::H264 + mode * 4 + profile))
            }
            _ => None,
        }
    }

    /// Reads a tag from a peer.
    pub(crate) fn from_wire(byte: u8) -> Option<Self> {
        (matches!(byte, 1..=5) || (Self::H264..=Self::H264_LAST).contains(&byte)).then_some(Self(byte))
    }

    /// The byte on the wire, and the index into tables.
    pub(crate) const fn to_wire(self) -> u8 {
        self.0
    }

    /// RTP clock, Hz.
    pub(crate) const fn clock_rate(self) -> u32 {
        if self.0 == Self::OPUS.0 { 48_000 } else { 90_000 }
    }

    /// `VP8/90000` and the like.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::OPUS => "opus/48000",
            Self::VP8 => "VP8/90000",
            Self::VP9_PROFILE_0 | Self::VP9_PROFILE_2 => "VP9/90000",
            Self::AV1 => "AV1/90000",
            _ => "H264/90000",
        }
    }
}

/// Whether the packet begins a picture that decodes on its own.
pub(crate) fn starts_keyframe(codec: CodecTag, payload: &[u8], vp8: Option<&Vp8Descriptor>) -> bool {
    match codec {
        CodecTag::VP8 => vp8.is_some_and(|d| d.starts_keyframe(payload)),
        CodecTag::VP9_PROFILE_0 | CodecTag::VP9_PROFILE_2 => vp9_starts_keyframe(payload),
        CodecTag::AV1 => payload.first().is_some_and(|b| b & 0b0000_1000 != 0),
        CodecTag::OPUS => true,
        _ => h264_starts_keyframe(payload),
    }
}

/// RFC 9628: not inter-predicted (P = 0), begin of frame (B = 1), spatial layer 0.
fn vp9_starts_keyframe(payload: &[u8]) -> bool {
    let Some(&first) = payload.first() else {
        return false;
    };
    let (picture_id, predicted, layers, begin) = (
        first & 0x80 != 0,
        first & 0x40 != 0,
        first & 0x20 != 0,
        first & 0x08 != 0,
    );
    if predicted || !begin {
        return false;
    }
    if !layers {
        return true;
    }
    let mut at = 1;
    if picture_id {
        at += if payload.get(at).is_some_and(|b| b & 0x80 != 0) {
            2
        } else {
            1
        };
    }
    payload.get(at).is_some_and(|b| (b >> 1) & 0x07 == 0)
}

/// RFC 6184: an SPS or IDR slice, alone, first in a STAP-A, or starting an FU-A.
fn h264_starts_keyframe(payload: &[u8]) -> bool {
    const IDR: u8 = 5;
    const SPS: u8 = 7;
    let key = |byte: u8| matches!(byte & 0x1f, IDR | SPS);
    let Some(&first) = payload.first() else {
        return false;
    };
    match first & 0x1f {
        24 => payload.get(3).copied().is_some_and(key),
        28 => payload.get(1).is_some_and(|&b| b & 0x80 != 0 && key(b)),
        _ => key(first),
    }
}

/// Height in pixels from a VP8 keyframe header (RFC 6386 section 9.1), when the
/// sender leaves it in the clear. `payload` starts with the payload descriptor.
pub(crate) fn vp8_keyframe_height(payload: &[u8]) -> Option<u16> {
    const START_CODE: [u8; 3] = [0x9d, 0x01, 0x2a];
    // The descriptor is at most 6 bytes, the frame tag 3.
    const SEARCH: usize = 12;
    let window = &payload[..payload.len().min(SEARCH + START_CODE.len())];
    let at = window.windows(START_CODE.len()).position(|w| w == START_CODE)?;
    let height = payload.get(at + 5..at + 7)?;
    let height = u16::from_le_bytes([height[0], height[1]]) & 0x3fff;
    (height > 0).then_some(height)
}
