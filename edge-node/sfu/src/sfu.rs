//! The shard: every room, and the verbs that drive it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use medmesh_base::{EdgeId, ParticipantId, RoomId};

use crate::config::SfuConfig;
use crate::event::{LeaveReason, Output, SessionView};
use crate::join::{IceRestarted, Join, JoinError, Joined, ResourceId, RestartError};
use crate::mesh::MeshMessage;
use crate::stats::Stats;

/// Longest sleep of an idle shard.
const IDLE: Duration = Duration::from_secs(1);

/// All rooms of one shard. See the crate documentation for how to drive it.
#[derive(Debug)]
pub struct Sfu {
    #[expect(dead_code, reason = "rooms move in next")]
    config: SfuConfig,
    stats: Stats,
    now: Instant,
}

impl Sfu {
    /// An empty shard.
    #[must_use]
    pub fn new(now: Instant, config: SfuConfig) -> Self {
        Self {
            config,
            stats: Stats::default(),
            now,
        }
    }

    /// Answers an offer. An older connection of the same participant is replaced,
    /// and stays untouched when the join is refused.
    ///
    /// # Errors
    /// See [`JoinError`]; nothing changed then.
    pub fn handle_join(&mut self, now: Instant, _join: Join) -> Result<Joined, JoinError> {
        self.now = now;
        Err(JoinError::Internal)
    }

    /// Who a connection belongs to: what the token of a later request must match.
    #[must_use]
    pub fn resource(&self, _resource: ResourceId) -> Option<(RoomId, ParticipantId)> {
        None
    }

    /// Restarts ICE with the credentials in a trickle-ice-sdpfrag (RFC 8840, RFC 9725 section 4.3.3).
    ///
    /// # Errors
    /// See [`RestartError`]; nothing changed then.
    pub fn handle_ice_restart(
        &mut self,
        now: Instant,
        _resource: ResourceId,
        _fragment: &str,
    ) -> Result<IceRestarted, RestartError> {
        self.now = now;
        Err(RestartError::Unknown)
    }

    /// Ends a connection by its resource (DELETE). False when there is none.
    pub fn handle_delete(&mut self, now: Instant, _resource: ResourceId) -> bool {
        self.now = now;
        false
    }

    /// Ends a participant's connection. False when there is none.
    pub fn handle_leave(
        &mut self,
        now: Instant,
        _room: RoomId,
        _participant: ParticipantId,
        _reason: LeaveReason,
    ) -> bool {
        self.now = now;
        false
    }

    /// Ends every connection of a room. False when the room is not here.
    pub fn handle_room_end(&mut self, now: Instant, _room: RoomId, _reason: LeaveReason) -> bool {
        self.now = now;
        false
    }

    /// Tells the participants of a room (of every room: `None`) to move to their next edge.
    pub fn handle_migrate(&mut self, now: Instant, _room: Option<RoomId>, _reason: &str) {
        self.now = now;
    }

    /// A UDP datagram came in on the shard's socket.
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        _source: SocketAddr,
        _destination: SocketAddr,
        contents: &[u8],
    ) {
        self.now = now;
        self.stats.datagrams_in += 1;
        self.stats.bytes_in += contents.len() as u64;
    }

    /// A link to a peer is up; `datagram_max` bounds the bodies of media datagrams (bytes).
    /// Call again when the path's limit changes.
    pub fn handle_mesh_up(&mut self, now: Instant, _peer: EdgeId, _datagram_max: usize) {
        self.now = now;
    }

    /// The link to a peer is gone: its participants are, too.
    pub fn handle_mesh_down(&mut self, now: Instant, _peer: EdgeId) {
        self.now = now;
    }

    /// A media datagram (kind 0) came from a peer; `body` is what follows the flow id.
    pub fn handle_mesh_datagram(&mut self, now: Instant, _peer: EdgeId, _flow: u32, _body: &[u8]) {
        self.now = now;
    }

    /// A message came from a peer; [`MeshMessage::route`] says which shard gets it.
    pub fn handle_mesh_message(&mut self, now: Instant, _peer: EdgeId, _message: MeshMessage) {
        self.now = now;
    }

    /// The instant of the last [`Output::Timeout`] came.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = now;
    }

    /// What to do next; call until it says [`Output::Timeout`].
    pub fn poll_output(&mut self) -> Output {
        Output::Timeout(self.now + IDLE)
    }

    /// Counters for `/metrics`.
    #[must_use]
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Every local connection, for reports to the control plane.
    pub fn sessions(&self) -> impl Iterator<Item = SessionView> + '_ {
        std::iter::empty()
    }
}
