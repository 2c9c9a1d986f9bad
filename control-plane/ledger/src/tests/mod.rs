//! Rules, one by one; the encodings that must never change; properties over random histories.

mod audit;
mod encoding;
mod history;
mod rules;

use medmesh_base::{EdgeId, ParticipantId, Region, RoomId};
use uuid::Uuid;

use crate::{Command, EdgeDescriptor, Placement, Response, State};

pub(super) fn edge_id(number: u64) -> EdgeId {
    EdgeId::from_uuid(Uuid::from_u64_pair(1, number))
}

pub(super) fn room_id(number: u64) -> RoomId {
    RoomId::from_uuid(Uuid::from_u64_pair(2, number))
}

pub(super) fn participant_id(number: u64) -> ParticipantId {
    ParticipantId::from_uuid(Uuid::from_u64_pair(3, number))
}

pub(super) fn region(name: &str) -> Region {
    name.parse().unwrap()
}

pub(super) fn descriptor(number: u64, region_name: &str) -> EdgeDescriptor {
    EdgeDescriptor {
        name: format!("edge-{number}"),
        region: region(region_name),
        signalling_url: format!("https://edge-{number}.example.net"),
        link_address: format!("192.0.2.{number}:4400"),
        turn_urls: vec![format!("turn:192.0.2.{number}:3478?transport=udp")],
        capacity_participants: 100,
    }
}

pub(super) fn place(edge: u64, fallbacks: &[u64]) -> Placement {
    Placement {
        edge: edge_id(edge),
        fallbacks: fallbacks.iter().map(|number| edge_id(*number)).collect(),
    }
}

pub(super) fn assign(room: u64, epoch: u64, placements: &[(u64, Placement)]) -> Command {
    Command::RoomAssign {
        room: room_id(room),
        epoch,
        residency: vec![],
        expires_at: 10_000,
        place: placements
            .iter()
            .map(|(who, placement)| (participant_id(*who), placement.clone()))
            .collect(),
        remove: vec![],
        now: 1_000,
    }
}

/// Edges 1 and 2 in `eu`, edge 3 in `us`.
pub(super) fn fleet() -> State {
    let mut state = State::default();
    for (number, place) in [(1, "eu"), (2, "eu"), (3, "us")] {
        let command = Command::EdgeUpsert {
            edge: edge_id(number),
            descriptor: descriptor(number, place),
            now: 1_000,
        };
        assert_eq!(state.apply(&command).response, Response::Done);
    }
    state
}
