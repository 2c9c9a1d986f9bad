//! The shard: every room, and the verbs that drive it.
//!
//! Inputs change connections and mark rooms dirty; [`Sfu::poll_output`] first hands
//! out what is ready, then flushes written connections one by one (so that what
//! goes to one browser leaves as a run), then removes ended connections, then
//! settles dirty rooms, until nothing is left to do.

mod control;
mod datagram;
mod fanout;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod join;
mod mesh;
mod settle;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use medmesh_base::{ParticipantId, RoomId};
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::config::SfuConfig;
use crate::connection::{Connection, ConnectionKey, Connections, Notice, Sink};
use crate::event::{Event, LeaveReason, Output, SessionView, Transmit};
use crate::join::ResourceId;
use crate::mesh::Mesh;
use crate::room::Room;
use crate::stats::{DropReason, Stats};
use crate::track::TrackKey;

/// Longest sleep of an idle shard.
const IDLE: Duration = Duration::from_secs(1);
/// How often a room looks at bitrates, speakers and silence: a layer change within
/// 200 ms is as fast as an estimate can be trusted.
const ROOM_TICK: Duration = Duration::from_millis(200);

/// All rooms of one shard. See the crate documentation for how to drive it.
#[derive(Debug)]
pub struct Sfu {
    config: SfuConfig,
    rng: StdRng,
    now: Instant,
    stats: Stats,
    pub(crate) connections: Connections,
    connections_made: u64,
    resources: HashMap<ResourceId, ConnectionKey>,
    pub(crate) by_address: HashMap<SocketAddr, ConnectionKey>,
    pub(crate) by_ufrag: HashMap<String, ConnectionKey>,
    rooms: BTreeMap<RoomId, Room>,
    mesh: Mesh,
    timers: BinaryHeap<Reverse<(Instant, Timer)>>,
    transmits: VecDeque<Transmit>,
    outputs: VecDeque<Output>,
    notices: Vec<Notice>,
    /// Connections with something written, in the order it was.
    unflushed: VecDeque<ConnectionKey>,
    ended: Vec<ConnectionKey>,
    unsettled: Vec<RoomId>,
}

/// What a timer is for. A connection's or a flow's entry may be early: it is put back then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Connection(ConnectionKey),
    Room(RoomId),
    Flow(u32),
    Keyframe(RoomId, TrackKey, u8),
}

impl Sfu {
    /// An empty shard.
    #[must_use]
    pub fn new(now: Instant, config: SfuConfig) -> Self {
        Self {
            rng: StdRng::from_seed(config.seed),
            mesh: Mesh::new(config.shard),
            config,
            now,
            stats: Stats::default(),
            connections: Connections::default(),
            connections_made: 0,
            resources: HashMap::new(),
            by_address: HashMap::new(),
            by_ufrag: HashMap::new(),
            rooms: BTreeMap::new(),
            timers: BinaryHeap::new(),
            transmits: VecDeque::new(),
            outputs: VecDeque::new(),
            notices: Vec::new(),
            unflushed: VecDeque::new(),
            ended: Vec::new(),
            unsettled: Vec::new(),
        }
    }

    /// Time never runs backwards in here.
    fn advance(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    /// The instant of the last [`Output::Timeout`] came.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.advance(now);
        while let Some(&Reverse((at, timer))) = self.timers.peek() {
            if at > self.now {
                break;
            }
            self.timers.pop();
            match timer {
                Timer::Connection(key) => self.connection_timer(key),
                Timer::Room(room) => self.room_timer(room),
                Timer::Flow(flow) => self.flow_timer(flow),
                Timer::Keyframe(room, track, layer) => self.keyframe_timer(room, track, layer),
            }
        }
    }

    fn connection_timer(&mut self, key: ConnectionKey) {
        let Some(connection) = self.connections.get_mut(&key) else {
            return;
        };
        connection.scheduled = None;
        if connection.due <= self.now {
            connection.dirty = true;
            self.queue_flush(key);
        } else {
            self.schedule(key);
        }
    }

    fn room_timer(&mut self, id: RoomId) {
        let Some(room) = self.rooms.get(&id) else { return };
        for (_, key) in room.local.clone() {
            self.check_silence(key);
        }
        self.tick_room(id);
        self.timers.push(Reverse((self.now + ROOM_TICK, Timer::Room(id))));
    }

