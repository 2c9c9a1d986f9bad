//! Coming and going.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use medmesh_base::{ParticipantId, RoomId};
use rand::Rng;
use rand::distr::{Alphanumeric, SampleString};
use str0m::bwe::Bitrate;
use str0m::change::SdpOffer;
use str0m::{Candidate, IceCreds, Rtc};

use super::{Sfu, Timer};
use crate::connection::{Connection, ConnectionKey, Parts};
use crate::control::Said;
use crate::event::{Event, LeaveReason};
use crate::forward::FIRST_SEQUENCE_MAX;
use crate::join::{IceRestarted, Join, JoinError, Joined, ResourceId, RestartError};
use crate::plan::MediaPlan;
use crate::room::Room;
use crate::track::{Origin, Track, TrackKey};

/// Characters of ICE user name and password: 48 and 144 bits (RFC 8445 asks for 24 and 128).
const UFRAG_CHARS: usize = 8;
const PASSWORD_CHARS: usize = 24;
/// How often a connection's round trip and loss are looked at; `quality` goes out at most so often.
const STATS_INTERVAL: Duration = Duration::from_secs(1);

/// A receiver that reports nothing back cannot be adapted to: it gets what it asked for.
const BANDWIDTH_UNKNOWN_BPS: u64 = 100_000_000;

impl Sfu {
    /// Answers an offer. An older connection of the same participant is replaced,
    /// and stays untouched when the join is refused.
    ///
    /// # Errors
    /// See [`JoinError`]; nothing changed then.
    pub fn handle_join(&mut self, now: Instant, join: Join) -> Result<Joined, JoinError> {
        self.advance(now);
        let joined = self.try_join(join);
        match &joined {
            Ok(_) => self.stats.joins += 1,
            Err(error) => *self.stats.joins_refused.entry(refusal(error)).or_default() += 1,
        }
        joined
    }

    fn try_join(&mut self, join: Join) -> Result<Joined, JoinError> {
        self.admit(&join)?;
        let offer = parse_offer(&join.offer_sdp)?;
        let creds = IceCreds {
            ufrag: Alphanumeric.sample_string(&mut self.rng, UFRAG_CHARS),
            pass: Alphanumeric.sample_string(&mut self.rng, PASSWORD_CHARS),
        };
        let ufrag = creds.ufrag.clone();
        // str0m's checks panic by design; an offer that trips one costs this join only.
        let made = catch_unwind(AssertUnwindSafe(|| self.answer(creds, offer, &join.offer_sdp)));
        let (rtc, answer_sdp, plan) = match made {
            Ok(made) => made?,
            Err(_) => {
                self.stats.panics += 1;
                return Err(JoinError::BadOffer("not answerable"));
            }
        };
        if let Some(older) = self.connection_of(join.room, join.participant) {
            self.end(older, LeaveReason::Replaced);
            self.remove(older);
        }
        let (room, mesh) = (join.room, join.mesh.clone());
        let estimate_bps = if gives_feedback(&join.offer_sdp) {
            self.config.limits.bandwidth_start_bps
        } else {
            BANDWIDTH_UNKNOWN_BPS
        };
        self.connections_made += 1;
        let key = ConnectionKey(self.connections_made);
        let resource = ResourceId((u128::from(self.config.shard) << 120) | (self.rng.random::<u128>() >> 8));
        let connection = Connection::new(
            self.now,
            Parts {
                key,
                resource,
                rtc,
                plan,
                ufrag: ufrag.clone(),
                estimate_bps,
                first_sequence: self.rng.random_range(1..=FIRST_SEQUENCE_MAX),
                rtx_cache_packets: self.config.limits.rtx_cache_packets,
                join,
            },
        );
        self.insert(connection);
        self.want_peers(room, &mesh);
        self.answer_callers(room);
        Ok(Joined {
            resource,
            answer_sdp,
            etag: ufrag,
        })
    }

