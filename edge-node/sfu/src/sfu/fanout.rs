//! The hot path: one packet to everyone who shows its layer.

use std::cmp::Reverse;

use medmesh_base::media_token::Source;
use medmesh_base::{ParticipantId, RoomId};
use str0m::media::Mid;

use super::{Sfu, Timer, schedule};
use crate::codec::vp8_keyframe_height;
use crate::connection::{ConnectionKey, VIDEO_SLOT_BASE};
use crate::forward::{Egress, Verdict};
use crate::keyframe::Ask;
use crate::packet::MediaPacket;
use crate::stats::DropReason;
use crate::track::{Origin, TrackKey};

impl Sfu {
    /// A packet of a local publisher.
    pub(super) fn handle_media(
        &mut self,
        room: RoomId,
        participant: ParticipantId,
        source: Source,
        layer: u8,
        packet: &MediaPacket,
    ) {
        self.stats.rtp_in += 1;
        let key = TrackKey { participant, source };
        if !self.note_local(room, key, layer, packet) {
            return;
        }
        self.forward(room, key, layer, packet);
        self.forward_to_peers(room, key, layer, packet);
    }

    /// Keeps the track's state; false when the track is muted.
    fn note_local(&mut self, id: RoomId, key: TrackKey, layer: u8, packet: &MediaPacket) -> bool {
        let Some(room) = self.rooms.get_mut(&id) else {
            return false;
        };
        let Some(track) = room.tracks.get_mut(&key) else {
            return false;
        };
        let mut changed = false;
        if !track.active && !track.told {
            track.active = true;
            changed = true;
        }
        if track.codec != Some(packet.codec) {
            track.codec = Some(packet.codec);
            changed = true;
        }
        if let Some(entry) = track.layers.get_mut(usize::from(layer)) {
            changed |= !entry.live(self.now);
            entry.note_packet(self.now, packet.payload.len());
            if packet.keyframe {
                entry.keyframes.note_keyframe();
            }
            if packet.keyframe
                && packet.vp8.is_some()
                && let Some(height) = vp8_keyframe_height(&packet.payload)
            {
                changed |= entry.height != u32::from(height);
                entry.height = u32::from(height);
            }
        }
        let active = track.active;
        if let Some(level) = packet.audio_level.filter(|_| active) {
            room.speakers.note(self.now, key.participant, level);
        }
        if changed {
            room.announce = true;
            self.mark(id);
        }
        active
    }

    /// To every local slot that shows the track.
    pub(super) fn forward(&mut self, id: RoomId, key: TrackKey, layer: u8, packet: &MediaPacket) {
        let Some(track) = self.rooms.get_mut(&id).and_then(|r| r.tracks.get_mut(&key)) else {
            return;
        };
        let mut switched = false;
        for &(subscriber, number) in &track.subscribers {
            let Some(connection) = self.connections.get_mut(&subscriber) else {
                continue;
            };
            if connection.connected_at.is_none() {
                continue;
            }
            if !connection.can_receive(packet.codec) {
                self.stats.count_drop(DropReason::CodecMismatch);
                continue;
            }
            let Some(slot) = connection.slots.get_mut(number) else {
                continue;
            };
            let rewrite = match slot.forwarder.route(layer, packet) {
                Verdict::Forward(rewrite) => rewrite,
                Verdict::Switched(rewrite) => {
                    self.stats.layer_switches += 1;
                    switched = true;
                    rewrite
                }
                Verdict::OtherLayer => continue,
                Verdict::BeforeSwitch => {
                    self.stats.count_drop(DropReason::BeforeSwitch);
                    continue;
                }
            };
            if let Some(mut egress) = connection.egress(number, packet.codec) {
                egress.write(packet, &rewrite);
                self.stats.rtp_forwarded += 1;
            }
            if connection.queued {
                continue;
            }
            if !key.is_audio() && connection.gather(self.now) {
                schedule(&mut self.timers, connection);
            } else {
                connection.queued = true;
                self.unflushed.push_back(subscriber);
            }
        }
        if switched {
            // A layer that nobody waits for any more may not have to be pulled.
            self.mark(id);
        }
    }

    /// A subscriber cannot decode what a slot gets.
    pub(super) fn keyframe_wanted(&mut self, key: ConnectionKey, mid: Mid) {
        let Some(connection) = self.connections.get(&key) else {
            return;
        };
        let room = connection.room;
        let wanted = connection
            .slots
            .iter()
            .find(|(n, s)| *n >= VIDEO_SLOT_BASE && s.mid == mid);
        let Some((track, layer)) = wanted.and_then(|(_, s)| Some((s.track?, s.forwarder.current()?))) else {
            return;
        };
        self.request_keyframe(room, track, layer);
    }

    /// Asks the publisher or the origin, at most once per interval and layer.
    pub(super) fn request_keyframe(&mut self, id: RoomId, key: TrackKey, layer: u8) {
        let interval = self.config.limits.keyframe_interval;
        let now = self.now;
        let Some(track) = self.rooms.get_mut(&id).and_then(|r| r.tracks.get_mut(&key)) else {
            return;
        };
        let (origin, Some(entry)) = (track.origin, track.layers.get_mut(usize::from(layer))) else {
            return;
        };
        // The subscription that is about to be sent asks for one.
        if matches!(origin, Origin::Remote(_)) && self.mesh.inflow_of(id, key, &entry.rid).is_none() {
            return;
        }
        match entry.keyframes.ask(now, interval) {
            Ask::Now => self.send_keyframe_request(id, key, layer),
            Ask::Later(at) => {
                self.stats.keyframes_coalesced += 1;
                self.timers.push(Reverse((at, Timer::Keyframe(id, key, layer))));
            }
            Ask::Noted => self.stats.keyframes_coalesced += 1,
        }
    }

    /// The interval is over, and a request was held back meanwhile.
    pub(super) fn keyframe_timer(&mut self, id: RoomId, key: TrackKey, layer: u8) {
        let interval = self.config.limits.keyframe_interval;
        let now = self.now;
        let track = self.rooms.get_mut(&id).and_then(|r| r.tracks.get_mut(&key));
        let entry = track.and_then(|t| t.layers.get_mut(usize::from(layer)));
        if entry.is_some_and(|e| e.keyframes.poll(now, interval)) {
            self.send_keyframe_request(id, key, layer);
        }
    }

    fn send_keyframe_request(&mut self, id: RoomId, key: TrackKey, layer: u8) {
        let Some(track) = self.rooms.get(&id).and_then(|r| r.tracks.get(&key)) else {
            return;
        };
        match track.origin {
            Origin::Local(publisher) => {
                let Some(connection) = self.connections.get_mut(&publisher) else {
                    return;
                };
                connection.request_keyframe(key.source, layer);
                self.stats.keyframes_requested += 1;
                self.queue_flush(publisher);
            }
            Origin::Remote(_) => self.request_remote_keyframe(id, key, layer),
        }
    }
}
