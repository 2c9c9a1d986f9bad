//! Which layers are pulled from peers, and which peers pull ours.

use std::cmp::Reverse;

use medmesh_base::{EdgeId, RoomId};

use crate::mesh::{Body, FeedKey, Gaps, Inflow, MeshMessage, Reassembly};
use crate::sfu::{Sfu, Timer};
use crate::stats::DropReason;
use crate::track::{Origin, TrackKey};

/// Flows one peer may pull from a shard: 100 rooms of 6 people with everything on.
const OUTFLOWS_PER_PEER_MAX: usize = 2_000;
/// Re-requests looked at in one message.
const NACK_SEQUENCES_MAX: usize = 256;

impl Sfu {
    /// Pulls what local slots need of remote tracks, and nothing else.
    pub(in crate::sfu) fn sync_flows(&mut self, id: RoomId) {
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
                    slot.is_some_and(|s| s.forwarder.takes(index as u8))
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
            let have = |f: &Inflow| f.room == id && f.peer == peer && f.track == track && f.rid == rid;
            if !self.mesh.inflows.values().any(have) {
                self.pull(id, peer, track, rid);
            }
        }
        self.end_orphans(id);
        self.refresh_flows();
    }

    fn pull(&mut self, room: RoomId, peer: EdgeId, track: TrackKey, rid: String) {
        let flow = self.mesh.next_flow();
        let inflow = Inflow {
            peer,
            room,
            track,
            rid: rid.clone(),
            gone: false,
            gaps: Gaps::default(),
            reassembly: Reassembly::default(),
            scheduled: false,
        };
        self.mesh.inflows.insert(flow, inflow);
        let now = self.now;
        let entry = self.rooms.get_mut(&room).and_then(|r| r.tracks.get_mut(&track));
        if let Some(layer) = entry.and_then(|t| t.layers.iter_mut().find(|l| l.rid == rid)) {
            layer.keyframes.note_asked(now);
        }
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

    pub(super) fn end_inflows(&mut self, which: impl Fn(&Inflow) -> bool) {
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

    pub(in crate::sfu) fn request_remote_keyframe(&mut self, room: RoomId, track: TrackKey, layer: u8) {
        let rid = self
            .rooms
            .get(&room)
            .and_then(|r| r.tracks.get(&track))
            .and_then(|t| t.layers.get(usize::from(layer)));
        let Some(rid) = rid.map(|l| l.rid.clone()) else {
            return;
        };
        if let Some((flow, peer)) = self.mesh.inflow_of(room, track, &rid) {
            self.stats.keyframes_requested += 1;
            self.tell(peer, MeshMessage::KeyframeRequest { flow });
        }
    }

    pub(super) fn handle_subscribe(
        &mut self,
        peer: EdgeId,
        flow: u32,
        room: RoomId,
        track: TrackKey,
        rid: &str,
    ) {
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

    pub(super) fn handle_nack(&mut self, peer: EdgeId, flow: u32, sequences: &[u64]) {
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

    pub(in crate::sfu) fn flow_timer(&mut self, flow: u32) {
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

    pub(super) fn refresh_flows(&mut self) {
        self.stats.flows_in = self.mesh.inflows.len() as u64;
        self.stats.flows_out = self.mesh.outflows.len() as u64;
    }
}
