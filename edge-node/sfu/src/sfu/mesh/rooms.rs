//! Who is where: what edges tell each other of their people.

use std::time::{Duration, Instant};

use medmesh_base::media_token::MeshEdge;
use medmesh_base::{EdgeId, ParticipantId, RoomId};

use crate::event::{LeaveReason, Output};
use crate::mesh::{MeshLayer, MeshMessage, MeshParticipant, MeshTrack};
use crate::room::{PEERS_MAX, Peer, Room};
use crate::sfu::Sfu;
use crate::stats::DropReason;
use crate::track::{Track, TrackKey};

/// How much older a connection must be than one on another edge to be let go of: what an edge
/// says of its people was true when it said so, half a round trip ago.
const MOVE_MARGIN: Duration = Duration::from_millis(300);

/// People of one room another edge may have; a visit has six, an event may have more.
const REMOTE_PARTICIPANTS_MAX: usize = 256;

impl Sfu {
    /// Adds the edges of a token to a room and asks for links to them.
    pub(in crate::sfu) fn want_peers(&mut self, id: RoomId, mesh: &[MeshEdge]) {
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

    /// Adds the peers that spoke of the room before anybody was here.
    pub(in crate::sfu) fn answer_callers(&mut self, id: RoomId) {
        let callers = self.mesh.take_callers(id);
        let Some(room) = self.rooms.get_mut(&id) else {
            return;
        };
        for peer in callers {
            if room.peers.len() < PEERS_MAX {
                room.peers.entry(peer).or_default();
            } else {
                self.stats.count_drop(DropReason::MeshLimit);
            }
        }
        self.mark(id);
    }

    /// The last local participant left: peers hear of it, links nobody needs are let go.
    pub(in crate::sfu) fn leave_mesh(&mut self, id: RoomId) {
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

    /// Tells peers of our people, if they have to hear of them.
    pub(in crate::sfu) fn announce(&mut self, id: RoomId) {
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
                connected_for: self.connections.get(key).and_then(|c| c.connected_for(now)),
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

    /// Tells peers how loud our people are.
    pub(in crate::sfu) fn tell_levels(&mut self, id: RoomId) {
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

    pub(super) fn handle_room_state(
        &mut self,
        peer: EdgeId,
        id: RoomId,
        epoch: u64,
        mut participants: Vec<MeshParticipant>,
        reply_wanted: bool,
    ) {
        let Some(room) = self.rooms.get_mut(&id) else {
            self.count_drop(DropReason::MeshUnknownRoom);
            self.mesh.remember_caller(id, peer);
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
        entry.told_at = Some(self.now);
        entry.participants = participants;
        room.epoch = epoch;
        self.mesh
            .inflows
            .retain(|_, f| !(f.gone && f.peer == peer && f.room == id));
        self.let_go_of_moved(id, peer);
        self.resync(id);
    }

    /// Ends our connections of participants who have connected to `peer` since: they moved, and
    /// what is left here would be their ghost.
    fn let_go_of_moved(&mut self, id: RoomId, peer: EdgeId) {
        let Some(entry) = self.rooms.get(&id).and_then(|room| room.peers.get(&peer)) else {
            return;
        };
        let there = entry.participants.iter();
        let there: Vec<_> = there
            .filter_map(|person| Some((person.participant, person.connected_for?)))
            .collect();
        for (participant, connected_for) in there {
            let Some(key) = self.connection_of(id, participant) else {
                continue;
            };
            let Some(connection) = self.connections.get(&key) else {
                continue;
            };
            // Whoever was sent away may be quick: their two connections are then hardly apart in
            // age. Only the edge that sent them leaves the margin out, so one of the two stays.
            let margin = if connection.is_migrating {
                Duration::ZERO
            } else {
                MOVE_MARGIN
            };
            if connection
                .connected_for(self.now)
                .is_some_and(|held| held > connected_for + margin)
            {
                self.end(key, LeaveReason::Replaced);
            }
        }
    }

    pub(super) fn handle_room_leave(&mut self, peer: EdgeId, id: RoomId) {
        self.mesh.forget_caller(id, peer);
        let Some(entry) = self.peer_mut(id, peer) else {
            return;
        };
        let next = entry.fallbacks();
        entry.participants.clear();
        entry.heard = true;
        self.want_peers(id, &next);
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

    /// After the peers' people changed.
    pub(super) fn resync(&mut self, id: RoomId) {
        let Some(room) = self.rooms.get_mut(&id) else {
            return;
        };
        let dirty = room.dirty;
        room.sync_remote_tracks();
        room.dirty = dirty;
        self.mark(id);
    }

    pub(super) fn rooms_with(&self, peer: EdgeId) -> Vec<RoomId> {
        self.rooms
            .iter()
            .filter(|(_, r)| r.peers.contains_key(&peer))
            .map(|(id, _)| *id)
            .collect()
    }

    pub(super) fn peer_mut(&mut self, id: RoomId, peer: EdgeId) -> Option<&mut Peer> {
        self.rooms.get_mut(&id)?.peers.get_mut(&peer)
    }
}

fn local_tracks(now: Instant, room: &mut Room, participant: ParticipantId) -> Vec<MeshTrack> {
    let own = |key: &TrackKey, track: &Track| key.participant == participant && track.is_local();
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
