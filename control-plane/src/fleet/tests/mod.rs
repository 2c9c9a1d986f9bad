//! The pure parts with a clock of their own, and the services over a one-node group.

mod edges;
mod expiry;
mod moves;
mod node;
mod operator;
mod pure;
mod service;

use medmesh_base::{EdgeId, ParticipantId, RoomId};
use medmesh_ledger::{Command, EdgeDescriptor, Response, State};
use medmesh_wire::fleet as wire;
use uuid::Uuid;

pub(crate) fn edge(number: u128) -> EdgeId {
    EdgeId::from_uuid(Uuid::from_u128(number))
}

pub(crate) fn room(number: u128) -> RoomId {
    RoomId::from_uuid(Uuid::from_u128(number))
}

pub(crate) fn person(number: u128) -> ParticipantId {
    ParticipantId::from_uuid(Uuid::from_u128(number))
}

pub(crate) fn wire_descriptor(name: &str, region: &str) -> wire::EdgeDescriptor {
    wire::EdgeDescriptor {
        name: name.to_owned(),
        region: region.to_owned(),
        signalling_url: format!("https://{name}.example.net"),
        link_address: format!("{name}.example.net:4400"),
        turn_urls: vec![format!("turn:{name}.example.net:3478?transport=udp")],
        capacity_participants: 100,
        version: "0.1.0".to_owned(),
        media: vec!["192.0.2.9:10000-10007".to_owned()],
    }
}

pub(crate) fn descriptor(name: &str, region: &str) -> EdgeDescriptor {
    super::telemetry::descriptor_from_wire(wire_descriptor(name, region)).unwrap()
}

pub(crate) fn report(name: &str, region: &str) -> wire::EdgeReport {
    wire::EdgeReport {
        sequence: 1,
        edge: Some(wire_descriptor(name, region)),
        load: Some(wire::EdgeLoad {
            participants: 3,
            rooms: 1,
            cpu_ratio: 0.25,
            ..wire::EdgeLoad::default()
        }),
        ..wire::EdgeReport::default()
    }
}

pub(crate) fn apply(state: &mut State, command: &Command) -> Response {
    state.apply(command).response.accepted().unwrap()
}

pub(crate) fn fleet_of(names: &[(u128, &str, &str)]) -> State {
    let mut state = State::default();
    for (number, name, region) in names {
        let command = Command::EdgeUpsert {
            edge: edge(*number),
            descriptor: descriptor(name, region),
            now: 1,
        };
        apply(&mut state, &command);
    }
    state
}
