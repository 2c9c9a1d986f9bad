//! What goes out on a connection.

use std::time::{Duration, Instant};

use medmesh_base::media_token::Source;
use str0m::bwe::Bitrate;
use str0m::media::{KeyframeRequestKind, Pt};
use str0m::rtp::{ExtensionValues, RtpWrite, Ssrc};

use super::{Connection, Ingress, VIDEO_SLOT_BASE};
use crate::codec::CodecTag;
use crate::control::Said;
use crate::forward::{Egress, Rewrite};
use crate::packet::MediaPacket;

/// [`Egress`] by str0m: its pacer, retransmission cache, transport-wide sequence
/// numbers and SRTP.
pub(crate) struct SlotEgress<'a> {
    connection: &'a mut Connection,
    ssrc: Ssrc,
    pt: Pt,
    video: bool,
}

impl Egress for SlotEgress<'_> {
    fn write(&mut self, packet: &MediaPacket, rewrite: &Rewrite) {
        let (ssrc, pt, video) = (self.ssrc, self.pt, self.video);
        self.connection.guard(|c| {
            let mut direct = c.rtc.direct_api();
            let Some(stream) = direct.stream_tx(&ssrc) else {
                return Ok(());
            };
            let ext_vals = ExtensionValues {
                audio_level: packet.audio_level.map(|l| -(l as i8)),
                voice_activity: packet.audio_level.map(|_| packet.voice),
                video_orientation: packet.orientation,
                ..ExtensionValues::default()
            };
            let write = RtpWrite::new(
                pt,
                rewrite.sequence.into(),
                rewrite.timestamp,
                packet.arrived,
                packet.payload.clone(),
            )
            .marker(packet.marker)
            .ext_vals(ext_vals)
            .nackable(video);
            stream.write_rtp(match rewrite.vp8 {
                Some(patch) => write.vp8_patch(patch),
                None => write,
            });
            Ok(())
        });
        self.connection.dirty = true;
    }
}

/// Pictures leave for one subscriber at most this often. Several publishers' packets then share
/// one step of str0m's clock and one call to the kernel; a picture is shown for 33 ms, and
/// browsers hold it longer than this to smooth its arrival. What comes after a pause, and
/// sound, goes at once.
const GATHER: Duration = Duration::from_millis(2);

impl Connection {
    /// Lets a picture packet that was just written wait for others. False when it goes now.
    pub(crate) fn gather(&mut self, now: Instant) -> bool {
        let at = self.flushed_at + GATHER;
        let waits = at > now;
        if waits {
            self.due = self.due.min(at);
        }
        waits
    }

    /// Asks the browser for a keyframe of a layer it publishes.
    pub(crate) fn request_keyframe(&mut self, source: Source, layer: u8) {
        let wanted =
            |i: &Ingress| matches!(i, Ingress::Track { source: s, layer: l } if *s == source && *l == layer);
        // The newest SSRC of the layer: the browser may have replaced an older one.
        let Some(ssrc) = self
            .ingress
            .iter()
            .rev()
            .find(|(_, i)| wanted(i))
            .map(|(s, _)| *s)
        else {
            return;
        };
        self.guard(|c| {
            if let Some(stream) = c.rtc.direct_api().stream_rx(&ssrc) {
                stream.request_keyframe(KeyframeRequestKind::Pli);
            }
            Ok(())
        });
        self.dirty = true;
    }

    /// Whether the subscriber can decode the codec.
    pub(crate) fn can_receive(&self, codec: CodecTag) -> bool {
        self.payload_types[usize::from(codec.to_wire())].is_some()
    }

    /// The narrow way out for one slot; `None` when the codec was not negotiated.
    pub(crate) fn egress(&mut self, slot: u8, codec: CodecTag) -> Option<SlotEgress<'_>> {
        let pt = self.payload_types[usize::from(codec.to_wire())]?;
        let ssrc = self.slots.get_mut(slot)?.ssrc;
        Some(SlotEgress {
            connection: self,
            ssrc,
            pt,
            video: slot >= VIDEO_SLOT_BASE,
        })
    }

    /// Says something on the control channel. False when it did not fit.
    pub(crate) fn say(&mut self, said: &Said) -> bool {
        let text = serde_json::to_string(said).expect("control messages are plain JSON");
        self.say_text(&text)
    }

    /// As [`Self::say`], already in JSON.
    pub(crate) fn say_text(&mut self, text: &str) -> bool {
        let Some(channel) = self.control.channel else {
            return false;
        };
        let said = self.guard(|c| match c.rtc.channel(channel) {
            Some(mut channel) => channel.write(false, text.as_bytes()),
            None => Ok(false),
        });
        self.dirty = true;
        said.unwrap_or(false)
    }

    /// Tells str0m's estimator what the subscriber has use for: it probes up to that.
    /// Nothing is kept up with padding, because the patient's data plan pays for it.
    pub(crate) fn set_bandwidth_wish(&mut self, desired_bps: u64) {
        self.guard(|c| {
            c.rtc.bwe().set_bitrate(Bitrate::ZERO, Bitrate::from(desired_bps));
            Ok(())
        });
    }
}
