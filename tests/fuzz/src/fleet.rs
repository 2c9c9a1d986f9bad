//! Histories of the ledger in which ids meet.

use medmesh_base::{ControlId, EdgeId, ParticipantId, RoomId};
use medmesh_ledger::{Command, Placement, State};
use uuid::Uuid;

/// Of each kind of thing, so many.
const FEW: u8 = 4;

fn few(uuid: Uuid, kind: u64, count: u8) -> Uuid {
    Uuid::from_u64_pair(kind, u64::from(uuid.as_bytes()[15] % count))
}

fn fold_edge(id: &mut EdgeId) {
    *id = EdgeId::from_uuid(few(id.as_uuid(), 1, FEW));
}

fn fold_room(id: &mut RoomId) {
    *id = RoomId::from_uuid(few(id.as_uuid(), 2, FEW));
}

fn fold_participant(id: &mut ParticipantId) {
    *id = ParticipantId::from_uuid(few(id.as_uuid(), 3, 20));
}

fn fold_control(id: &mut ControlId) {
    id.0 %= u64::from(FEW);
}

fn fold_placement(placement: &mut Placement) {
    fold_edge(&mut placement.edge);
    placement.fallbacks.iter_mut().for_each(fold_edge);
}

/// Makes the ids of a command few, and its epoch mostly the one in force.
pub fn fold(command: &mut Command, state: &State) {
    match command {
        Command::Batch(commands) => commands.iter_mut().for_each(|inner| fold(inner, state)),
        Command::EdgeUpsert { edge, .. }
        | Command::EdgeEnrol { edge, .. }
        | Command::EdgeStatusSet { edge, .. }
        | Command::EdgeCordon { edge, .. }
        | Command::EdgeDrain { edge, .. }
        | Command::EdgeRemove { edge, .. } => fold_edge(edge),
        Command::RoomClose { room, .. } => fold_room(room),
        Command::RoomAssign {
            room,
            epoch,
            place,
            remove,
            ..
        } => {
            fold_room(room);
            remove.iter_mut().for_each(fold_participant);
            for (participant, placement) in place {
                fold_participant(participant);
                fold_placement(placement);
            }
            if *epoch % 4 != 3 {
                *epoch = state.rooms.get(room).map_or(0, |room| room.epoch);
            }
        }
        Command::ControlUpsert { node, .. } | Command::ControlRemove { node, .. } => fold_control(node),
        Command::TokenKeyPut { owner, .. } => fold_control(owner),
        _ => {}
    }
}
