//! A room as this shard knows it.

use std::collections::BTreeMap;
use std::time::Instant;

use medmesh_base::media_token::MeshEdge;
use medmesh_base::{EdgeId, ParticipantId};

use crate::connection::ConnectionKey;
use crate::mesh::MeshParticipant;
use crate::speaker::Speakers;
use crate::track::{Layer, Origin, Track, TrackKey};

/// Edges one room may be on: residency and distance put a visit on two or three.
pub(crate) const PEERS_MAX: usize = 32;

/// A room as this shard knows it.
#[derive(Debug)]
pub(crate) struct Room {
    /// The newest assignment heard of.
    pub(crate) epoch: u64,
    /// Local people, in the order they came.
    pub(crate) local: Vec<(ParticipantId, ConnectionKey)>,
    pub(crate) tracks: BTreeMap<TrackKey, Track>,
    pub(crate) peers: BTreeMap<EdgeId, Peer>,
    pub(crate) speakers: Speakers,
    /// Slots, layers, flows or what was said may be out of date.
    pub(crate) dirty: bool,
    /// Peers have to hear of our people again.
    pub(crate) announce: bool,
}

/// What another edge has in the room.
#[derive(Debug, Default)]
pub(crate) struct Peer {
    /// Where to dial it; empty when only it knows us.
    pub(crate) link: String,
    /// It has been told of our people since the link came up.
    pub(crate) told: bool,
    /// It has told us of its people since the link came up.
    pub(crate) heard: bool,
    pub(crate) participants: Vec<MeshParticipant>,
    /// When it last told.
    pub(crate) told_at: Option<Instant>,
}

impl Peer {
    /// When this participant's media came up there, as far as the last message says.
    fn connected_at(&self, person: &MeshParticipant) -> Option<Instant> {
        self.told_at?.checked_sub(person.connected_for?)
    }

    /// Where its people go when they leave it: to edges that may not know of this one.
    pub(crate) fn fallbacks(&self) -> Vec<MeshEdge> {
        let fallbacks = self.participants.iter().flat_map(|p| &p.fallbacks);
        fallbacks.cloned().collect()
    }
}

impl Room {
    pub(crate) fn new(epoch: u64) -> Self {
        Self {
            epoch,
            local: Vec::new(),
            tracks: BTreeMap::new(),
            peers: BTreeMap::new(),
            speakers: Speakers::default(),
            dirty: true,
            announce: true,
        }
    }

    pub(crate) fn connection_of(&self, participant: ParticipantId) -> Option<ConnectionKey> {
        self.local
            .iter()
            .find(|(p, _)| *p == participant)
            .map(|(_, k)| *k)
    }

    /// Everyone, local people first, each once.
    pub(crate) fn participants(&self) -> Vec<ParticipantId> {
        let mut everyone: Vec<ParticipantId> = self.local.iter().map(|(p, _)| *p).collect();
        for remote in self.peers.values().flat_map(|p| &p.participants) {
            if !everyone.contains(&remote.participant) {
                everyone.push(remote.participant);
            }
        }
        everyone
    }

    /// Makes the remote tracks what the peers said: a participant who is here as well is
    /// taken from here, one whom two peers have is taken from where they connected last.
    pub(crate) fn sync_remote_tracks(&mut self) {
        // (when they connected there, whose word it is, what is said)
        type Said<'a> = (Option<Instant>, EdgeId, &'a crate::mesh::MeshTrack);
        let mut said: BTreeMap<TrackKey, Said<'_>> = BTreeMap::new();
        for (edge, peer) in &self.peers {
            for person in &peer.participants {
                if self.local.iter().any(|(p, _)| *p == person.participant) {
                    continue;
                }
                let connected_at = peer.connected_at(person);
                for track in &person.tracks {
                    let key = TrackKey {
                        participant: person.participant,
                        source: track.source,
                    };
                    let held = said.entry(key).or_insert((connected_at, *edge, track));
                    if held.0 < connected_at {
                        *held = (connected_at, *edge, track);
                    }
                }
            }
        }
        self.tracks.retain(|key, track| match track.origin {
            Origin::Local(_) => true,
            Origin::Remote(edge) => said.get(key).is_some_and(|(_, e, _)| *e == edge),
        });
        for (key, (_, edge, told)) in said {
            let track = self
                .tracks
                .entry(key)
                .or_insert_with(|| Track::new(Origin::Remote(edge), []));
            track.active = told.active;
            for layer in told.layers.iter().take(crate::track::LAYERS_MAX) {
                let index = match track.layer_by_rid(&layer.rid) {
                    Some(index) => usize::from(index),
                    None if track.layers.len() < crate::track::LAYERS_MAX => {
                        track.layers.push(Layer::new(layer.rid.clone()));
                        track.layers.len() - 1
                    }
                    None => continue,
                };
                track.layers[index].told_bps = u64::from(layer.bitrate_bps);
                track.layers[index].height = layer.height;
            }
        }
        self.dirty = true;
    }
}
