//! The `control` channel's two directions.

use medmesh_base::RoomId;

use super::Sfu;
use crate::connection::ConnectionKey;
use crate::control::{self, Heard, QualityState, Said};
use crate::event::LeaveReason;
use crate::stats::DropReason;
use crate::track::TrackKey;

/// `quality` goes out at most this often, with a margin for timers.
const QUALITY_INTERVAL: std::time::Duration = std::time::Duration::from_millis(950);
/// From here on repairs are audible and visible.
const LOSS_FAIR: f32 = 0.03;
const LOSS_POOR: f32 = 0.10;
/// Round trips from here on make people talk over each other.
const RTT_FAIR_MS: u64 = 250;
const RTT_POOR_MS: u64 = 500;

impl Sfu {
    /// Says something; what does not fit is counted.
    pub(super) fn say(&mut self, key: ConnectionKey, said: &Said) {
        let Some(connection) = self.connections.get_mut(&key) else {
            return;
        };
        if connection.control.channel.is_some() && !connection.say(said) {
            self.stats.count_drop(DropReason::ControlBuffer);
        }
        self.queue_flush(key);
    }

    pub(super) fn welcome(&mut self, key: ConnectionKey) {
        let Some(connection) = self.connections.get(&key) else {
            return;
        };
        let said = Said::Welcome {
            participant: connection.participant,
            room: connection.room,
            epoch: connection.epoch,
            heartbeat_ms: control::HEARTBEAT.as_millis() as u64,
        };
        self.say(key, &said);
    }

    pub(super) fn handle_control(&mut self, key: ConnectionKey, bytes: &[u8]) {
        let now = self.now;
        let Some(connection) = self.connections.get_mut(&key) else {
            return;
        };
        if !connection.control.admit(now) {
            return self.count_drop(DropReason::ControlRate);
        }
        let (room, participant) = (connection.room, connection.participant);
        match control::parse(bytes) {
            None => {
                self.count_drop(DropReason::BadControl);
                let message = "not a message of the control protocol";
                self.say(
                    key,
                    &Said::Error {
                        code: "invalid_request",
                        message,
                    },
                );
            }
            Some(Heard::Ping { t }) => self.say(key, &Said::Pong { t }),
            Some(Heard::Source { source, active }) => {
                self.set_active(room, TrackKey { participant, source }, active);
            }
            Some(Heard::Wish { video }) => {
                connection.wishes = Some(video);
                self.mark(room);
            }
            Some(Heard::Leave) => {
                self.end(key, LeaveReason::Left);
            }
            Some(Heard::Unknown) => {}
        }
    }

    /// Mute and unmute, start and stop: what the participant says outranks what packets suggest.
    fn set_active(&mut self, id: RoomId, key: TrackKey, active: bool) {
        let Some(room) = self.rooms.get_mut(&id) else {
            return;
        };
        let Some(track) = room.tracks.get_mut(&key) else {
            return self.count_drop(DropReason::NotGranted);
        };
        track.told = true;
        if track.active != active {
            track.active = active;
            room.announce = true;
            self.mark(id);
        }
    }

    pub(super) fn say_quality(&mut self, key: ConnectionKey) {
        let now = self.now;
        let Some(connection) = self.connections.get_mut(&key) else {
            return;
        };
        let due = |at| now.saturating_duration_since(at) >= QUALITY_INTERVAL;
        if connection.control.channel.is_none() || !connection.control.quality_at.is_none_or(due) {
            return;
        }
        connection.control.quality_at = Some(now);
        let rtt_ms = connection.link.rtt.map_or(0, |r| r.as_millis() as u64);
        let loss_ratio = connection.link.loss_ratio;
        let state = if connection.paused_by_bandwidth {
            QualityState::AudioOnly
        } else if loss_ratio >= LOSS_POOR || rtt_ms >= RTT_POOR_MS {
            QualityState::Poor
        } else if loss_ratio >= LOSS_FAIR || rtt_ms >= RTT_FAIR_MS || connection.limited {
            QualityState::Fair
        } else {
            QualityState::Good
        };
        let estimate_bps = connection.link.estimate_bps;
        self.say(
            key,
            &Said::Quality {
                estimate_bps,
                loss_ratio,
                rtt_ms,
                state,
            },
        );
    }
}
