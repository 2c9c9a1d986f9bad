//! Making one continuous stream for one receive slot out of whatever layer of
//! whatever track is sent to it at the moment.
//!
//! A slot keeps its SSRC for life. [`Forwarder`] decides which packets of a layer
//! pass, and shifts sequence numbers, timestamps and VP8 picture ids so that the
//! receiver never sees a seam. What comes out goes to an [`Egress`], the narrow
//! place where another way of sealing and sending can take over.

use std::time::{Duration, Instant};

use str0m::rtp::Vp8Patch;

use crate::packet::MediaPacket;

/// At a switch the timestamp moves by at least one frame of 30/s video or 20 ms audio.
const STEP_MIN: Duration = Duration::from_millis(20);
/// First sequence numbers stay in the lower half so that SRTP starts with rollover count 0.
pub(crate) const FIRST_SEQUENCE_MAX: u16 = 0x7fff;

/// Where forwarded packets go: one slot of one subscriber.
pub(crate) trait Egress {
    /// Hands a packet over; it leaves when the connection is flushed.
    fn write(&mut self, packet: &MediaPacket, rewrite: &Rewrite);
}

/// What one hop changes in a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rewrite {
    /// Extended.
    pub(crate) sequence: u64,
    pub(crate) timestamp: u32,
    pub(crate) vp8: Option<Vp8Patch>,
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Send it so.
    Forward(Rewrite),
    /// The same, and with it the slot changed to this layer.
    Switched(Rewrite),
    /// Not of the layer being sent.
    OtherLayer,
    /// From before the keyframe the slot was switched at.
    BeforeSwitch,
}

/// The rewriting state of one slot.
#[derive(Debug)]
pub(crate) struct Forwarder {
    video: bool,
    target: Option<u8>,
    /// The target before, while nothing is shown: its keyframe is on its way, and a picture
    /// of another size now is better than the right one later.
    interim: Option<u8>,
    current: Option<Flow>,
    last: Option<Last>,
    first_sequence: u16,
}

/// The layer being sent.
#[derive(Clone, Copy, Debug)]
struct Flow {
    layer: u8,
    /// The first packet of it that was sent.
    start: u64,
    sequence_shift: i64,
    timestamp_shift: u32,
    picture_shift: u16,
    tl0_shift: u8,
}

/// The newest packet that was sent, in the slot's own numbering.
#[derive(Clone, Copy, Debug)]
struct Last {
    sequence: u64,
    timestamp: u32,
    arrived: Instant,
    picture: u16,
    tl0: u8,
}

impl Forwarder {
    /// `first_sequence` should be random, at most [`FIRST_SEQUENCE_MAX`].
    pub(crate) fn new(video: bool, first_sequence: u16) -> Self {
        Self {
            video,
            target: None,
            interim: None,
            current: None,
            last: None,
            first_sequence: first_sequence & FIRST_SEQUENCE_MAX,
        }
    }

    /// The layer that should be sent. `None` stops at once; another layer takes
    /// over at its next keyframe, until then the current one goes on.
    pub(crate) fn set_target(&mut self, layer: Option<u8>) {
        if layer.is_none() {
            return self.detach();
        }
        if self.video && self.current.is_none() && self.target.is_some() && self.target != layer {
            self.interim = self.target;
        }
        self.target = layer;
    }

    /// The slot shows something else now: nothing of the old track passes any more.
    pub(crate) fn detach(&mut self) {
        self.target = None;
        self.interim = None;
        self.current = None;
    }

    pub(crate) fn target(&self) -> Option<u8> {
        self.target
    }

    pub(crate) fn current(&self) -> Option<u8> {
        self.current.map(|f| f.layer)
    }

    /// Whether packets of the layer are of use.
    pub(crate) fn takes(&self, layer: u8) -> bool {
        [self.target, self.current(), self.interim].contains(&Some(layer))
    }

    /// Waiting for a keyframe of the target layer.
    pub(crate) fn waiting(&self) -> bool {
        self.video && self.target.is_some() && self.target != self.current()
    }

