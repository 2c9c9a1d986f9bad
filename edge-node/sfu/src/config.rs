//! What a shard is told once.

use std::net::SocketAddr;
use std::time::Duration;

use medmesh_base::EdgeId;
use str0m::config::DtlsCert;

/// A certificate for [`SfuConfig::dtls_cert`]. Costs about 2 ms: make one per
/// process and share it (all shards may use the same).
#[must_use]
pub fn generate_certificate() -> DtlsCert {
    str0m::crypto::from_feature_flags()
        .dtls_provider
        .generate_certificate()
        .expect("the aws-lc-rs provider makes certificates")
}

/// What a shard is told once.
#[derive(Clone, Debug)]
pub struct SfuConfig {
    /// The edge this shard belongs to.
    pub edge: EdgeId,
    /// Number of this shard: the top byte of its flow ids and resource ids.
    pub shard: u8,
    /// Identity of every connection of the shard.
    pub dtls_cert: DtlsCert,
    /// Host candidates of the answers: the addresses of the shard's own UDP socket.
    pub candidates: Vec<SocketAddr>,
    /// Source of everything unguessable (resource ids, ICE passwords): 32 bytes of
    /// entropy in production, a fixed value in tests.
    pub seed: [u8; 32],
    /// Bounds and intervals.
    pub limits: Limits,
}

/// Bounds and intervals of a shard.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Rooms a shard holds at once.
    pub rooms_max: usize,
    /// Participants of one room, those on other edges included: six people are a visit; edges that carry
    /// webinars or benches raise it.
    pub participants_per_room_max: usize,
    /// Offers larger than this are refused: Chromium's 16 m-lines are about 30 kB.
    pub offer_bytes_max: usize,
    /// A participant from whom nothing authentic came for so long is removed.
    pub silence: Duration,
    /// A connection that is not up after so long is removed.
    pub connect: Duration,
    /// Bandwidth estimate a subscriber starts with, bits per second: too low and the
    /// first second waits in the pacer, too high and a thin link starts with loss.
    pub bandwidth_start_bps: u64,
    /// Keyframes are asked of one layer at most once in this time. Browsers drop a request
    /// that comes within 300 ms of the one before; the rest is for jitter on the way there.
    pub keyframe_interval: Duration,
    /// Packets kept per published layer for peers' re-requests.
    pub mesh_cache_packets: usize,
    /// Packets kept per receive slot for the subscriber's re-requests: a second of the
    /// largest camera layer. What is kept longer costs memory and, because every packet
    /// goes through it, the processor's cache.
    pub rtx_cache_packets: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            rooms_max: 1_000,
            participants_per_room_max: 6,
            offer_bytes_max: 128 * 1024,
            silence: Duration::from_secs(10),
            connect: Duration::from_secs(30),
            bandwidth_start_bps: 2_000_000,
            keyframe_interval: Duration::from_millis(320),
            mesh_cache_packets: 512,
            rtx_cache_packets: 256,
        }
    }
}
