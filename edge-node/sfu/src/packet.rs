//! One RTP packet on its way through the shard, without anything that belongs
//! to one hop (payload type, SSRC, mid, transport-wide sequence number).

use std::sync::Arc;
use std::time::Instant;

use str0m::rtp::{VideoOrientation, Vp8Descriptor};

use crate::codec::{self, CodecTag};

/// What is forwarded.
#[derive(Clone, Debug)]
pub(crate) struct MediaPacket {
    /// Extended sequence number of the origin's layer.
    pub(crate) sequence: u64,
    /// RTP timestamp of the origin's layer.
    pub(crate) timestamp: u32,
    pub(crate) marker: bool,
    pub(crate) codec: CodecTag,
    pub(crate) payload: Arc<[u8]>,
    /// RFC 6464: 0 loudest to 127 silent.
    pub(crate) audio_level: Option<u8>,
    pub(crate) voice: bool,
    /// Quarter turns as the header extension counts them.
    pub(crate) orientation: Option<VideoOrientation>,
    /// When it came in here.
    pub(crate) arrived: Instant,
    /// Begins a picture that decodes on its own.
    pub(crate) keyframe: bool,
    pub(crate) vp8: Option<Vp8Descriptor>,
}

impl MediaPacket {
    /// Fills in what follows from the payload.
    pub(crate) fn inspect(mut self) -> Self {
        if self.codec == CodecTag::VP8 {
            self.vp8 = Vp8Descriptor::parse(&self.payload).ok();
        }
        self.keyframe = codec::starts_keyframe(self.codec, &self.payload, self.vp8.as_ref());
        self
    }
}
