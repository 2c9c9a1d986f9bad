//! Bringing a room in order after something changed: what peers know, what slots
//! show, which layers flow, what people are told. Every step may run at any time
//! and does nothing when nothing changed.

use std::time::Instant;

use medmesh_base::media_token::Source;
use medmesh_base::{ParticipantId, RoomId};

use super::Sfu;
use crate::allocate::{Allocation, Demand, HOLD_MAX, HOLD_MIN, LASTING, LayerOffer, allocate, assign};
use crate::connection::{Connection, ConnectionKey, VIDEO_SLOT_BASE};
use crate::control::{LayerReason, RosterEntry, RosterTrack, Said, SlotEntry, Wish};
use crate::room::Room;
use crate::stats::DropReason;
use crate::track::{Track, TrackKey};

/// Tile height assumed before the first wish, pixels.
const DEFAULT_HEIGHT: u32 = 360;
/// A subscriber with picture slots is probed up to this even while nothing is shown,
/// so that the first camera or screen does not wait for the estimate.
const READY_BPS: u64 = 1_000_000;
/// Smaller changes of the wish are not worth a call.
const WISH_STEP: f64 = 0.05;

impl Sfu {
    /// Bitrates, speakers and levels move without anybody saying so.
    pub(super) fn tick_room(&mut self, id: RoomId) {
        let now = self.now;
        let Some(room) = self.rooms.get_mut(&id) else {
            return;
        };
        let present = room.participants();
        room.speakers.retain(|p| present.contains(&p));
        room.speakers.settle(now);
        let drifted = |t: &mut Track| t.layers.iter_mut().any(|l| l.announce_due(now));
        if room.tracks.values_mut().filter(|t| t.is_local()).any(drifted) {
            room.announce = true;
        }
        self.tell_levels(id);
        self.mark(id);
    }

    pub(super) fn settle(&mut self, id: RoomId) {
        match self.rooms.get_mut(&id) {
            Some(room) => room.dirty = false,
            None => return,
        }
        self.announce(id);
        self.fill_slots(id);
        self.choose_layers(id);
        self.sync_flows(id);
        self.say_state(id);
    }

    /// Maps active tracks onto receive slots.
    fn fill_slots(&mut self, id: RoomId) {
        let now = self.now;
        let Some(room) = self.rooms.get_mut(&id) else {
            return;
        };
        for track in room.tracks.values_mut() {
            track.subscribers.clear();
        }
        for (participant, key) in room.local.clone() {
            let Some(connection) = self.connections.get_mut(&key) else {
                continue;
            };
            if !connection.grants.subscribe {
                continue;
            }
            let audio = wanted_audio(now, room, participant, connection.slots.audio.len());
            let video = wanted_video(room, participant, connection.wishes.as_deref());
            fill(&mut connection.slots.audio, &audio);
            fill(&mut connection.slots.video, &video);
            for (number, slot) in connection.slots.iter() {
                if let Some(track) = slot.track.and_then(|k| room.tracks.get_mut(&k)) {
                    track.subscribers.push((key, number));
                }
            }
        }
    }

    /// Spends every subscriber's bandwidth.
    fn choose_layers(&mut self, id: RoomId) {
        let now = self.now;
        let Some(room) = self.rooms.get_mut(&id) else {
            return;
        };
        let mut keyframes: Vec<(TrackKey, u8)> = Vec::new();
        for (_, key) in room.local.clone() {
            let Some(connection) = self.connections.get_mut(&key) else {
                continue;
            };
            if connection.connected_at.is_some() {
                choose_for(now, room, connection, &mut keyframes);
            }
        }
        for (track, layer) in keyframes {
            self.request_keyframe(id, track, layer);
        }
    }

