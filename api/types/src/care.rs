//! Who cares for a patient, and where patients are sent.

use garde::Validate;
use medmesh_base::{CareTeamMemberId, PersonId, Phi, ReferralId};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};

use crate::person::PersonRef;
use crate::rules;

/// As what somebody is on a care team.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CareRole {
    /// Treats.
    Clinician,
    /// Treats beside a clinician.
    Nurse,
    /// Follows the patient's care from place to place.
    CareCoordinator,
}

/// Somebody's place on a patient's care team.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CareTeamMember {
    /// The place.
    #[schema(value_type = uuid::Uuid)]
    pub id: CareTeamMemberId,
    /// Whose care.
    #[schema(value_type = uuid::Uuid)]
    pub patient_id: PersonId,
    /// Who gives it.
    pub person: PersonRef,
    /// As what.
    pub role: CareRole,
    /// Since when.
    #[serde(with = "time::serde::rfc3339")]
    pub from_at: OffsetDateTime,
    /// Until when, if that is known.
    #[serde(
        default,
        with = "time::serde::rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub until_at: Option<OffsetDateTime>,
    /// Grows with every change; the `ETag` is this number in quotes.
    pub version: i64,
}

/// Which members to list, the latest first.
#[derive(Clone, Debug, Default, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct CareTeamQuery {
    /// Also those who no longer are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub past: Option<bool>,
    /// `next_cursor` of the page before; absent for the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// Most items to return, 1 to 200; 50 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 200)]
    pub limit: Option<u32>,
}

/// Puts somebody on a patient's care team, from now on.
#[derive(Clone, Debug, Serialize, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CareTeamAdd {
    /// Who.
    #[garde(skip)]
    #[schema(value_type = uuid::Uuid)]
    pub person_id: PersonId,
    /// As what; they must be that in the clinic.
    #[garde(skip)]
    pub role: CareRole,
    /// Until when; until somebody ends it when absent.
    #[garde(skip)]
    #[serde(
        default,
        with = "time::serde::rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub until_at: Option<OffsetDateTime>,
}

/// A patient sent from one clinician to another, who may read the record until it ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Referral {
    /// The referral.
    #[schema(value_type = uuid::Uuid)]
    pub id: ReferralId,
    /// Who is sent.
    #[schema(value_type = uuid::Uuid)]
    pub patient_id: PersonId,
    /// By whom.
    pub from: PersonRef,
    /// To whom.
    pub to: PersonRef,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub reason: Option<Phi<String>>,
    /// Since when.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// Until when it opens the record.
    #[serde(with = "time::serde::rfc3339")]
    pub until_at: OffsetDateTime,
    /// Grows with every change; the `ETag` is this number in quotes.
    pub version: i64,
}

/// Refers a patient.
#[derive(Clone, Debug, Serialize, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReferralCreate {
    /// To which clinician.
    #[garde(skip)]
    #[schema(value_type = uuid::Uuid)]
    pub to_id: PersonId,
    /// Why.
    #[garde(custom(rules::reason))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, max_length = 500)]
    pub reason: Option<Phi<String>>,
    /// Until when, at most 366 days ahead; 90 days when absent.
    #[garde(skip)]
    #[serde(
        default,
        with = "time::serde::rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub until_at: Option<OffsetDateTime>,
}
