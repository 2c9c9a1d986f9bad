//! One participant's WebRTC connection: the only place that touches str0m.
//!
//! Every call into str0m goes through [`Connection::guard`]: its internal
//! consistency checks panic by design, and such a panic ends this connection.

mod receive;
mod send;
mod slots;

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use medmesh_base::media_token::{Grants, MeshEdge, Source};
use medmesh_base::{ParticipantId, RoomId};
use str0m::Rtc;
use str0m::channel::ChannelId;
use str0m::media::{Mid, Pt};
use str0m::rtp::Ssrc;

pub(crate) use receive::Sink;
pub(crate) use slots::{Slot, Slots, VIDEO_SLOT_BASE};

use crate::codec::CodecTag;
use crate::control::{Control, Wish};
use crate::event::LeaveReason;
use crate::join::ResourceId;
use crate::packet::MediaPacket;
use crate::plan::MediaPlan;
use slots::make_slots;

/// Names a connection for the life of the shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ConnectionKey(pub(crate) u64);

/// Hashes the shard's own running numbers: nobody outside chooses them, so there is nothing
/// to defend against, and several are looked up for every packet that is forwarded.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        // Fibonacci hashing: the golden ratio's bits spread neighbours over the whole table.
        self.0 = (self.0 ^ number)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(32);
    }
}

/// Connections by key.
pub(crate) type Connections = HashMap<ConnectionKey, Connection, BuildHasherDefault<KeyHasher>>;

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
    /// Told to go to another edge: any newer connection there is the one in use.
    pub(crate) is_migrating: bool,
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
    /// What the estimator was last told there is use for.
    pub(crate) bandwidth_wish_bps: u64,
    /// When str0m wants to be called, or pictures that wait for others are to go.
    pub(crate) due: Instant,
    /// When something was last put out.
    pub(super) flushed_at: Instant,
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
    pub(crate) rtx_cache_packets: usize,
}

impl Connection {
    /// How long ICE and DTLS are up; `None` while they are not.
    pub(crate) fn connected_for(&self, now: Instant) -> Option<Duration> {
        self.connected_at.map(|at| now.saturating_duration_since(at))
    }

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
            rtx_cache_packets,
        } = parts;
        let mut slots =
            |mids: &[Mid], video| make_slots(&mut rtc, mids, video, first_sequence, rtx_cache_packets);
        let slots = Slots {
            audio: slots(&plan.audio_slots, false),
            video: slots(&plan.video_slots, true),
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
            is_migrating: false,
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
            bandwidth_wish_bps: 0,
            due: now,
            flushed_at: now,
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
