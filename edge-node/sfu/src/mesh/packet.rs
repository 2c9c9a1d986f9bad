//! The body of a media datagram between edges:
//!
//! ```text
//! flags u8 | codec u8 | sequence u48 | timestamp u32 | [level u8] [orientation u8] [fragment u8] | payload
//! ```
//!
//! All big-endian. Flags: 0x80 marker, 0x40 level present (bit 7 voice, RFC 6464),
//! 0x20 orientation present, 0x10 one fragment of a packet too big for the path
//! (index in the high half, count in the low half), 0x08 sent again; the low three
//! bits are the version, 0. What belongs to one hop (SSRC, payload type, mid,
//! transport-wide numbers) does not travel.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use bytes::{BufMut, Bytes, BytesMut};
use str0m::rtp::VideoOrientation;

use crate::codec::CodecTag;
use crate::packet::MediaPacket;

const MARKER: u8 = 0x80;
const LEVEL: u8 = 0x40;
const ORIENTATION: u8 = 0x20;
const FRAGMENT: u8 = 0x10;
const RESENT: u8 = 0x08;
const VERSION: u8 = 0x07;

/// Flags, codec, sequence, timestamp.
const FIXED: usize = 12;
/// With level, orientation and fragment.
pub(crate) const HEADER_MAX: usize = FIXED + 3;
/// A 1,500-byte packet over a 1,200-byte path needs 2; more is not media.
const FRAGMENTS_MAX: usize = 4;
/// Packets of one flow that may be incomplete at once.
const INCOMPLETE_MAX: usize = 16;
/// Sequence numbers are 48 bits: 8.9 years at a million packets a second.
pub(crate) const SEQUENCE_MAX: u64 = (1 << 48) - 1;

/// The body is none of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// A body as read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Body<'a> {
    pub(crate) marker: bool,
    pub(crate) resent: bool,
    pub(crate) codec: CodecTag,
    pub(crate) sequence: u64,
    pub(crate) timestamp: u32,
    pub(crate) level: Option<(u8, bool)>,
    pub(crate) orientation: Option<VideoOrientation>,
    /// Index and count.
    pub(crate) fragment: Option<(u8, u8)>,
    pub(crate) payload: &'a [u8],
}

