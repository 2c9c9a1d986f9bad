//! Booked times.

use garde::Validate;
use medmesh_base::{AppointmentId, PersonId, Phi, VisitId};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};

use crate::person::PersonRef;
use crate::rules;

/// Where an appointment stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum AppointmentStatus {
    /// It is to take place.
    Booked,
    /// It is off; its time is free again.
    Cancelled,
    /// Its visit has ended.
    Completed,
}

/// Which protected part of a record something belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Segment {
    /// Nothing beyond what health data is anyway.
    #[default]
    General,
    /// Treatment of substance use by a federally assisted program (42 CFR Part 2).
    Part2,
    /// Mental health.
    MentalHealth,
    /// Reproductive health.
    ReproductiveHealth,
    /// HIV and what is tested with it.
    Hiv,
}

/// A booked time between a patient and a clinician.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Appointment {
    /// Which appointment.
    #[schema(value_type = uuid::Uuid)]
    pub id: AppointmentId,
    /// The visit it leads to.
    #[schema(value_type = uuid::Uuid)]
    pub visit_id: VisitId,
    /// Who comes.
    pub patient: PersonRef,
    /// Who treats.
    pub clinician: PersonRef,
    /// Begin, inclusive.
    #[serde(with = "time::serde::rfc3339")]
    pub starts_at: OffsetDateTime,
    /// End, exclusive.
    #[serde(with = "time::serde::rfc3339")]
    pub ends_at: OffsetDateTime,
    /// Where it stands.
    pub status: AppointmentStatus,
    /// Why the patient comes; only for those who treat.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub reason: Option<Phi<String>>,
    /// Which protected part of the record it belongs to; only for those who treat.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segment: Option<Segment>,
    /// Grows with every change; the `ETag` is this number in quotes.
    pub version: i64,
}

/// Which appointments to list, ordered by begin.
#[derive(Clone, Debug, Default, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct AppointmentQuery {
    /// Only those that end after this instant.
    #[serde(
        default,
        with = "time::serde::rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    #[param(value_type = Option<String>, format = DateTime)]
    pub from: Option<OffsetDateTime>,
    /// Only those that start before this instant.
    #[serde(
        default,
        with = "time::serde::rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    #[param(value_type = Option<String>, format = DateTime)]
    pub to: Option<OffsetDateTime>,
    /// `next_cursor` of the page before; absent for the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// Most items to return, 1 to 200; 50 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 200)]
    pub limit: Option<u32>,
}

/// A time to book.
#[derive(Clone, Debug, Serialize, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AppointmentCreate {
    /// Who comes.
    #[garde(skip)]
    #[schema(value_type = uuid::Uuid)]
    pub patient_id: PersonId,
    /// Who treats.
    #[garde(skip)]
    #[schema(value_type = uuid::Uuid)]
    pub clinician_id: PersonId,
    /// Begin, inclusive.
    #[garde(skip)]
    #[serde(with = "time::serde::rfc3339")]
    pub starts_at: OffsetDateTime,
    /// End, exclusive.
    #[garde(skip)]
    #[serde(with = "time::serde::rfc3339")]
    pub ends_at: OffsetDateTime,
    /// Why the patient comes.
    #[garde(custom(rules::reason))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, max_length = 500)]
    pub reason: Option<Phi<String>>,
    /// Which protected part of the record it belongs to. Patients book in the general one.
    #[garde(skip)]
    #[serde(default)]
    #[schema(required = false)]
    pub segment: Segment,
}

/// What to change; what is absent stays.
#[derive(Clone, Debug, Default, Serialize, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AppointmentUpdate {
    /// New begin.
    #[garde(skip)]
    #[serde(
        default,
        with = "time::serde::rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub starts_at: Option<OffsetDateTime>,
    /// New end.
    #[garde(skip)]
    #[serde(
        default,
        with = "time::serde::rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub ends_at: Option<OffsetDateTime>,
    /// New reason.
    #[garde(custom(rules::reason))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, max_length = 500)]
    pub reason: Option<Phi<String>>,
    /// Another part of the record; only the clinician of the appointment may.
    #[garde(skip)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segment: Option<Segment>,
}

/// Calling an appointment off.
#[derive(Clone, Debug, Default, Serialize, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AppointmentCancel {
    /// Why.
    #[garde(custom(rules::reason))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, max_length = 500)]
    pub reason: Option<Phi<String>>,
}
