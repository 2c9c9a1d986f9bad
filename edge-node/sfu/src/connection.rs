//! One participant's WebRTC connection: the only place that touches str0m.
//!
//! Every call into str0m goes through [`Connection::guard`]: its internal
//! consistency checks panic by design, and such a panic ends this connection.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use medmesh_base::media_token::{Grants, MeshEdge, Source};
use medmesh_base::{ParticipantId, RoomId};
use str0m::bwe::{Bitrate, BweKind};
use str0m::channel::ChannelId;
use str0m::media::{KeyframeRequestKind, Mid, Pt};
use str0m::net::{Protocol, Receive};
use str0m::rtp::{ExtensionValues, RtpPacket, RtpWrite, Ssrc};
use str0m::{Event as RtcEvent, IceConnectionState, Input, Output as RtcOutput, Rtc};

use crate::codec::CodecTag;
use crate::control::{Control, LayerReason, Said, Wish};
use crate::event::{LeaveReason, Transmit};
use crate::forward::{Egress, Forwarder, Rewrite};
use crate::join::ResourceId;
use crate::packet::MediaPacket;
use crate::plan::MediaPlan;
use crate::track::TrackKey;

/// Addresses one connection may be heard from at once: IPv4, IPv6, Wi-Fi, cellular, relay.
const ADDRESSES_MAX: usize = 8;
/// Turns of one flush; far above any real backlog, it only stops a timer that never advances.
const FLUSH_TURNS_MAX: usize = 10_000;

/// Names a connection for the life of the shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ConnectionKey(pub(crate) u64);

/// What a connection wants the shard to know.
#[derive(Debug)]
pub(crate) enum Notice {
    Connected,
    Media {
        source: Source,
        layer: u8,
        packet: MediaPacket,
    },
    NotGranted,
    UnknownTrack,
    KeyframeWanted {
        mid: Mid,
    },
    ChannelOpen(ChannelId),
    ControlMessage(Vec<u8>),
    ChannelClosed(ChannelId),
    Quality,
}

/// A receive slot: an m-line of the subscriber, and what it shows.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) mid: Mid,
    ssrc: Ssrc,
    pub(crate) track: Option<TrackKey>,
    pub(crate) forwarder: Forwarder,
    /// Height the subscriber has use for, pixels.
    pub(crate) height: u32,
    /// Place in the order of importance; 0 first.
    pub(crate) importance: usize,
    /// Why the layer is what it is.
    pub(crate) reason: LayerReason,
}

/// Which stream an SSRC is.
#[derive(Clone, Copy, Debug)]
enum Ingress {
    Track { source: Source, layer: u8 },
    NotGranted,
    Unknown,
}

/// One participant's connection and everything that is theirs alone.
pub(crate) struct Connection {
    pub(crate) key: ConnectionKey,
    pub(crate) resource: ResourceId,
    pub(crate) room: RoomId,
    pub(crate) participant: ParticipantId,
    pub(crate) epoch: u64,
    pub(crate) grants: Grants,
    pub(crate) fallbacks: Vec<MeshEdge>,
    pub(crate) plan: MediaPlan,
    pub(crate) slots: Slots,
    pub(crate) control: Control,
    /// `None` until the first wish: everything is wanted.
    pub(crate) wishes: Option<Vec<Wish>>,
    pub(crate) link: LinkQuality,
    pub(crate) joined_at: Instant,
    pub(crate) connected_at: Option<Instant>,
    pub(crate) heard_at: Instant,
    /// Set once; the shard removes the connection at its next turn.
    pub(crate) ended: Option<LeaveReason>,
    pub(crate) panicked: bool,
    /// Has something to flush.
    pub(crate) dirty: bool,
    /// Waits in the shard's queue to be flushed.
    pub(crate) queued: bool,
    /// Waits in the shard's queue to be removed.
    pub(crate) doomed: bool,
    /// Not even the smallest picture fits.
    pub(crate) paused_by_bandwidth: bool,
    /// Some picture is smaller than its tile for lack of bandwidth.
    pub(crate) limited: bool,
    /// The last step down by lack of bandwidth.
    pub(crate) stepped_down_at: Option<Instant>,
    pub(crate) stepped_up_at: Option<Instant>,
    /// How long the last step down forbids steps up.
    pub(crate) hold: Duration,
    /// What the estimator was last told: least and most, bits per second.
    pub(crate) bandwidth_wish: (u64, u64),
    /// When str0m wants to be called.
    pub(crate) due: Instant,
    /// The earliest entry in the timer heap.
    pub(crate) scheduled: Option<Instant>,
    /// The offer, for making the one of an ICE restart.
    pub(crate) offer_sdp: String,
    pub(crate) ufrag: String,
    pub(crate) addresses: VecDeque<SocketAddr>,
    rtc: Rtc,
    ingress: Vec<(Ssrc, Ingress)>,
    payload_types: [Option<Pt>; CodecTag::COUNT],
    codecs: [Option<CodecTag>; 128],
    #[cfg(test)]
    pub(crate) panic_next: bool,
}

