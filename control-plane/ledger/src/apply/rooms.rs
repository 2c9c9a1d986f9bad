//! Rooms: who is placed where, under which epoch.

use std::collections::BTreeMap;
use std::sync::Arc;

use medmesh_base::{EdgeId, ParticipantId, RoomId};

use super::{Outcome, overdue};
use crate::command::Command;
use crate::event::{CloseReason, Event};
use crate::limits::{
    FALLBACKS_MAX, RESIDENCY_REGIONS_MAX, ROOM_LIFE_MS_MAX, ROOM_PARTICIPANTS_MAX, ROOMS_MAX,
};
use crate::response::{Limit, Refused, Response};
use crate::state::{Placement, Room, State};

impl State {
    pub(super) fn room_assign(&mut self, command: &Command, events: &mut Vec<Event>) -> Outcome {
        let Command::RoomAssign {
            room,
            epoch,
            residency,
            expires_at,
            place,
            remove,
            now,
        } = command
        else {
            unreachable!("called for RoomAssign only")
        };
        let now_next = self.now.max(*now);
        if *expires_at > now_next.saturating_add(ROOM_LIFE_MS_MAX) {
            return Err(Refused::Invalid("expires_at".to_owned()));
        }
        let mut next = match self.rooms.get(room) {
            Some(held) if held.epoch != *epoch => return Err(Refused::StaleEpoch { current: held.epoch }),
            Some(held) => Room::clone(held),
            None if *epoch != 0 => return Err(Refused::StaleEpoch { current: 0 }),
            None => self.room_new(residency, now_next)?,
        };
        for participant in remove {
            next.placements.remove(participant);
        }
        for (participant, placement) in place {
            self.placement_check(&next, *participant, placement)?;
            next.placements.insert(*participant, placement.clone());
        }
        if next.placements.len() > ROOM_PARTICIPANTS_MAX {
            return Err(Refused::LimitReached(Limit::RoomParticipants));
        }
        let now = self.tick(*now);
        self.epoch += 1;
        next.epoch = self.epoch;
        next.updated_at = now;
        next.expires_at = next.expires_at.max(*expires_at);
        let epoch = next.epoch;
        self.rooms.insert(*room, Arc::new(next));
        events.push(Event::RoomChanged { room: *room, epoch });
        Ok(Response::Epoch(epoch))
    }

    fn room_new(&self, residency: &[medmesh_base::Region], now: u64) -> Result<Room, Refused> {
        if self.rooms.len() >= ROOMS_MAX {
            return Err(Refused::LimitReached(Limit::Rooms));
        }
        if residency.len() > RESIDENCY_REGIONS_MAX {
            return Err(Refused::Invalid("residency".to_owned()));
        }
        Ok(Room {
            epoch: 0,
            residency: residency.to_vec(),
            placements: BTreeMap::new(),
            created_at: now,
            updated_at: now,
            expires_at: now,
        })
    }

    fn placement_check(
        &self,
        room: &Room,
        participant: ParticipantId,
        placement: &Placement,
    ) -> Result<(), Refused> {
        if placement.fallbacks.len() > FALLBACKS_MAX {
            return Err(Refused::Invalid("fallbacks".to_owned()));
        }
        for edge in std::iter::once(&placement.edge).chain(&placement.fallbacks) {
            self.residency_check(room, *edge)?;
        }
        // Whoever is already there may stay on an edge that takes nobody new.
        let stays = room
            .placements
            .get(&participant)
            .is_some_and(|held| held.edge == placement.edge);
        let takes = self
            .edges
            .get(&placement.edge)
            .is_some_and(|edge| edge.takes_people());
        if stays || takes {
            Ok(())
        } else {
            Err(Refused::EdgeUnavailable(placement.edge))
        }
    }

    fn residency_check(&self, room: &Room, edge: EdgeId) -> Result<(), Refused> {
        let known = self.edges.get(&edge).ok_or(Refused::UnknownEdge(edge))?;
        if room.residency.is_empty() || room.residency.contains(&known.descriptor.region) {
            Ok(())
        } else {
            Err(Refused::OutsideResidency(edge))
        }
    }

    pub(super) fn room_close(&mut self, room: RoomId, now: u64, events: &mut Vec<Event>) -> Outcome {
        self.tick(now);
        if self.rooms.remove(&room).is_some() {
            events.push(Event::RoomClosed {
                room,
                reason: CloseReason::Closed,
            });
        }
        Ok(Response::Done)
    }

    pub(super) fn rooms_expire(&mut self, now: u64, budget: &mut usize, events: &mut Vec<Event>) {
        for room in overdue(&self.rooms, budget, |room| room.expires_at <= now) {
            self.rooms.remove(&room);
            events.push(Event::RoomClosed {
                room,
                reason: CloseReason::Expired,
            });
        }
    }
}