    fn check_silence(&mut self, key: ConnectionKey) {
        let Some(connection) = self.connections.get_mut(&key) else {
            return;
        };
        let limits = &self.config.limits;
        let silent = self.now.saturating_duration_since(connection.heard_at);
        let reason = match connection.connected_at {
            None if self.now.saturating_duration_since(connection.joined_at) >= limits.connect => {
                LeaveReason::NeverConnected
            }
            Some(_) if silent >= limits.silence => LeaveReason::Silent,
            _ => return,
        };
        self.end(key, reason);
    }

    /// What to do next; call until it says [`Output::Timeout`].
    pub fn poll_output(&mut self) -> Output {
        loop {
            if let Some(transmit) = self.transmits.pop_front() {
                return Output::Transmit(transmit);
            }
            if let Some(output) = self.outputs.pop_front() {
                return output;
            }
            if let Some(key) = self.unflushed.pop_front() {
                self.flush(key);
            } else if let Some(key) = self.ended.pop() {
                self.remove(key);
            } else if let Some(room) = self.unsettled.pop() {
                self.settle(room);
            } else {
                let next = self.timers.peek().map_or(self.now + IDLE, |Reverse((at, _))| *at);
                return Output::Timeout(next.max(self.now));
            }
        }
    }

    /// Counters for `/metrics`.
    #[must_use]
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Every local connection, for reports to the control plane.
    pub fn sessions(&self) -> impl Iterator<Item = SessionView> + '_ {
        self.connections.values().map(|c| SessionView {
            room: c.room,
            participant: c.participant,
            epoch: c.epoch,
            connected: c.connected_at.is_some(),
            connected_for: c.connected_for(self.now),
            remote: c.link.remote,
            rtt: c.link.rtt,
            loss_ratio: c.link.loss_ratio,
            estimate_bps: c.link.estimate_bps,
        })
    }

    /// Queues a connection that was written to.
    fn queue_flush(&mut self, key: ConnectionKey) {
        let Some(connection) = self.connections.get_mut(&key) else {
            return;
        };
        if connection.ended.is_some() && !connection.doomed {
            connection.doomed = true;
            self.ended.push(key);
        } else if connection.dirty && !connection.queued {
            connection.queued = true;
            self.unflushed.push_back(key);
        }
    }

    fn flush(&mut self, key: ConnectionKey) {
        let now = self.now;
        self.with_sink(key, |connection, sink| {
            connection.queued = false;
            connection.flush(now, sink);
        });
    }

    /// Runs `f` with a connection and somewhere for its outputs, then acts on its notices.
    fn with_sink<R>(
        &mut self,
        key: ConnectionKey,
        f: impl FnOnce(&mut Connection, &mut Sink<'_>) -> R,
    ) -> Option<R> {
        let connection = self.connections.get_mut(&key)?;
        let mut notices = std::mem::take(&mut self.notices);
        let mut sink = Sink {
            transmits: &mut self.transmits,
            notices: &mut notices,
            bytes_out: &mut self.stats.bytes_out,
            datagrams_out: &mut self.stats.datagrams_out,
        };
        let value = f(connection, &mut sink);
        if std::mem::take(&mut connection.panicked) {
            self.stats.panics += 1;
        }
        for notice in notices.drain(..) {
            self.handle_notice(key, notice);
        }
        self.notices = notices;
        self.schedule(key);
        self.queue_flush(key);
        Some(value)
    }

    /// Makes sure the heap wakes the connection when it is due.
    fn schedule(&mut self, key: ConnectionKey) {
        let Some(connection) = self.connections.get_mut(&key) else {
            return;
        };
        schedule(&mut self.timers, connection);
    }

    fn event(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }

    fn mark(&mut self, id: RoomId) {
        if let Some(room) = self.rooms.get_mut(&id)
            && !std::mem::replace(&mut room.dirty, true)
        {
            self.unsettled.push(id);
        }
    }

    fn count_drop(&mut self, reason: DropReason) {
        self.stats.count_drop(reason);
    }

    /// The local connection of a participant.
    fn connection_of(&self, room: RoomId, participant: ParticipantId) -> Option<ConnectionKey> {
        self.rooms.get(&room)?.connection_of(participant)
    }
}

/// Makes sure the heap wakes a connection when it is due.
fn schedule(timers: &mut BinaryHeap<Reverse<(Instant, Timer)>>, connection: &mut Connection) {
    if connection.scheduled.is_none_or(|at| connection.due < at) {
        connection.scheduled = Some(connection.due);
        timers.push(Reverse((connection.due, Timer::Connection(connection.key))));
    }
}