/// The receive slots, by kind.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    pub(crate) audio: Vec<Slot>,
    pub(crate) video: Vec<Slot>,
}

/// Video slots are numbered after this in subscriber lists.
pub(crate) const VIDEO_SLOT_BASE: u8 = 128;

impl Slots {
    /// By the number of a subscriber list.
    pub(crate) fn get_mut(&mut self, number: u8) -> Option<&mut Slot> {
        if number >= VIDEO_SLOT_BASE {
            self.video.get_mut(usize::from(number - VIDEO_SLOT_BASE))
        } else {
            self.audio.get_mut(usize::from(number))
        }
    }

    pub(crate) fn get(&self, number: u8) -> Option<&Slot> {
        if number >= VIDEO_SLOT_BASE {
            self.video.get(usize::from(number - VIDEO_SLOT_BASE))
        } else {
            self.audio.get(usize::from(number))
        }
    }

    /// With the numbers of subscriber lists.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u8, &Slot)> {
        let audio = self.audio.iter().enumerate().map(|(i, s)| (i as u8, s));
        audio.chain(
            self.video
                .iter()
                .enumerate()
                .map(|(i, s)| (VIDEO_SLOT_BASE + i as u8, s)),
        )
    }
}

/// What is known of the way to the browser.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LinkQuality {
    pub(crate) estimate_bps: u64,
    pub(crate) rtt: Option<Duration>,
    pub(crate) loss_ratio: f32,
    pub(crate) remote: Option<SocketAddr>,
}

/// What a new connection is made of.
pub(crate) struct Parts {
    pub(crate) key: ConnectionKey,
    pub(crate) resource: ResourceId,
    pub(crate) rtc: Rtc,
    pub(crate) plan: MediaPlan,
    pub(crate) join: crate::join::Join,
    pub(crate) ufrag: String,
    pub(crate) estimate_bps: u64,
    pub(crate) first_sequence: u16,
}

impl Connection {
    pub(crate) fn new(now: Instant, parts: Parts) -> Self {
        let Parts {
            key,
            resource,
            mut rtc,
            plan,
            join,
            ufrag,
            estimate_bps,
            first_sequence,
        } = parts;
        let slots = Slots {
            audio: make_slots(&mut rtc, &plan.audio_slots, false, first_sequence),
            video: make_slots(&mut rtc, &plan.video_slots, true, first_sequence),
        };
        let (payload_types, codecs) = codec_tables(&rtc, &plan);
        Self {
            key,
            resource,
            room: join.room,
            participant: join.participant,
            epoch: join.epoch,
            grants: join.grants,
            fallbacks: join.fallbacks,
            plan,
            slots,
            control: Control::default(),
            wishes: None,
            link: LinkQuality {
                estimate_bps,
                rtt: None,
                loss_ratio: 0.0,
                remote: None,
            },
            joined_at: now,
            connected_at: None,
            heard_at: now,
            ended: None,
            panicked: false,
            dirty: false,
            queued: false,
            doomed: false,
            paused_by_bandwidth: false,
            limited: false,
            stepped_down_at: None,
            stepped_up_at: None,
            hold: Duration::ZERO,
            bandwidth_wish: (0, 0),
            due: now,
            scheduled: None,
            offer_sdp: join.offer_sdp,
            ufrag,
            addresses: VecDeque::new(),
            rtc,
            ingress: Vec::new(),
            payload_types,
            codecs,
            #[cfg(test)]
            panic_next: false,
        }
    }

