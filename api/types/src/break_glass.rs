//! Records opened because it was urgent, and who looks after privacy.

use garde::Validate;
use medmesh_base::{BreakGlassId, PersonId, Phi};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};

use crate::person::PersonRef;
use crate::rules;

/// Longest that broken glass stays open, minutes: half a shift.
pub const BREAK_GLASS_MINUTES_MAX: u16 = 240;

/// What the privacy officer found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    /// It was an emergency.
    Justified,
    /// It was not.
    Unjustified,
}

/// Opens a patient's record in an emergency.
#[derive(Clone, Debug, Serialize, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BreakGlassOpen {
    /// Why. The patient and the privacy officer read it.
    #[garde(custom(rules::reason_given))]
    #[schema(value_type = String, min_length = 1, max_length = 500)]
    pub reason: Phi<String>,
    /// For how long; 60 when absent.
    #[garde(inner(range(min = 1, max = BREAK_GLASS_MINUTES_MAX)))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 240)]
    pub minutes: Option<u16>,
}

/// A broken glass.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BreakGlass {
    /// Which.
    #[schema(value_type = uuid::Uuid)]
    pub id: BreakGlassId,
    /// Whose record.
    pub patient: PersonRef,
    /// Who broke it.
    pub person: PersonRef,
    /// The reason they gave.
    #[schema(value_type = String)]
    pub reason: Phi<String>,
    /// Since when.
    #[serde(with = "time::serde::rfc3339")]
    pub opened_at: OffsetDateTime,
    /// Until when it opens the record.
    #[serde(with = "time::serde::rfc3339")]
    pub until_at: OffsetDateTime,
    /// What was found, once somebody looked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finding: Option<Finding>,
    /// Who looked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reviewed_by: Option<PersonRef>,
    /// When.
    #[serde(
        default,
        with = "time::serde::rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub reviewed_at: Option<OffsetDateTime>,
    /// Grows with every change; the `ETag` is this number in quotes.
    pub version: i64,
}

/// Which broken glass to list, the latest first.
#[derive(Clone, Debug, Default, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct BreakGlassQuery {
    /// Only those nobody has looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unsettled: Option<bool>,
    /// `next_cursor` of the page before; absent for the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// Most items to return, 1 to 200; 50 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 200)]
    pub limit: Option<u32>,
}

/// Settles a broken glass.
#[derive(Clone, Debug, Serialize, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BreakGlassReview {
    /// What was found.
    #[garde(skip)]
    pub finding: Finding,
}

/// Who looks after privacy at the clinic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PrivacyOfficer {
    /// Nobody, until somebody is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person: Option<PersonRef>,
    /// Since when.
    #[serde(
        default,
        with = "time::serde::rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub named_at: Option<OffsetDateTime>,
    /// 0 until somebody is named; the `ETag` is this number in quotes.
    pub version: i64,
}

/// Names the privacy officer.
#[derive(Clone, Debug, Serialize, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PrivacyOfficerSet {
    /// Somebody who works at the clinic.
    #[garde(skip)]
    #[schema(value_type = uuid::Uuid)]
    pub person_id: PersonId,
}
