//! Media datagrams from and to peers.

use std::cmp::Reverse;
use std::time::Instant;

use bytes::Bytes;
use medmesh_base::{EdgeId, RoomId};

use crate::event::{MeshDatagram, Output};
use crate::mesh::{Arrival, Body, FeedKey};
use crate::packet::MediaPacket;
use crate::sfu::{Sfu, Timer};
use crate::stats::DropReason;
use crate::track::TrackKey;

impl Sfu {
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
        let received = &mut entry.layers[usize::from(layer)];
        received.note_packet(now, packet.payload.len());
        if packet.keyframe {
            received.keyframes.note_keyframe();
        }
        self.forward(room, track, layer, &packet);
    }

    /// Sends a local packet to every peer that pulls its layer.
    pub(in crate::sfu) fn forward_to_peers(
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

    pub(super) fn send_body(&mut self, peer: EdgeId, flow: u32, body: &Body<'_>) {
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
}