    /// Bounds and the epoch.
    fn admit(&self, join: &Join) -> Result<(), JoinError> {
        let limits = &self.config.limits;
        if join.offer_sdp.len() > limits.offer_bytes_max {
            return Err(JoinError::BadOffer("too large"));
        }
        let Some(room) = self.rooms.get(&join.room) else {
            if self.rooms.len() >= limits.rooms_max {
                return Err(JoinError::Full("rooms"));
            }
            return Ok(());
        };
        if join.epoch < room.epoch {
            return Err(JoinError::StaleEpoch { current: room.epoch });
        }
        // Those on other edges take a receive slot each as well.
        let everyone = room.participants();
        let others = everyone.iter().filter(|p| **p != join.participant).count();
        if others >= limits.participants_per_room_max {
            return Err(JoinError::RoomFull);
        }
        Ok(())
    }

    fn answer(
        &self,
        creds: IceCreds,
        offer: SdpOffer,
        sdp: &str,
    ) -> Result<(Rtc, String, MediaPlan), JoinError> {
        let limits = &self.config.limits;
        let mut rtc = Rtc::builder()
            .set_rtp_mode(true)
            .set_ice_lite(true)
            .set_dtls_cert(self.config.dtls_cert.clone())
            .set_local_ice_credentials(creds)
            .set_stats_interval(Some(STATS_INTERVAL))
            .enable_bwe(gives_feedback(sdp).then(|| Bitrate::from(limits.bandwidth_start_bps)))
            // The first is what browsers send: VP8, which every device encodes in layers.
            .clear_codecs()
            .enable_opus(true, false)
            .enable_vp8(true)
            .enable_vp9(true)
            .enable_h264(true)
            .enable_av1(true)
            .build(self.now);
        for address in &self.config.candidates {
            let candidate = Candidate::host(*address, "udp").map_err(|_| JoinError::Internal)?;
            rtc.add_local_candidate(candidate);
        }
        let answer = rtc
            .sdp_api()
            .accept_offer(offer)
            .map_err(|_| JoinError::BadOffer("it contradicts itself, or wants what is not there"))?;
        let plan = MediaPlan::read(&rtc, sdp)?;
        let answer = answer.to_sdp_string();
        // str0m names its candidates at the first m-line; without that one nobody could connect.
        if !answer.contains("a=candidate:") {
            return Err(JoinError::BadOffer("its first m-line cannot be used"));
        }
        Ok((rtc, answer, plan))
    }

    fn insert(&mut self, connection: Connection) {
        let (key, id) = (connection.key, connection.room);
        let now = self.now;
        let fresh = !self.rooms.contains_key(&id);
        let room = self
            .rooms
            .entry(id)
            .or_insert_with(|| Room::new(connection.epoch));
        room.epoch = room.epoch.max(connection.epoch);
        room.local.push((connection.participant, key));
        for line in &connection.plan.publish {
            if connection.grants.publish.contains(&line.source) {
                let track = Track::new(Origin::Local(key), line.rids.iter().cloned());
                let track_key = TrackKey {
                    participant: connection.participant,
                    source: line.source,
                };
                room.tracks.insert(track_key, track);
            }
        }
        room.announce = true;
        room.dirty = false;
        room.sync_remote_tracks();
        room.dirty = false;
        self.resources.insert(connection.resource, key);
        self.by_ufrag.insert(connection.ufrag.clone(), key);
        self.connections.insert(key, connection);
        if fresh {
            self.timers.push(Reverse((now, Timer::Room(id))));
        }
        self.mark(id);
        self.schedule(key);
        self.refresh_gauges();
    }

    /// Who a connection belongs to: what the token of a later request must match.
    #[must_use]
    pub fn resource(&self, resource: ResourceId) -> Option<(RoomId, ParticipantId)> {
        let connection = self.connections.get(self.resources.get(&resource)?)?;
        Some((connection.room, connection.participant))
    }