    /// Runs `f` on the connection's str0m; a panic or an error ends the connection.
    pub(crate) fn guard<R>(&mut self, f: impl FnOnce(&mut Self) -> Result<R, str0m::RtcError>) -> Option<R> {
        if self.ended.is_some() {
            return None;
        }
        match catch_unwind(AssertUnwindSafe(|| f(self))) {
            Ok(Ok(value)) => Some(value),
            Ok(Err(error)) => {
                tracing::debug!(%error, "end connection");
                self.ended = Some(LeaveReason::Failed);
                None
            }
            Err(_) => {
                self.panicked = true;
                self.ended = Some(LeaveReason::Failed);
                None
            }
        }
    }

    /// Whether a STUN message is from this connection's browser. False also when it is unreadable.
    pub(crate) fn accepts(
        &mut self,
        now: Instant,
        source: SocketAddr,
        local: SocketAddr,
        bytes: &[u8],
    ) -> bool {
        let accepted = self.guard(|c| {
            let Ok(receive) = Receive::new(Protocol::Udp, source, local, bytes) else {
                return Ok(false);
            };
            Ok(c.rtc.accepts(&Input::Receive(now, receive)))
        });
        accepted.unwrap_or(false)
    }

    /// Remembers an authenticated address; returns the one that had to go for it.
    pub(crate) fn bind(&mut self, address: SocketAddr) -> Option<SocketAddr> {
        if self.addresses.contains(&address) {
            return None;
        }
        self.addresses.push_back(address);
        if self.addresses.len() > ADDRESSES_MAX {
            self.addresses.pop_front()
        } else {
            None
        }
    }

    /// Takes a datagram in. False when it is nothing str0m reads.
    pub(crate) fn receive(
        &mut self,
        now: Instant,
        source: SocketAddr,
        local: SocketAddr,
        bytes: &[u8],
        out: &mut Sink<'_>,
    ) -> bool {
        let read = self.guard(|c| {
            #[cfg(test)]
            assert!(!std::mem::take(&mut c.panic_next), "injected fault");
            let Ok(receive) = Receive::new(Protocol::Udp, source, local, bytes) else {
                return Ok(false);
            };
            c.rtc.handle_input(Input::Receive(now, receive))?;
            c.drain(now, out)?;
            Ok(true)
        });
        read.unwrap_or(true)
    }

    /// Moves time to `now` and everything written since out.
    pub(crate) fn flush(&mut self, now: Instant, out: &mut Sink<'_>) {
        self.dirty = false;
        self.guard(|c| {
            c.rtc.handle_input(Input::Timeout(now))?;
            c.drain(now, out)
        });
    }

    /// Polls until str0m has nothing to do at `now`.
    fn drain(&mut self, now: Instant, out: &mut Sink<'_>) -> Result<(), str0m::RtcError> {
        for _ in 0..FLUSH_TURNS_MAX {
            match self.rtc.poll_output()? {
                RtcOutput::Transmit(t) => out.transmit(Transmit {
                    source: t.source,
                    destination: t.destination,
                    contents: t.contents.into(),
                }),
                RtcOutput::Event(event) => self.note(now, event, out),
                RtcOutput::Timeout(at) if at <= now => self.rtc.handle_input(Input::Timeout(now))?,
                RtcOutput::Timeout(at) => {
                    self.due = at;
                    return Ok(());
                }
            }
        }
        self.due = now + Duration::from_millis(1);
        Ok(())
    }

