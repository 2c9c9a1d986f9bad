//! Counters of a shard. No per-person labels, ever.

use std::collections::BTreeMap;

use crate::event::LeaveReason;

/// Everything counted since the shard began. Gauges are named as such.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// UDP datagrams in.
    pub datagrams_in: u64,
    /// UDP payload bytes in.
    pub bytes_in: u64,
    /// UDP datagrams out.
    pub datagrams_out: u64,
    /// UDP payload bytes out.
    pub bytes_out: u64,
    /// RTP packets from local publishers.
    pub rtp_in: u64,
    /// RTP packets forwarded to local subscribers (one per subscriber).
    pub rtp_forwarded: u64,
    /// Media datagrams from peers.
    pub mesh_datagrams_in: u64,
    /// Media bytes from peers (bodies).
    pub mesh_bytes_in: u64,
    /// Media datagrams to peers.
    pub mesh_datagrams_out: u64,
    /// Media bytes to peers (bodies).
    pub mesh_bytes_out: u64,
    /// Packets that had to be split for the path.
    pub mesh_fragmented: u64,
    /// Packets asked of a peer again.
    pub mesh_nacks_out: u64,
    /// Packets a peer asked for again.
    pub mesh_nacks_in: u64,
    /// Packets re-sent to peers from the cache.
    pub mesh_resent: u64,
    /// Missing packets that came after being asked for.
    pub mesh_recovered: u64,
    /// Keyframe requests sent to publishers or origins.
    pub keyframes_requested: u64,
    /// Keyframe requests that fell into another's interval.
    pub keyframes_coalesced: u64,
    /// Layer switches carried out.
    pub layer_switches: u64,
    /// Joins answered.
    pub joins: u64,
    /// Joins refused, by reason.
    pub joins_refused: BTreeMap<&'static str, u64>,
    /// Connections ended, by reason.
    pub left: BTreeMap<LeaveReason, u64>,
    /// Datagrams, packets and messages dropped, by reason.
    pub dropped: BTreeMap<DropReason, u64>,
    /// Panics caught inside a connection.
    pub panics: u64,
    /// Gauge: rooms with local participants.
    pub rooms: u64,
    /// Gauge: local connections.
    pub participants: u64,
    /// Gauge: layers pulled from peers.
    pub flows_in: u64,
    /// Gauge: layers sent to peers.
    pub flows_out: u64,
}

impl Stats {
    pub(crate) fn count_drop(&mut self, reason: DropReason) {
        *self.dropped.entry(reason).or_default() += 1;
    }
}

/// Why something was not processed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DropReason {
    /// Not STUN, DTLS, RTP or RTCP.
    Unparseable,
    /// From an address no connection is bound to.
    UnknownSource,
    /// A STUN check for a ufrag nobody has.
    UnknownUfrag,
    /// A STUN check whose integrity is wrong.
    BadIntegrity,
    /// RTP of a track that the token does not grant.
    NotGranted,
    /// RTP whose track could not be told.
    UnknownTrack,
    /// A codec the receiver has not negotiated.
    CodecMismatch,
    /// From before the keyframe the receiver was switched at.
    BeforeSwitch,
    /// A control message that is too big, not JSON or not understood.
    BadControl,
    /// Control messages faster than the bound.
    ControlRate,
    /// A control message that did not fit the channel's buffer; state is sent again later.
    ControlBuffer,
    /// A media datagram of a flow nobody asked for.
    MeshUnknownFlow,
    /// A media datagram that does not parse.
    MeshMalformed,
    /// A media packet that had come before.
    MeshDuplicate,
    /// A media packet too late to be useful.
    MeshLate,
    /// Fragments whose rest never came.
    MeshIncomplete,
    /// A missing packet that was given up after the last retry.
    MeshUnrecovered,
    /// A re-request for a packet the cache has no more.
    MeshCacheMiss,
    /// A message of an older assignment.
    MeshStaleEpoch,
    /// A message about a room without local participants.
    MeshUnknownRoom,
    /// A message beyond a bound.
    MeshLimit,
    /// A packet that does not fit the path even in fragments.
    MeshTooBig,
}

impl DropReason {
    /// The label of metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unparseable => "unparseable",
            Self::UnknownSource => "unknown_source",
            Self::UnknownUfrag => "unknown_ufrag",
            Self::BadIntegrity => "bad_integrity",
            Self::NotGranted => "not_granted",
            Self::UnknownTrack => "unknown_track",
            Self::CodecMismatch => "codec_mismatch",
            Self::BeforeSwitch => "before_switch",
            Self::BadControl => "bad_control",
            Self::ControlRate => "control_rate",
            Self::ControlBuffer => "control_buffer",
            Self::MeshUnknownFlow => "mesh_unknown_flow",
            Self::MeshMalformed => "mesh_malformed",
            Self::MeshDuplicate => "mesh_duplicate",
            Self::MeshLate => "mesh_late",
            Self::MeshIncomplete => "mesh_incomplete",
            Self::MeshUnrecovered => "mesh_unrecovered",
            Self::MeshCacheMiss => "mesh_cache_miss",
            Self::MeshStaleEpoch => "mesh_stale_epoch",
            Self::MeshUnknownRoom => "mesh_unknown_room",
            Self::MeshLimit => "mesh_limit",
            Self::MeshTooBig => "mesh_too_big",
        }
    }
}