    /// Says to everyone what changed for them.
    fn say_state(&mut self, id: RoomId) {
        let Some(room) = self.rooms.get(&id) else { return };
        let roster = json(&Said::Roster {
            participants: roster(room),
        });
        let speaker = json(&Said::Speaker {
            participant: room.speakers.floor(),
        });
        let keys: Vec<ConnectionKey> = room.local.iter().map(|(_, k)| *k).collect();
        for key in &keys {
            let Some(connection) = self.connections.get_mut(key) else {
                continue;
            };
            if connection.control.channel.is_none() {
                continue;
            }
            let slots = json(&slots_said(connection));
            let layers: Vec<Option<String>> = (0..connection.slots.video.len())
                .map(|n| layer_said(room, connection, n))
                .collect();
            let mut refused = false;
            let mut control = std::mem::take(&mut connection.control);
            connection.control.channel = control.channel;
            control.layers.resize(layers.len(), None);
            let states = [
                (&mut control.roster, Some(&roster)),
                (&mut control.slots, Some(&slots)),
                (&mut control.speaker, Some(&speaker)),
            ];
            let layers = control.layers.iter_mut().zip(layers.iter().map(Option::as_ref));
            for (said, now) in states.into_iter().chain(layers) {
                if said.as_ref() == now {
                    continue;
                }
                let accepted = now.is_none_or(|text| connection.say_text(text));
                refused |= !accepted;
                // What was not accepted is tried again at the next settling.
                *said = now.filter(|_| accepted).cloned();
            }
            connection.control = control;
            if refused {
                self.stats.count_drop(DropReason::ControlBuffer);
            }
        }
        for key in keys {
            self.queue_flush(key);
        }
    }
}

fn json(said: &Said) -> String {
    serde_json::to_string(said).expect("control messages are plain JSON")
}

/// Others' live microphones, loudest first when there are more than slots.
fn wanted_audio(now: Instant, room: &Room, own: ParticipantId, slots: usize) -> Vec<TrackKey> {
    let mut wanted: Vec<TrackKey> = room
        .tracks
        .iter()
        .filter(|(k, t)| k.is_audio() && t.active && k.participant != own)
        .map(|(k, _)| *k)
        .collect();
    if wanted.len() > slots {
        wanted.sort_by_key(|k| room.speakers.level(now, k.participant));
    }
    wanted
}

/// Others' pictures in order of importance, with the height there is use for.
fn wanted_video(room: &Room, own: ParticipantId, wishes: Option<&[Wish]>) -> Vec<(TrackKey, u32)> {
    let shown = |key: &TrackKey| {
        !key.is_audio() && key.participant != own && room.tracks.get(key).is_some_and(|t| t.active)
    };
    if let Some(wishes) = wishes {
        let mut wanted: Vec<(TrackKey, u32)> = Vec::new();
        for wish in wishes {
            let key = TrackKey {
                participant: wish.participant,
                source: wish.source,
            };
            if shown(&key) && !wanted.iter().any(|(k, _)| *k == key) {
                wanted.push((key, wish.height));
            }
        }
        return wanted;
    }
    let floor = room.speakers.floor();
    let mut wanted: Vec<TrackKey> = room.tracks.keys().copied().filter(shown).collect();
    wanted.sort_by_key(|k| (k.source != Source::Screen, Some(k.participant) != floor));
    wanted.into_iter().map(|k| (k, DEFAULT_HEIGHT)).collect()
}

/// What a list of wanted tracks is made of.
trait Wanted {
    fn key(&self) -> TrackKey;
    fn height(&self) -> u32;
}

impl Wanted for TrackKey {
    fn key(&self) -> TrackKey {
        *self
    }
    fn height(&self) -> u32 {
        0
    }
}

impl Wanted for (TrackKey, u32) {
    fn key(&self) -> TrackKey {
        self.0
    }
    fn height(&self) -> u32 {
        self.1
    }
}

fn fill(slots: &mut [crate::connection::Slot], wanted: &[impl Wanted]) {
    let shown: Vec<Option<TrackKey>> = slots.iter().map(|s| s.track).collect();
    let keys: Vec<TrackKey> = wanted.iter().map(Wanted::key).collect();
    for (slot, track) in slots.iter_mut().zip(assign(&shown, &keys)) {
        if slot.track != track {
            slot.forwarder.detach();
            slot.reason = LayerReason::Layout;
            slot.track = track;
        }
        let found = wanted.iter().enumerate().find(|(_, w)| Some(w.key()) == track);
        slot.height = found.map_or(0, |(_, w)| w.height());
        slot.importance = found.map_or(usize::MAX, |(index, _)| index);
        if track.is_some_and(TrackKey::is_audio) {
            slot.forwarder.set_target(Some(0));
        }
    }
}