    fn note(&mut self, now: Instant, event: RtcEvent, out: &mut Sink<'_>) {
        match event {
            RtcEvent::RtpPacket(packet) => self.note_rtp(now, packet, out),
            RtcEvent::Connected => {
                self.connected_at = Some(now);
                self.heard_at = now;
                out.notice(Notice::Connected);
            }
            RtcEvent::IceConnectionStateChange(IceConnectionState::Disconnected) => {
                tracing::debug!("ice disconnected");
            }
            RtcEvent::ChannelOpen(id, label) if label == crate::control::LABEL => {
                out.notice(Notice::ChannelOpen(id));
            }
            RtcEvent::ChannelData(data) if self.control.channel == Some(data.id) => {
                self.heard_at = now;
                out.notice(Notice::ControlMessage(data.data));
            }
            RtcEvent::ChannelClose(id) => out.notice(Notice::ChannelClosed(id)),
            RtcEvent::KeyframeRequest(request) => out.notice(Notice::KeyframeWanted { mid: request.mid }),
            RtcEvent::EgressBitrateEstimate(BweKind::Twcc { estimate, .. }) => {
                self.link.estimate_bps = estimate.as_u64();
            }
            RtcEvent::PeerStats(stats) => {
                self.link.rtt = stats.rtt.or(self.link.rtt);
                self.link.loss_ratio = stats.egress_loss_fraction.unwrap_or(0.0);
                self.link.remote = stats
                    .selected_candidate_pair
                    .map(|p| p.remote.addr)
                    .or(self.link.remote);
                out.notice(Notice::Quality);
            }
            RtcEvent::Closed => self.ended = self.ended.or(Some(LeaveReason::Closed)),
            _ => {}
        }
    }

    fn note_rtp(&mut self, now: Instant, packet: RtpPacket, out: &mut Sink<'_>) {
        self.heard_at = now;
        let ssrc = packet.header.ssrc;
        let ingress = match self.ingress.iter().find(|(s, _)| *s == ssrc) {
            Some((_, ingress)) => *ingress,
            None => self.learn(ssrc),
        };
        let (source, layer) = match ingress {
            Ingress::Track { source, layer } => (source, layer),
            Ingress::NotGranted => return out.notice(Notice::NotGranted),
            Ingress::Unknown => return out.notice(Notice::UnknownTrack),
        };
        let payload_type = usize::from(*packet.header.payload_type);
        let Some(codec) = self.codecs.get(payload_type).copied().flatten() else {
            return out.notice(Notice::UnknownTrack);
        };
        let ext = &packet.header.ext_vals;
        let media = MediaPacket {
            sequence: *packet.seq_no,
            timestamp: packet.header.timestamp,
            marker: packet.header.marker,
            codec,
            audio_level: ext.audio_level.map(|l| l.unsigned_abs().min(127)),
            voice: ext.voice_activity.unwrap_or(false),
            orientation: ext.video_orientation,
            arrived: now,
            keyframe: false,
            vp8: None,
            payload: packet.payload,
        };
        out.notice(Notice::Media {
            source,
            layer,
            packet: media.inspect(),
        });
    }