impl<'a> Body<'a> {
    /// What travels of a packet.
    pub(crate) fn of(packet: &'a MediaPacket) -> Self {
        Self {
            marker: packet.marker,
            resent: false,
            codec: packet.codec,
            sequence: packet.sequence & SEQUENCE_MAX,
            timestamp: packet.timestamp,
            level: packet.audio_level.map(|l| (l.min(127), packet.voice)),
            orientation: packet.orientation,
            fragment: None,
            payload: &packet.payload,
        }
    }

    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let (fixed, mut rest) = bytes.split_at_checked(FIXED).ok_or(Malformed)?;
        let flags = fixed[0];
        if flags & VERSION != 0 {
            return Err(Malformed);
        }
        let mut next = |present: bool| -> Result<Option<u8>, Malformed> {
            if !present {
                return Ok(None);
            }
            let (first, tail) = rest.split_first().ok_or(Malformed)?;
            rest = tail;
            Ok(Some(*first))
        };
        let level = next(flags & LEVEL != 0)?.map(|b| (b & 0x7f, b & 0x80 != 0));
        let orientation = next(flags & ORIENTATION != 0)?;
        let fragment = next(flags & FRAGMENT != 0)?.map(|b| (b >> 4, b & 0x0f));
        if fragment.is_some_and(|(i, n)| i >= n || n < 2 || usize::from(n) > FRAGMENTS_MAX) {
            return Err(Malformed);
        }
        if orientation.is_some_and(|o| o > 3) {
            return Err(Malformed);
        }
        let mut sequence = [0; 8];
        sequence[2..].copy_from_slice(&fixed[2..8]);
        Ok(Self {
            marker: flags & MARKER != 0,
            resent: flags & RESENT != 0,
            codec: CodecTag::from_wire(fixed[1]).ok_or(Malformed)?,
            sequence: u64::from_be_bytes(sequence),
            timestamp: u32::from_be_bytes([fixed[8], fixed[9], fixed[10], fixed[11]]),
            level,
            orientation: orientation.map(VideoOrientation::from),
            fragment,
            payload: rest,
        })
    }

    pub(crate) fn write(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(HEADER_MAX + self.payload.len());
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        out.put_u8(
            flag(self.marker, MARKER)
                | flag(self.level.is_some(), LEVEL)
                | flag(self.orientation.is_some(), ORIENTATION)
                | flag(self.fragment.is_some(), FRAGMENT)
                | flag(self.resent, RESENT),
        );
        out.put_u8(self.codec.to_wire());
        out.put_uint(self.sequence & SEQUENCE_MAX, 6);
        out.put_u32(self.timestamp);
        if let Some((level, voice)) = self.level {
            out.put_u8((level & 0x7f) | flag(voice, 0x80));
        }
        if let Some(orientation) = self.orientation {
            out.put_u8(orientation as u8);
        }
        if let Some((index, count)) = self.fragment {
            out.put_u8((index << 4) | (count & 0x0f));
        }
        out.put_slice(self.payload);
        out.freeze()
    }

    /// The bodies that carry the packet over a path of `datagram_max` bytes; empty when
    /// even the most fragments are too few.
    pub(crate) fn split(&self, datagram_max: usize) -> Vec<Bytes> {
        if HEADER_MAX + self.payload.len() <= datagram_max {
            return vec![self.write()];
        }
        let room = datagram_max.saturating_sub(HEADER_MAX);
        let count = if room == 0 {
            usize::MAX
        } else {
            self.payload.len().div_ceil(room)
        };
        if count > FRAGMENTS_MAX {
            return Vec::new();
        }
        let share = self.payload.len().div_ceil(count);
        let parts = self.payload.chunks(share).enumerate();
        parts
            .map(|(i, payload)| {
                Body {
                    fragment: Some((i as u8, count as u8)),
                    payload,
                    ..self.clone()
                }
                .write()
            })
            .collect()
    }

    /// The packet, come in at `arrived`.
    pub(crate) fn packet(&self, payload: Arc<[u8]>, arrived: Instant) -> MediaPacket {
        MediaPacket {
            sequence: self.sequence,
            timestamp: self.timestamp,
            marker: self.marker,
            codec: self.codec,
            payload,
            audio_level: self.level.map(|(l, _)| l),
            voice: self.level.is_some_and(|(_, v)| v),
            orientation: self.orientation,
            arrived,
            keyframe: false,
            vp8: None,
        }
        .inspect()
    }
}

/// Puts fragments together again.
#[derive(Debug, Default)]
pub(crate) struct Reassembly {
    incomplete: VecDeque<Incomplete>,
}

#[derive(Debug)]
struct Incomplete {
    sequence: u64,
    parts: Vec<Option<Vec<u8>>>,
}

impl Reassembly {
    /// Takes a fragment; the whole payload once it is there. `dropped` counts packets
    /// that had to go unfinished.
    pub(crate) fn add(&mut self, body: &Body<'_>, dropped: &mut u64) -> Option<Arc<[u8]>> {
        let (index, count) = body.fragment?;
        let at = self
            .incomplete
            .iter()
            .position(|p| p.sequence == body.sequence)
            .unwrap_or_else(|| {
                if self.incomplete.len() >= INCOMPLETE_MAX {
                    self.incomplete.pop_front();
                    *dropped += 1;
                }
                self.incomplete.push_back(Incomplete {
                    sequence: body.sequence,
                    parts: vec![None; usize::from(count)],
                });
                self.incomplete.len() - 1
            });
        let entry = &mut self.incomplete[at];
        *entry.parts.get_mut(usize::from(index))? = Some(body.payload.to_vec());
        if entry.parts.iter().any(Option::is_none) {
            return None;
        }
        let whole = self.incomplete.remove(at)?;
        Some(whole.parts.into_iter().flatten().flatten().collect())
    }
}