fn choose_for(
    now: Instant,
    room: &mut Room,
    connection: &mut Connection,
    keyframes: &mut Vec<(TrackKey, u8)>,
) {
    let audio = connection
        .slots
        .audio
        .iter()
        .filter(|s| s.track.is_some())
        .count() as u64;
    let mut order: Vec<usize> = (0..connection.slots.video.len())
        .filter(|i| connection.slots.video[*i].track.is_some())
        .collect();
    order.sort_by_key(|i| connection.slots.video[*i].importance);
    let mut demands = Vec::with_capacity(order.len());
    for index in &order {
        let slot = &connection.slots.video[*index];
        let track = slot.track.and_then(|k| room.tracks.get_mut(&k));
        let layers = track.map(|t| layer_offers(now, t)).unwrap_or_default();
        demands.push(Demand {
            layers,
            height: slot.height,
            current: slot.forwarder.target(),
            paused: slot.forwarder.target().is_none() && slot.reason == LayerReason::Bandwidth,
        });
    }
    let hold = connection
        .stepped_down_at
        .is_some_and(|at| now.saturating_duration_since(at) < connection.hold);
    let allocation = allocate(connection.link.estimate_bps, audio, &demands, hold);
    apply(now, connection, &order, &demands, &allocation, keyframes);
}

fn layer_offers(now: Instant, track: &mut Track) -> Vec<LayerOffer> {
    track
        .layers
        .iter_mut()
        .map(|l| LayerOffer {
            bitrate_bps: l.cost_bps(now),
            height: l.height_or_guess(),
            live: l.live(now),
        })
        .collect()
}

fn apply(
    now: Instant,
    connection: &mut Connection,
    order: &[usize],
    demands: &[Demand],
    allocation: &Allocation,
    keyframes: &mut Vec<(TrackKey, u8)>,
) {
    for ((index, demand), layer) in order.iter().zip(demands).zip(&allocation.layers) {
        let slot = &mut connection.slots.video[*index];
        let ideal = demand.ideal();
        slot.reason = match (layer, ideal) {
            (_, None) => LayerReason::Paused,
            (Some(chosen), Some(ideal)) if *chosen >= ideal => LayerReason::Layout,
            _ => LayerReason::Bandwidth,
        };
        let lowered =
            demand.current.is_some() && *layer < demand.current && slot.reason == LayerReason::Bandwidth;
        if lowered {
            let lasted = |at| now.saturating_duration_since(at) >= LASTING;
            let short = connection.stepped_up_at.is_some_and(|at| !lasted(at));
            connection.hold = if short {
                (connection.hold * 2).min(HOLD_MAX)
            } else {
                HOLD_MIN
            };
            connection.stepped_down_at = Some(now);
        } else if *layer > demand.current {
            connection.stepped_up_at = Some(now);
        }
        slot.forwarder.set_target(*layer);
        if slot.forwarder.waiting()
            && let (Some(track), Some(layer)) = (slot.track, layer)
        {
            keyframes.push((track, *layer));
        }
    }
    let watchable = demands.iter().any(|d| d.ideal().is_some());
    connection.limited = allocation.limited;
    connection.paused_by_bandwidth = watchable && allocation.layers.iter().all(Option::is_none);
    let floor = if connection.slots.video.is_empty() {
        0
    } else {
        READY_BPS
    };
    let desired = allocation.desired_bps.max(floor);
    let known = connection.bandwidth_wish_bps;
    if desired.abs_diff(known) as f64 > known as f64 * WISH_STEP {
        connection.bandwidth_wish_bps = desired;
        connection.set_bandwidth_wish(desired);
    }
}

fn roster(room: &Room) -> Vec<RosterEntry> {
    let entry = |participant| RosterEntry {
        participant,
        tracks: room
            .tracks
            .iter()
            .filter(|(k, _)| k.participant == participant)
            .map(|(k, t)| RosterTrack {
                source: k.source,
                active: t.active,
            })
            .collect(),
    };
    let mut people = room.participants();
    people.sort_unstable();
    people.into_iter().map(entry).collect()
}

fn slots_said(connection: &Connection) -> Said {
    let entries = |slots: &[crate::connection::Slot]| {
        slots
            .iter()
            .map(|slot| {
                let track = slot.track?;
                Some(SlotEntry {
                    mid: slot.mid.to_string(),
                    participant: track.participant,
                    source: track.source,
                })
            })
            .collect()
    };
    Said::Slots {
        audio: entries(&connection.slots.audio),
        video: entries(&connection.slots.video),
    }
}

fn layer_said(room: &Room, connection: &Connection, number: usize) -> Option<String> {
    let slot = &connection.slots.video[number];
    let track = room.tracks.get(&slot.track?)?;
    let rid = slot
        .forwarder
        .target()
        .and_then(|l| track.layers.get(usize::from(l)))
        .map(|l| l.rid.clone());
    debug_assert!(number < usize::from(VIDEO_SLOT_BASE), "slots are few");
    Some(json(&Said::Layer {
        slot: number,
        rid,
        reason: slot.reason,
    }))
}
