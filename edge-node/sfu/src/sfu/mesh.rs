//! Other edges: who has whom, what is pulled, what is sent.

use std::cmp::Reverse;
use std::time::Instant;

use bytes::Bytes;
use medmesh_base::{EdgeId, ParticipantId, RoomId};

use super::{Sfu, Timer};
use crate::event::{MeshDatagram, Output};
use crate::mesh::{Arrival, Body, FeedKey, MeshLayer, MeshMessage, MeshParticipant, MeshTrack};
use crate::packet::MediaPacket;
use crate::room::{PEERS_MAX, Peer, Room};
use crate::stats::DropReason;
use crate::track::{Origin, Track, TrackKey};

/// Flows one peer may pull from a shard: 100 rooms of 6 people with everything on.
const OUTFLOWS_PER_PEER_MAX: usize = 2_000;
/// Re-requests looked at in one message.
const NACK_SEQUENCES_MAX: usize = 256;
/// People of one room another edge may have; a visit has six, an event may have more.
const REMOTE_PARTICIPANTS_MAX: usize = 256;

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
        for id in self.rooms_with(peer) {
            if let Some(entry) = self.peer_mut(id, peer) {
                *entry = Peer {
                    link: std::mem::take(&mut entry.link),
                    ..Peer::default()
                };
            }
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

    fn handle_room_state(
        &mut self,
        peer: EdgeId,
        id: RoomId,
        epoch: u64,
        mut participants: Vec<MeshParticipant>,
        reply_wanted: bool,
    ) {
        let Some(room) = self.rooms.get_mut(&id) else {
            self.count_drop(DropReason::MeshUnknownRoom);
            if reply_wanted {
                self.tell(
                    peer,
                    MeshMessage::RoomLeave {
                        room: id,
                        reason: "nobody here".to_owned(),
                    },
                );
            }
            return;
        };
        if !room.peers.contains_key(&peer) && room.peers.len() >= PEERS_MAX {
            return self.count_drop(DropReason::MeshLimit);
        }
        let stale = epoch < room.epoch;
        let entry = room.peers.entry(peer).or_default();
        if stale {
            // Tell it of the newer assignment; it will answer under that.
            entry.told = false;
            entry.heard = false;
            self.count_drop(DropReason::MeshStaleEpoch);
            return self.mark(id);
        }
        if participants.len() > REMOTE_PARTICIPANTS_MAX {
            participants.truncate(REMOTE_PARTICIPANTS_MAX);
            self.stats.count_drop(DropReason::MeshLimit);
        }
        entry.heard = true;
        entry.told &= !reply_wanted;
        entry.participants = participants;
        room.epoch = epoch;
        self.mesh
            .inflows
            .retain(|_, f| !(f.gone && f.peer == peer && f.room == id));
        self.resync(id);
    }

    fn handle_room_leave(&mut self, peer: EdgeId, id: RoomId) {
        let Some(entry) = self.peer_mut(id, peer) else {
            return;
        };
        entry.participants.clear();
        entry.heard = true;
        let flows: Vec<u32> = self
            .mesh
            .outflows
            .iter()
            .filter(|((p, _), key)| *p == peer && key.room == id)
            .map(|((_, flow), _)| *flow)
            .collect();
        for flow in flows {
            self.mesh.end_outflow(peer, flow);
        }
        self.resync(id);
    }

    fn handle_subscribe(&mut self, peer: EdgeId, flow: u32, room: RoomId, track: TrackKey, rid: &str) {
        let found = self.rooms.get(&room).and_then(|r| r.tracks.get(&track));
        // Only our own people's tracks: a pulled track is never passed on.
        let layer = found
            .filter(|t| matches!(t.origin, Origin::Local(_)))
            .and_then(|t| t.layer_by_rid(rid));
        let pulls = self.mesh.outflows.keys().filter(|(p, _)| *p == peer).count();
        let refused = if layer.is_none() {
            Some("unknown track")
        } else if pulls >= OUTFLOWS_PER_PEER_MAX || self.mesh.outflows.contains_key(&(peer, flow)) {
            self.count_drop(DropReason::MeshLimit);
            Some("limit")
        } else {
            None
        };
        let (Some(layer), None) = (layer, refused) else {
            let reason = refused.unwrap_or("unknown track").to_owned();
            return self.tell(peer, MeshMessage::FlowGone { flow, reason });
        };
        let key = FeedKey { room, track, layer };
        self.mesh.outflows.insert((peer, flow), key);
        self.mesh.feeds.entry(key).or_default().flows.push((peer, flow));
        if !track.is_audio() {
            self.request_keyframe(room, track, layer);
        }
        self.refresh_flows();
    }

    fn handle_nack(&mut self, peer: EdgeId, flow: u32, sequences: &[u64]) {
        let Some(feed) = self
            .mesh
            .outflows
            .get(&(peer, flow))
            .and_then(|k| self.mesh.feeds.get(k))
        else {
            return self.count_drop(DropReason::MeshUnknownFlow);
        };
        let mut again = Vec::new();
        for sequence in sequences.iter().take(NACK_SEQUENCES_MAX) {
            self.stats.mesh_nacks_in += 1;
            match feed.cached(*sequence) {
                Some(body) => again.push(body.clone()),
                None => self.stats.count_drop(DropReason::MeshCacheMiss),
            }
        }
        for body in again {
            self.stats.mesh_resent += 1;
            let Ok(parsed) = Body::parse(&body) else { continue };
            self.send_body(
                peer,
                flow,
                &Body {
                    resent: true,
                    ..parsed
                },
            );
        }
    }

    /// A media datagram (kind 0) came from a peer; `body` is what follows the flow id.
    pub fn handle_mesh_datagram(&mut self, now: Instant, peer: EdgeId, flow: u32, body: &[u8]) {
        self.advance(now);
        let now = self.now;
        self.stats.mesh_datagrams_in += 1;
        self.stats.mesh_bytes_in += body.len() as u64;
        let Some(inflow) = self.mesh.inflows.get_mut(&flow).filter(|f| f.peer == peer) else {
            return self.count_drop(DropReason::MeshUnknownFlow);
        };
        let Ok(body) = Body::parse(body) else {
            return self.count_drop(DropReason::MeshMalformed);
        };
        let payload = if body.fragment.is_some() {
            let mut dropped = 0;
            let whole = inflow.reassembly.add(&body, &mut dropped);
            *self.stats.dropped.entry(DropReason::MeshIncomplete).or_default() += dropped;
            match whole {
                Some(payload) => payload,
                None => return,
            }
        } else {
            body.payload.into()
        };
        match inflow.gaps.note(now, body.sequence) {
            Arrival::New | Arrival::Filled(false) => {}
            Arrival::Filled(true) => self.stats.mesh_recovered += 1,
            Arrival::Known => return self.count_drop(DropReason::MeshDuplicate),
        }
        if !inflow.scheduled
            && let Some(due) = inflow.gaps.due()
        {
            inflow.scheduled = true;
            self.timers.push(Reverse((due, Timer::Flow(flow))));
        }
        let (room, track) = (inflow.room, inflow.track);
        let packet = body.packet(payload, now);
        let Some(entry) = self.rooms.get_mut(&room).and_then(|r| r.tracks.get_mut(&track)) else {
            return;
        };
        let Some(layer) = entry.layer_by_rid(&inflow.rid) else {
            return;
        };
        entry.codec = Some(packet.codec);
        entry.layers[usize::from(layer)].note_packet(now, packet.payload.len());
        self.forward(room, track, layer, &packet);
    }

    pub(super) fn flow_timer(&mut self, flow: u32) {
        let Some(inflow) = self.mesh.inflows.get_mut(&flow) else {
            return;
        };
        inflow.scheduled = false;
        let (sequences, given_up) = inflow.gaps.poll(self.now);
        if let Some(due) = inflow.gaps.due() {
            inflow.scheduled = true;
            self.timers.push(Reverse((due, Timer::Flow(flow))));
        }
        let (peer, room, track) = (inflow.peer, inflow.room, inflow.track);
        let rid = inflow.rid.clone();
        if given_up > 0 {
            *self.stats.dropped.entry(DropReason::MeshUnrecovered).or_default() += given_up;
            let layer = self
                .rooms
                .get(&room)
                .and_then(|r| r.tracks.get(&track))
                .and_then(|t| t.layer_by_rid(&rid));
            if let Some(layer) = layer.filter(|_| !track.is_audio()) {
                self.request_keyframe(room, track, layer);
            }
        }
        if !sequences.is_empty() {
            self.stats.mesh_nacks_out += sequences.len() as u64;
            self.tell(peer, MeshMessage::Nack { flow, sequences });
        }
    }

    /// Sends a local packet to every peer that pulls its layer.
    pub(super) fn forward_to_peers(
        &mut self,
        room: RoomId,
        track: TrackKey,
        layer: u8,
        packet: &MediaPacket,
    ) {
        if self.mesh.feeds.is_empty() {
            return;
        }
        let Some(feed) = self.mesh.feeds.get_mut(&FeedKey { room, track, layer }) else {
            return;
        };
        let body = Body::of(packet);
        let whole = body.write();
        feed.keep(
            body.sequence,
            whole.clone(),
            self.config.limits.mesh_cache_packets,
        );
        for (peer, flow) in feed.flows.clone() {
            match self.mesh.links.get(&peer) {
                Some(max) if whole.len() <= *max => self.send_datagram(peer, flow, whole.clone()),
                _ => self.send_body(peer, flow, &body),
            }
        }
    }

    fn send_body(&mut self, peer: EdgeId, flow: u32, body: &Body<'_>) {
        let Some(max) = self.mesh.links.get(&peer) else {
            return;
        };
        let bodies = body.split(*max);
        match bodies.len() {
            0 => return self.count_drop(DropReason::MeshTooBig),
            1 => {}
            _ => self.stats.mesh_fragmented += 1,
        }
        for body in bodies {
            self.send_datagram(peer, flow, body);
        }
    }

    fn send_datagram(&mut self, peer: EdgeId, flow: u32, body: Bytes) {
        self.stats.mesh_datagrams_out += 1;
        self.stats.mesh_bytes_out += body.len() as u64;
        self.outputs
            .push_back(Output::MeshDatagram(MeshDatagram { peer, flow, body }));
    }

    fn tell(&mut self, peer: EdgeId, message: MeshMessage) {
        if self.mesh.links.contains_key(&peer) {
            self.outputs.push_back(Output::MeshMessage { peer, message });
        }
    }

    /// Adds the edges of a token to a room and asks for links to them.
    pub(super) fn want_peers(&mut self, id: RoomId, mesh: &[medmesh_base::media_token::MeshEdge]) {
        let own = self.config.edge;
        let Some(room) = self.rooms.get_mut(&id) else {
            return;
        };
        for edge in mesh.iter().filter(|e| e.id != own) {
            if !room.peers.contains_key(&edge.id) && room.peers.len() >= PEERS_MAX {
                self.stats.count_drop(DropReason::MeshLimit);
                continue;
            }
            room.peers.entry(edge.id).or_default().link.clone_from(&edge.link);
            if self.mesh.wanted.insert(edge.id) {
                self.outputs.push_back(Output::MeshWanted {
                    peer: edge.id,
                    link: edge.link.clone(),
                });
            }
        }
    }

    /// The last local participant left: peers hear of it, links nobody needs are let go.
    pub(super) fn leave_mesh(&mut self, id: RoomId) {
        let Some(room) = self.rooms.get(&id) else { return };
        let peers: Vec<EdgeId> = room.peers.keys().copied().collect();
        let flows: Vec<(EdgeId, u32)> = self
            .mesh
            .outflows
            .iter()
            .filter(|(_, k)| k.room == id)
            .map(|(flow, _)| *flow)
            .collect();
        for (peer, flow) in flows {
            self.mesh.end_outflow(peer, flow);
        }
        self.end_inflows(|f| f.room == id);
        for peer in peers {
            self.tell(
                peer,
                MeshMessage::RoomLeave {
                    room: id,
                    reason: "empty".to_owned(),
                },
            );
            let needed = self
                .rooms
                .iter()
                .any(|(other, r)| *other != id && r.peers.contains_key(&peer));
            if !needed && self.mesh.wanted.remove(&peer) {
                self.outputs.push_back(Output::MeshIdle { peer });
            }
        }
        self.refresh_flows();
    }

    fn end_inflows(&mut self, which: impl Fn(&crate::mesh::Inflow) -> bool) {
        let ended: Vec<(u32, EdgeId, bool)> = self
            .mesh
            .inflows
            .iter()
            .filter(|(_, f)| which(f))
            .map(|(flow, f)| (*flow, f.peer, f.gone))
            .collect();
        for (flow, peer, gone) in ended {
            self.mesh.inflows.remove(&flow);
            if !gone {
                self.tell(peer, MeshMessage::Unsubscribe { flow });
            }
        }
    }

    pub(super) fn request_remote_keyframe(&mut self, room: RoomId, track: TrackKey, layer: u8) {
        let rid = self
            .rooms
            .get(&room)
            .and_then(|r| r.tracks.get(&track))
            .and_then(|t| t.layers.get(usize::from(layer)));
        let Some(rid) = rid.map(|l| l.rid.clone()) else {
            return;
        };
        let flow = self
            .mesh
            .inflows
            .iter()
            .find(|(_, f)| f.room == room && f.track == track && f.rid == rid);
        if let Some((&flow, inflow)) = flow {
            let peer = inflow.peer;
            self.stats.keyframes_requested += 1;
            self.tell(peer, MeshMessage::KeyframeRequest { flow });
        }
    }

    /// Tells peers of our people, if they have to hear of them.
    pub(super) fn announce(&mut self, id: RoomId) {
        let now = self.now;
        let Some(room) = self.rooms.get_mut(&id) else {
            return;
        };
        let everyone = std::mem::take(&mut room.announce);
        let due: Vec<(EdgeId, bool)> = room
            .peers
            .iter_mut()
            .filter(|(edge, peer)| self.mesh.links.contains_key(edge) && (everyone || !peer.told))
            .map(|(edge, peer)| {
                peer.told = true;
                (*edge, !peer.heard)
            })
            .collect();
        if due.is_empty() {
            return;
        }
        let epoch = room.epoch;
        let local = room.local.clone();
        let participants: Vec<MeshParticipant> = local
            .iter()
            .map(|(participant, key)| MeshParticipant {
                participant: *participant,
                tracks: local_tracks(now, room, *participant),
                fallbacks: self
                    .connections
                    .get(key)
                    .map(|c| c.fallbacks.clone())
                    .unwrap_or_default(),
            })
            .collect();
        for (peer, reply_wanted) in due {
            let participants = participants.clone();
            self.tell(
                peer,
                MeshMessage::RoomState {
                    room: id,
                    epoch,
                    participants,
                    reply_wanted,
                },
            );
        }
    }

    /// Pulls what local slots need of remote tracks, and nothing else.
    pub(super) fn sync_flows(&mut self, id: RoomId) {
        let Some(room) = self.rooms.get(&id) else { return };
        let mut needed: Vec<(EdgeId, TrackKey, String)> = Vec::new();
        for (key, track) in &room.tracks {
            let Origin::Remote(peer) = track.origin else {
                continue;
            };
            if !self.mesh.links.contains_key(&peer) {
                continue;
            }
            for (index, layer) in track.layers.iter().enumerate() {
                let shown = track.subscribers.iter().any(|(subscriber, number)| {
                    let slot = self
                        .connections
                        .get(subscriber)
                        .and_then(|c| c.slots.get(*number));
                    slot.is_some_and(|s| {
                        s.forwarder.target() == Some(index as u8)
                            || s.forwarder.current() == Some(index as u8)
                    })
                });
                if shown {
                    needed.push((peer, *key, layer.rid.clone()));
                }
            }
        }
        self.end_inflows(|f| {
            f.room == id
                && !needed
                    .iter()
                    .any(|(p, k, r)| *p == f.peer && *k == f.track && *r == f.rid)
        });
        for (peer, track, rid) in needed {
            let have =
                |f: &crate::mesh::Inflow| f.room == id && f.peer == peer && f.track == track && f.rid == rid;
            if !self.mesh.inflows.values().any(have) {
                self.pull(id, peer, track, rid);
            }
        }
        self.end_orphans(id);
        self.refresh_flows();
    }

    fn pull(&mut self, room: RoomId, peer: EdgeId, track: TrackKey, rid: String) {
        let flow = self.mesh.next_flow();
        let inflow = crate::mesh::Inflow {
            peer,
            room,
            track,
            rid: rid.clone(),
            gone: false,
            gaps: crate::mesh::Gaps::default(),
            reassembly: crate::mesh::Reassembly::default(),
            scheduled: false,
        };
        self.mesh.inflows.insert(flow, inflow);
        let TrackKey { participant, source } = track;
        self.tell(
            peer,
            MeshMessage::Subscribe {
                flow,
                room,
                participant,
                source,
                rid,
            },
        );
    }

    /// Ends peers' flows of tracks that are no more.
    fn end_orphans(&mut self, id: RoomId) {
        let Some(room) = self.rooms.get(&id) else { return };
        let orphans: Vec<(EdgeId, u32)> = self
            .mesh
            .outflows
            .iter()
            .filter(|(_, key)| key.room == id)
            .filter(|(_, key)| {
                !room
                    .tracks
                    .get(&key.track)
                    .is_some_and(|t| matches!(t.origin, Origin::Local(_)))
            })
            .map(|(flow, _)| *flow)
            .collect();
        for (peer, flow) in orphans {
            self.mesh.end_outflow(peer, flow);
            self.tell(
                peer,
                MeshMessage::FlowGone {
                    flow,
                    reason: "track ended".to_owned(),
                },
            );
        }
    }

    /// Tells peers how loud our people are.
    pub(super) fn tell_levels(&mut self, id: RoomId) {
        let now = self.now;
        let Some(room) = self.rooms.get(&id) else { return };
        let peers: Vec<EdgeId> = room
            .peers
            .iter()
            .filter(|(e, p)| p.heard && self.mesh.links.contains_key(e))
            .map(|(e, _)| *e)
            .collect();
        if peers.is_empty() {
            return;
        }
        let loud: Vec<(ParticipantId, u8)> = room
            .local
            .iter()
            .map(|(p, _)| (*p, room.speakers.level(now, *p)))
            .filter(|(_, level)| crate::speaker::is_speech(*level))
            .collect();
        for (participant, level) in loud {
            for peer in &peers {
                self.tell(
                    *peer,
                    MeshMessage::Speaking {
                        room: id,
                        participant,
                        level,
                    },
                );
            }
        }
    }

    /// After the peers' people changed.
    fn resync(&mut self, id: RoomId) {
        let Some(room) = self.rooms.get_mut(&id) else {
            return;
        };
        let dirty = room.dirty;
        room.sync_remote_tracks();
        room.dirty = dirty;
        self.mark(id);
    }

    fn rooms_with(&self, peer: EdgeId) -> Vec<RoomId> {
        self.rooms
            .iter()
            .filter(|(_, r)| r.peers.contains_key(&peer))
            .map(|(id, _)| *id)
            .collect()
    }

    fn peer_mut(&mut self, id: RoomId, peer: EdgeId) -> Option<&mut Peer> {
        self.rooms.get_mut(&id)?.peers.get_mut(&peer)
    }

    fn refresh_flows(&mut self) {
        self.stats.flows_in = self.mesh.inflows.len() as u64;
        self.stats.flows_out = self.mesh.outflows.len() as u64;
    }
}

fn local_tracks(now: Instant, room: &mut Room, participant: ParticipantId) -> Vec<MeshTrack> {
    let own = |key: &TrackKey, track: &Track| {
        key.participant == participant && matches!(track.origin, Origin::Local(_))
    };
    room.tracks
        .iter_mut()
        .filter(|(key, track)| own(key, track))
        .map(|(key, track)| MeshTrack {
            source: key.source,
            active: track.active,
            codec: track.codec.map(|c| c.name().to_owned()).unwrap_or_default(),
            layers: track
                .layers
                .iter_mut()
                .map(|layer| MeshLayer {
                    rid: layer.rid.clone(),
                    bitrate_bps: layer.announce_bps(now),
                    height: layer.height,
                })
                .collect(),
        })
        .collect()
}