    /// Takes a packet of a layer of the slot's track.
    pub(crate) fn route(&mut self, layer: u8, packet: &MediaPacket) -> Verdict {
        let mut switched = false;
        let wanted = [self.target, self.interim].contains(&Some(layer));
        if wanted && self.current() != Some(layer) {
            if self.video && !packet.keyframe {
                return if self.current.is_none() {
                    Verdict::BeforeSwitch
                } else {
                    Verdict::OtherLayer
                };
            }
            self.current = Some(self.splice(layer, packet));
            self.interim = None;
            switched = true;
        }
        let Some(flow) = self.current.filter(|f| f.layer == layer) else {
            return Verdict::OtherLayer;
        };
        if packet.sequence < flow.start {
            return Verdict::BeforeSwitch;
        }
        let rewrite = self.rewrite(&flow, packet);
        if switched {
            Verdict::Switched(rewrite)
        } else {
            Verdict::Forward(rewrite)
        }
    }

    /// Lines a layer up so that its packet follows the last one sent.
    fn splice(&self, layer: u8, packet: &MediaPacket) -> Flow {
        let picture = packet.vp8.and_then(|d| d.picture_id()).unwrap_or(0);
        let tl0 = packet.vp8.and_then(|d| d.tl0_pic_idx()).unwrap_or(0);
        let Some(last) = self.last else {
            return Flow {
                layer,
                start: packet.sequence,
                sequence_shift: i64::from(self.first_sequence) - packet.sequence.cast_signed(),
                timestamp_shift: 0,
                picture_shift: 0,
                tl0_shift: 0,
            };
        };
        let elapsed = packet
            .arrived
            .saturating_duration_since(last.arrived)
            .max(STEP_MIN);
        let ticks = (elapsed.as_secs_f64() * f64::from(packet.codec.clock_rate())) as u64 as u32;
        Flow {
            layer,
            start: packet.sequence,
            sequence_shift: (last.sequence + 1).cast_signed() - packet.sequence.cast_signed(),
            timestamp_shift: last.timestamp.wrapping_add(ticks).wrapping_sub(packet.timestamp),
            picture_shift: last.picture.wrapping_add(1).wrapping_sub(picture),
            tl0_shift: last.tl0.wrapping_add(1).wrapping_sub(tl0),
        }
    }

    fn rewrite(&mut self, flow: &Flow, packet: &MediaPacket) -> Rewrite {
        let sequence = (packet.sequence.cast_signed() + flow.sequence_shift).cast_unsigned();
        let timestamp = packet.timestamp.wrapping_add(flow.timestamp_shift);
        let descriptor = packet.vp8;
        let picture = descriptor
            .and_then(|d| d.picture_id())
            .map(|p| p.wrapping_add(flow.picture_shift) & 0x7fff);
        let tl0 = descriptor
            .and_then(|d| d.tl0_pic_idx())
            .map(|t| t.wrapping_add(flow.tl0_shift));
        if self.last.is_none_or(|last| sequence > last.sequence) {
            self.last = Some(Last {
                sequence,
                timestamp,
                arrived: packet.arrived,
                picture: picture.or(self.last.map(|l| l.picture)).unwrap_or(0),
                tl0: tl0.or(self.last.map(|l| l.tl0)).unwrap_or(0),
            });
        }
        let shifted = flow.picture_shift != 0 || flow.tl0_shift != 0;
        let vp8 = descriptor.filter(|_| shifted).and_then(|d| {
            let mut patch = d.patch();
            if let Some(picture) = picture {
                // A 7-bit id stays one; the receiver counts it modulo 128 anyway.
                let wide = d.patch().picture_id(0x7fff).build().is_ok();
                patch = patch.picture_id(if wide { picture } else { picture & 0x7f });
            }
            if let Some(tl0) = tl0 {
                patch = patch.tl0_pic_idx(tl0);
            }
            patch.build().ok()
        });
        Rewrite {
            sequence,
            timestamp,
            vp8,
        }
    }
}
