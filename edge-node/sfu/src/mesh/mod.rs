//! Between edges: messages, the media datagram codec, flows in and out.

mod feed;
mod inflow;
mod message;
mod packet;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use medmesh_base::{EdgeId, RoomId};

pub(crate) use feed::Feed;
pub(crate) use inflow::{Arrival, Gaps, Inflow};
pub use message::{MeshLayer, MeshMessage, MeshParticipant, MeshTrack, Route, flow_shard};
pub(crate) use packet::{Body, Reassembly};

use crate::track::TrackKey;

#[cfg(test)]
mod tests;

/// Flow ids below the shard's byte.
const FLOW_MASK: u32 = 0x00ff_ffff;

/// Rooms remembered that only peers have people in: what a shard of a busy fleet hears of
/// between a placement and the join it is for.
const CALLED_ROOMS_MAX: usize = 4_096;

/// The shard's side of every link.
#[derive(Debug)]
pub(crate) struct Mesh {
    shard: u8,
    /// Links that are up, with the largest body each carries.
    pub(crate) links: BTreeMap<EdgeId, usize>,
    /// Peers the driver was told to have a link to.
    pub(crate) wanted: BTreeSet<EdgeId>,
    pub(crate) inflows: HashMap<u32, Inflow>,
    pub(crate) feeds: HashMap<FeedKey, Feed>,
    /// Which feed a peer's flow is.
    pub(crate) outflows: HashMap<(EdgeId, u32), FeedKey>,
    /// Peers that spoke of a room nobody is in here yet. Whoever comes first may have been
    /// placed before that peer was known, and their token does not name it.
    callers: BTreeMap<RoomId, BTreeSet<EdgeId>>,
    last_flow: u32,
}

/// A local layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct FeedKey {
    pub(crate) room: RoomId,
    pub(crate) track: TrackKey,
    pub(crate) layer: u8,
}

impl Mesh {
    pub(crate) fn new(shard: u8) -> Self {
        Self {
            shard,
            links: BTreeMap::new(),
            wanted: BTreeSet::new(),
            inflows: HashMap::new(),
            feeds: HashMap::new(),
            outflows: HashMap::new(),
            callers: BTreeMap::new(),
            last_flow: 0,
        }
    }

    /// Remembers that `peer` spoke of a room that is not here.
    pub(crate) fn remember_caller(&mut self, room: RoomId, peer: EdgeId) {
        if self.callers.len() < CALLED_ROOMS_MAX || self.callers.contains_key(&room) {
            self.callers.entry(room).or_default().insert(peer);
        }
    }

    /// Forgets it: the peer left the room.
    pub(crate) fn forget_caller(&mut self, room: RoomId, peer: EdgeId) {
        if let Some(peers) = self.callers.get_mut(&room) {
            peers.remove(&peer);
            if peers.is_empty() {
                self.callers.remove(&room);
            }
        }
    }

    /// Forgets it for every room: the link is gone.
    pub(crate) fn forget_caller_everywhere(&mut self, peer: EdgeId) {
        self.callers.retain(|_, peers| {
            peers.remove(&peer);
            !peers.is_empty()
        });
    }

    /// The peers that spoke of a room which is here now.
    pub(crate) fn take_callers(&mut self, room: RoomId) -> BTreeSet<EdgeId> {
        self.callers.remove(&room).unwrap_or_default()
    }

    /// A flow id that is not in use; they are not reused soon, so that a late datagram of
    /// an old flow is not taken for a new one's.
    pub(crate) fn next_flow(&mut self) -> u32 {
        loop {
            self.last_flow = (self.last_flow + 1) & FLOW_MASK;
            let flow = (u32::from(self.shard) << 24) | self.last_flow;
            if !self.inflows.contains_key(&flow) {
                return flow;
            }
        }
    }

    /// The flow a layer is pulled on, and from whom.
    pub(crate) fn inflow_of(&self, room: RoomId, track: TrackKey, rid: &str) -> Option<(u32, EdgeId)> {
        let found = |f: &Inflow| f.room == room && f.track == track && f.rid == rid;
        let (flow, inflow) = self.inflows.iter().find(|(_, f)| found(f))?;
        Some((*flow, inflow.peer))
    }

    /// Ends a peer's flow; the feed goes with the last of them.
    pub(crate) fn end_outflow(&mut self, peer: EdgeId, flow: u32) -> Option<FeedKey> {
        let key = self.outflows.remove(&(peer, flow))?;
        if let Some(feed) = self.feeds.get_mut(&key) {
            feed.flows.retain(|f| *f != (peer, flow));
            if feed.flows.is_empty() {
                self.feeds.remove(&key);
            }
        }
        Some(key)
    }
}