    /// Restarts ICE with the credentials in a trickle-ice-sdpfrag (RFC 8840, RFC 9725 section 4.3.3).
    ///
    /// # Errors
    /// See [`RestartError`]; nothing changed then.
    pub fn handle_ice_restart(
        &mut self,
        now: Instant,
        resource: ResourceId,
        fragment: &str,
    ) -> Result<IceRestarted, RestartError> {
        self.advance(now);
        let key = *self.resources.get(&resource).ok_or(RestartError::Unknown)?;
        let connection = self.connections.get_mut(&key).ok_or(RestartError::Unknown)?;
        let bad = RestartError::BadFragment;
        let ufrag = attribute(fragment, "a=ice-ufrag:").ok_or_else(|| bad("no a=ice-ufrag"))?;
        let password = attribute(fragment, "a=ice-pwd:").ok_or_else(|| bad("no a=ice-pwd"))?;
        let offer = parse_offer(&with_credentials(&connection.offer_sdp, ufrag, password))
            .map_err(|_| bad("its credentials cannot be used"))?;
        let old = connection.ufrag.clone();
        let (answer, ufrag) = connection.restart_ice(offer).ok_or(RestartError::Unknown)?;
        connection.ufrag.clone_from(&ufrag);
        self.by_ufrag.remove(&old);
        self.by_ufrag.insert(ufrag.clone(), key);
        self.queue_flush(key);
        Ok(IceRestarted {
            fragment: answer_fragment(&answer),
            etag: ufrag,
        })
    }

    /// Ends a connection by its resource (DELETE). False when there is none.
    pub fn handle_delete(&mut self, now: Instant, resource: ResourceId) -> bool {
        self.advance(now);
        let key = self.resources.get(&resource).copied();
        key.is_some_and(|key| self.end(key, LeaveReason::Left))
    }

    /// Ends a participant's connection. False when there is none.
    pub fn handle_leave(
        &mut self,
        now: Instant,
        room: RoomId,
        participant: ParticipantId,
        reason: LeaveReason,
    ) -> bool {
        self.advance(now);
        self.connection_of(room, participant)
            .is_some_and(|key| self.end(key, reason))
    }

    /// Ends every connection of a room. False when the room is not here.
    pub fn handle_room_end(&mut self, now: Instant, room: RoomId, reason: LeaveReason) -> bool {
        self.advance(now);
        let Some(room) = self.rooms.get(&room) else {
            return false;
        };
        for (_, key) in room.local.clone() {
            self.end(key, reason);
        }
        true
    }

    /// Tells the participants of a room (of every room: `None`) to move to their next edge.
    pub fn handle_migrate(&mut self, now: Instant, room: Option<RoomId>, reason: &str) {
        self.advance(now);
        let said = Said::Migrate {
            reason: reason.to_owned(),
        };
        let keys: Vec<ConnectionKey> = self
            .connections
            .values()
            .filter(|c| room.is_none_or(|r| r == c.room))
            .map(|c| c.key)
            .collect();
        for key in keys {
            if let Some(connection) = self.connections.get_mut(&key) {
                connection.is_migrating = true;
            }
            self.say(key, &said);
        }
    }

    /// Says goodbye and queues the connection for removal. False when it is ending already.
    pub(super) fn end(&mut self, key: ConnectionKey, reason: LeaveReason) -> bool {
        let now = self.now;
        let ended = self.with_sink(key, |connection, sink| {
            if connection.ended.is_some() {
                return false;
            }
            connection.say(&Said::Ended {
                reason: reason.as_str().to_owned(),
            });
            connection.flush(now, sink);
            connection.close();
            connection.flush(now, sink);
            connection.ended = Some(reason);
            true
        });
        self.queue_flush(key);
        ended == Some(true)
    }