    /// Finds out which track and layer a new SSRC is.
    fn learn(&mut self, ssrc: Ssrc) -> Ingress {
        /// Three camera layers, screen, microphone; more are resets of the browser's encoder.
        const INGRESS_MAX: usize = 32;
        let stream = self.rtc.direct_api().stream_rx(&ssrc).map(|s| (s.mid(), s.rid()));
        let ingress = match stream.and_then(|(mid, rid)| Some((self.plan.line(mid)?, rid))) {
            None => Ingress::Unknown,
            Some((line, _)) if !self.grants.publish.contains(&line.source) => Ingress::NotGranted,
            Some((line, rid)) => {
                let rid = rid.map(|r| r.to_string()).unwrap_or_default();
                match line.rids.iter().position(|r| *r == rid) {
                    Some(layer) => Ingress::Track {
                        source: line.source,
                        layer: layer as u8,
                    },
                    None => Ingress::Unknown,
                }
            }
        };
        if self.ingress.len() >= INGRESS_MAX {
            self.ingress.remove(0);
        }
        self.ingress.push((ssrc, ingress));
        ingress
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

    /// Tells str0m's estimator what the subscriber has use for.
    pub(crate) fn set_bandwidth_wish(&mut self, minimum_bps: u64, desired_bps: u64) {
        self.guard(|c| {
            c.rtc
                .bwe()
                .set_bitrate(Bitrate::from(minimum_bps), Bitrate::from(desired_bps));
            Ok(())
        });
    }

    /// Applies an offer with new ICE credentials; returns the answer and the new local ufrag.
    pub(crate) fn restart_ice(&mut self, offer: str0m::change::SdpOffer) -> Option<(String, String)> {
        let answer = self.guard(|c| {
            let answer = c.rtc.sdp_api().accept_offer(offer)?;
            let ufrag = c.rtc.direct_api().local_ice_credentials().ufrag;
            Ok((answer.to_sdp_string(), ufrag))
        })?;
        self.dirty = true;
        Some(answer)
    }

    /// Sends RTCP BYE and DTLS close_notify; flush afterwards.
    pub(crate) fn close(&mut self) {
        self.guard(|c| c.rtc.close());
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("key", &self.key)
            .field("room", &self.room)
            .finish_non_exhaustive()
    }
}

/// Where a connection's outputs are collected while it is borrowed.
pub(crate) struct Sink<'a> {
    pub(crate) transmits: &'a mut VecDeque<Transmit>,
    pub(crate) notices: &'a mut Vec<Notice>,
    pub(crate) bytes_out: &'a mut u64,
    pub(crate) datagrams_out: &'a mut u64,
}

impl Sink<'_> {
    fn transmit(&mut self, transmit: Transmit) {
        *self.bytes_out += transmit.contents.len() as u64;
        *self.datagrams_out += 1;
        self.transmits.push_back(transmit);
    }

    fn notice(&mut self, notice: Notice) {
        self.notices.push(notice);
    }
}

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

fn make_slots(rtc: &mut Rtc, mids: &[Mid], video: bool, first_sequence: u16) -> Vec<Slot> {
    let mut direct = rtc.direct_api();
    let mut slots = Vec::with_capacity(mids.len());
    for (index, mid) in mids.iter().enumerate() {
        let Some(stream) = direct.stream_tx_by_mid(*mid, None) else {
            continue;
        };
        // Slots start apart so that a mix-up shows.
        let first = first_sequence.wrapping_add(index as u16 * 1_001);
        slots.push(Slot {
            mid: *mid,
            ssrc: stream.ssrc(),
            track: None,
            forwarder: Forwarder::new(video, first),
            height: 0,
            importance: usize::MAX,
            reason: LayerReason::Layout,
        });
    }
    slots
}

/// The negotiated payload type by codec, and the codec by payload type.
fn codec_tables(rtc: &Rtc, plan: &MediaPlan) -> ([Option<Pt>; CodecTag::COUNT], [Option<CodecTag>; 128]) {
    let mids = plan
        .publish
        .iter()
        .map(|l| l.mid)
        .chain(plan.audio_slots.iter().chain(&plan.video_slots).copied());
    let negotiated: Vec<Pt> = mids
        .filter_map(|m| rtc.media(m))
        .flat_map(|m| m.remote_pts().iter().copied())
        .collect();
    let mut payload_types = [None; CodecTag::COUNT];
    let mut codecs = [None; 128];
    for params in rtc
        .codec_config()
        .params()
        .iter()
        .filter(|p| negotiated.contains(&p.pt()))
    {
        let Some(tag) = CodecTag::of(&params.spec()) else {
            continue;
        };
        let pt = params.pt();
        if let Some(entry) = codecs.get_mut(usize::from(*pt)) {
            *entry = Some(tag);
        }
        payload_types[usize::from(tag.to_wire())].get_or_insert(pt);
    }
    (payload_types, codecs)
}
