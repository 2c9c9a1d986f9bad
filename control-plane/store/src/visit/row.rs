//! Between rows and the domain's visit.

use medmesh_base::{AppointmentId, ParticipantId, PersonId, RoomId, VisitId};
use medmesh_clinic::{Participant, ParticipantRole, PersonRef, Phase, Slot, Version, Visit, VisitState};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::keys::{Opener, Sealed};
use crate::person::sealed_name;
use crate::{Result, StoreError};

#[derive(sqlx::FromRow)]
pub(super) struct VisitRow {
    pub(super) id: Uuid,
    pub(super) appointment_id: Uuid,
    pub(super) room_id: Uuid,
    pub(super) state: String,
    pub(super) opened_at: Option<OffsetDateTime>,
    pub(super) ended_at: Option<OffsetDateTime>,
    pub(super) version: i64,
    pub(super) starts_at: OffsetDateTime,
    pub(super) ends_at: OffsetDateTime,
}

#[derive(sqlx::FromRow)]
pub(super) struct ParticipantRow {
    pub(super) visit_id: Uuid,
    pub(super) participant_id: Uuid,
    pub(super) person_id: Uuid,
    pub(super) display_name: Vec<u8>,
    pub(super) seal_version: i64,
    pub(super) role: String,
    pub(super) state: String,
}

impl ParticipantRow {
    pub(super) fn sealed(&self) -> Sealed<'_> {
        sealed_name(self.person_id, self.seal_version, &self.display_name)
    }
}

pub(super) fn visit_from(row: &VisitRow) -> Result<Visit> {
    let corrupt = || StoreError::corrupt("visit.state");
    let phase = match (
        row.state.parse().map_err(|_| corrupt())?,
        row.opened_at,
        row.ended_at,
    ) {
        (VisitState::Scheduled, None, None) => Phase::Scheduled,
        (VisitState::Waiting, None, None) => Phase::Waiting,
        (VisitState::Open, Some(opened_at), None) => Phase::Open { opened_at },
        (VisitState::Ended, opened_at, Some(ended_at)) => Phase::Ended { opened_at, ended_at },
        _ => return Err(corrupt()),
    };
    Ok(Visit {
        id: VisitId::from_uuid(row.id),
        appointment_id: AppointmentId::from_uuid(row.appointment_id),
        room_id: RoomId::from_uuid(row.room_id),
        slot: Slot::new(row.starts_at, row.ends_at)
            .map_err(|_| StoreError::corrupt("appointment.starts_at"))?,
        phase,
        participants: Vec::new(),
        version: Version(row.version),
    })
}

pub(super) fn participant_from(row: &ParticipantRow, opener: &Opener) -> Result<Participant> {
    Ok(Participant {
        id: ParticipantId::from_uuid(row.participant_id),
        person: PersonRef {
            id: PersonId::from_uuid(row.person_id),
            display_name: opener.text(&row.sealed())?,
        },
        role: row
            .role
            .parse::<ParticipantRole>()
            .map_err(|_| StoreError::corrupt("visit_participant.role"))?,
        state: row
            .state
            .parse()
            .map_err(|_| StoreError::corrupt("visit_participant.state"))?,
    })
}
