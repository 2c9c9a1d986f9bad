//! Other edges: links, and the messages that come over them.

mod flows;
mod media;
mod rooms;

use std::time::Instant;

use medmesh_base::EdgeId;

use super::Sfu;
use crate::event::Output;
use crate::mesh::{FeedKey, MeshMessage};
use crate::room::{Peer, Room};
use crate::stats::DropReason;
use crate::track::TrackKey;

impl Sfu {
    /// A link to a peer is up; `datagram_max` bounds the bodies of media datagrams (bytes).
    /// Call again when the path's limit changes.
    pub fn handle_mesh_up(&mut self, now: Instant, peer: EdgeId, datagram_max: usize) {
        self.advance(now);
        if self.mesh.links.insert(peer, datagram_max).is_some() {
            return;
        }
        for id in self.rooms_with(peer) {
            if let Some(entry) = self.peer_mut(id, peer) {
                entry.told = false;
                entry.heard = false;
            }
            self.mark(id);
        }
    }

    /// The link to a peer is gone: its participants are, too.
    pub fn handle_mesh_down(&mut self, now: Instant, peer: EdgeId) {
        self.advance(now);
        if self.mesh.links.remove(&peer).is_none() {
            return;
        }
        self.mesh.inflows.retain(|_, f| f.peer != peer);
        let flows: Vec<u32> = self
            .mesh
            .outflows
            .keys()
            .filter(|(p, _)| *p == peer)
            .map(|(_, flow)| *flow)
            .collect();
        for flow in flows {
            self.mesh.end_outflow(peer, flow);
        }
        self.mesh.forget_caller_everywhere(peer);
        for id in self.rooms_with(peer) {
            let mut next = Vec::new();
            if let Some(entry) = self.peer_mut(id, peer) {
                next = entry.fallbacks();
                *entry = Peer {
                    link: std::mem::take(&mut entry.link),
                    ..Peer::default()
                };
            }
            self.want_peers(id, &next);
            self.resync(id);
        }
        self.refresh_flows();
    }

    /// A message came from a peer; [`MeshMessage::route`] says which shard gets it.
    pub fn handle_mesh_message(&mut self, now: Instant, peer: EdgeId, message: MeshMessage) {
        self.advance(now);
        match message {
            MeshMessage::RoomState {
                room,
                epoch,
                participants,
                reply_wanted,
            } => {
                self.handle_room_state(peer, room, epoch, participants, reply_wanted);
            }
            MeshMessage::RoomLeave { room, .. } => self.handle_room_leave(peer, room),
            MeshMessage::Subscribe {
                flow,
                room,
                participant,
                source,
                rid,
            } => {
                self.handle_subscribe(peer, flow, room, TrackKey { participant, source }, &rid);
            }
            MeshMessage::Unsubscribe { flow } => {
                self.mesh.end_outflow(peer, flow);
                self.refresh_flows();
            }
            MeshMessage::KeyframeRequest { flow } => match self.mesh.outflows.get(&(peer, flow)) {
                Some(&FeedKey { room, track, layer }) => self.request_keyframe(room, track, layer),
                None => self.count_drop(DropReason::MeshUnknownFlow),
            },
            MeshMessage::Nack { flow, sequences } => self.handle_nack(peer, flow, &sequences),
            MeshMessage::FlowGone { flow, .. } => {
                if let Some(inflow) = self.mesh.inflows.get_mut(&flow).filter(|f| f.peer == peer) {
                    inflow.gone = true;
                }
            }
            MeshMessage::Speaking {
                room,
                participant,
                level,
            } => {
                let now = self.now;
                let known = |r: &Room| {
                    r.peers
                        .get(&peer)
                        .is_some_and(|p| p.participants.iter().any(|m| m.participant == participant))
                };
                match self.rooms.get_mut(&room) {
                    Some(room) if known(room) => room.speakers.set(now, participant, level),
                    _ => self.count_drop(DropReason::MeshUnknownRoom),
                }
            }
        }
    }

    fn tell(&mut self, peer: EdgeId, message: MeshMessage) {
        if self.mesh.links.contains_key(&peer) {
            self.outputs.push_back(Output::MeshMessage { peer, message });
        }
    }
}