    /// Forgets an ended connection.
    pub(super) fn remove(&mut self, key: ConnectionKey) {
        let Some(connection) = self.connections.remove(&key) else {
            return;
        };
        let reason = connection.ended.unwrap_or(LeaveReason::Failed);
        let (id, participant, resource) = (connection.room, connection.participant, connection.resource);
        self.resources.remove(&resource);
        self.by_ufrag.remove(&connection.ufrag);
        for address in &connection.addresses {
            if self.by_address.get(address) == Some(&key) {
                self.by_address.remove(address);
            }
        }
        *self.stats.left.entry(reason).or_default() += 1;
        // After a panic even dropping is not to be trusted.
        if catch_unwind(AssertUnwindSafe(|| drop(connection))).is_err() {
            self.stats.panics += 1;
        }
        self.event(Event::Left {
            room: id,
            participant,
            resource,
            reason,
        });
        let Some(room) = self.rooms.get_mut(&id) else {
            return;
        };
        room.local.retain(|(_, k)| *k != key);
        room.tracks.retain(|_, t| t.origin != Origin::Local(key));
        for track in room.tracks.values_mut() {
            track.subscribers.retain(|(k, _)| *k != key);
        }
        room.announce = true;
        if room.local.is_empty() {
            self.close_room(id);
        } else {
            room.sync_remote_tracks();
            room.dirty = false;
            self.mark(id);
        }
        self.refresh_gauges();
    }

    fn close_room(&mut self, id: RoomId) {
        self.leave_mesh(id);
        self.rooms.remove(&id);
        self.event(Event::RoomClosed { room: id });
    }

    pub(super) fn refresh_gauges(&mut self) {
        self.stats.rooms = self.rooms.len() as u64;
        self.stats.participants = self.connections.len() as u64;
    }
}

/// Whether the browser will tell when packets arrived (transport-wide congestion control).
fn gives_feedback(offer_sdp: &str) -> bool {
    offer_sdp.contains("transport-wide-cc-extensions")
}

fn refusal(error: &JoinError) -> &'static str {
    match error {
        JoinError::BadOffer(_) => "bad_offer",
        JoinError::StaleEpoch { .. } => "stale_epoch",
        JoinError::RoomFull => "room_full",
        JoinError::Full(_) => "full",
        JoinError::Internal => "internal",
    }
}

fn parse_offer(sdp: &str) -> Result<SdpOffer, JoinError> {
    match catch_unwind(AssertUnwindSafe(|| SdpOffer::from_sdp_string(sdp))) {
        Ok(parsed) => parsed.map_err(|_| JoinError::BadOffer("not SDP, or without what a connection needs")),
        Err(_) => Err(JoinError::BadOffer("not readable")),
    }
}

fn attribute<'a>(sdp: &'a str, name: &str) -> Option<&'a str> {
    let value = sdp.lines().find_map(|l| l.trim_end().strip_prefix(name))?.trim();
    let usable = (4..=256).contains(&value.len()) && value.bytes().all(|b| b.is_ascii_graphic());
    usable.then_some(value)
}

/// The offer again, with new credentials and without the old network's candidates.
fn with_credentials(offer: &str, ufrag: &str, password: &str) -> String {
    let mut sdp = String::with_capacity(offer.len());
    for line in offer.lines().map(str::trim_end) {
        if line.starts_with("a=ice-ufrag:") {
            sdp.push_str(&format!("a=ice-ufrag:{ufrag}"));
        } else if line.starts_with("a=ice-pwd:") {
            sdp.push_str(&format!("a=ice-pwd:{password}"));
        } else if line.starts_with("a=candidate:") || line == "a=end-of-candidates" {
            continue;
        } else {
            sdp.push_str(line);
        }
        sdp.push_str("\r\n");
    }
    sdp
}

/// What a trickle-ice-sdpfrag says of an answer: credentials and candidates of the first m-line.
fn answer_fragment(answer: &str) -> String {
    let mut kept: BTreeMap<usize, &str> = BTreeMap::new();
    let mut media = 0;
    for (number, line) in answer.lines().map(str::trim_end).enumerate() {
        if line.starts_with("m=") {
            media += 1;
        }
        let everywhere = line == "a=ice-lite";
        let first = [
            "m=",
            "a=mid:",
            "a=ice-ufrag:",
            "a=ice-pwd:",
            "a=candidate:",
            "a=end-of-candidates",
        ];
        if everywhere || (media == 1 && first.iter().any(|p| line.starts_with(p))) {
            kept.insert(number, line);
        }
    }
    kept.values()
        .fold(String::new(), |fragment, line| fragment + line + "\r\n")
}
