//! Visits: who is expected, who waits, who is in.

use garde::Validate;
use medmesh_base::{AppointmentId, ParticipantId, PersonId, VisitId};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};

use crate::message::Message;
use crate::person::PersonRef;

/// Where a visit stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum VisitState {
    /// Nobody has come yet.
    Scheduled,
    /// The patient waits.
    Waiting,
    /// The clinician has opened it.
    Open,
    /// It is over.
    Ended,
}

/// What a participant is to the visit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ParticipantRole {
    /// Is treated.
    Patient,
    /// Treats; opens, admits and ends.
    Clinician,
    /// Was added: a nurse, an interpreter, a colleague, a relative.
    Guest,
}

/// Where a participant stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ParticipantState {
    /// Has not come yet.
    Expected,
    /// Is in the waiting room.
    Waiting,
    /// May join.
    Admitted,
    /// Has asked for a media session.
    InCall,
    /// Has gone.
    Left,
}

/// One person of a visit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Participant {
    /// How the media plane knows them; the key from tiles to names.
    #[schema(value_type = uuid::Uuid)]
    pub participant_id: ParticipantId,
    /// Who it is.
    pub person: PersonRef,
    /// What they are to the visit.
    pub role: ParticipantRole,
    /// Where they stand.
    pub state: ParticipantState,
}

/// The meeting an appointment leads to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Visit {
    /// Which visit.
    #[schema(value_type = uuid::Uuid)]
    pub id: VisitId,
    /// The appointment it came from.
    #[schema(value_type = uuid::Uuid)]
    pub appointment_id: AppointmentId,
    /// Planned begin, inclusive.
    #[serde(with = "time::serde::rfc3339")]
    pub starts_at: OffsetDateTime,
    /// Planned end, exclusive.
    #[serde(with = "time::serde::rfc3339")]
    pub ends_at: OffsetDateTime,
    /// Where it stands.
    pub state: VisitState,
    /// Everyone of it, the caller included.
    pub participants: Vec<Participant>,
    /// Grows with every change; an older one than seen can be dropped.
    pub version: i64,
    /// Which participant the caller is; absent for those who care for the patient and take no part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<uuid::Uuid>)]
    pub you: Option<ParticipantId>,
}

/// How far one visit is, and nothing about anyone: cheap to ask for again and again. What has
/// another pulse than before is worth reading, and nothing else is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct VisitPulse {
    /// Which visit.
    #[schema(value_type = uuid::Uuid)]
    pub id: VisitId,
    /// Grows with whatever changes in the `Visit`: its state, its time, who takes part, their names.
    pub pulse: i64,
}

/// Which day's visits to list, ordered by begin.
#[derive(Clone, Debug, Default, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct VisitQuery {
    /// `YYYY-MM-DD` in the clinic's zone; today when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<String>, format = Date)]
    pub day: Option<String>,
}

/// What of a visit is known already, to a stream of its events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct VisitEventsQuery {
    /// The `version` of the visit last seen: the stream then begins without the visit while that is still it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1)]
    pub seen: Option<i64>,
}

/// Lets one who waits in.
#[derive(Clone, Debug, Serialize, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct VisitAdmit {
    /// Who.
    #[garde(skip)]
    #[schema(value_type = uuid::Uuid)]
    pub participant_id: ParticipantId,
}

/// Asks one more person of the clinic into the visit.
#[derive(Clone, Debug, Serialize, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ParticipantAdd {
    /// Who.
    #[garde(skip)]
    #[schema(value_type = uuid::Uuid)]
    pub person_id: PersonId,
}

/// One event of `GET /v1/visits/{id}/events`, as the stream names and carries it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "event", content = "data", rename_all = "snake_case")]
pub enum VisitEvent {
    /// The visit as it is now. The first event of a stream, unless this version was seen before.
    Visit(Box<Visit>),
    /// A chat message; its id is the event's `id`.
    Message(Box<Message>),
    /// Nothing happened; the stream is alive.
    Ping,
}
