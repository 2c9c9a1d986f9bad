//! What a patient wants corrected, and what comes of it (45 CFR 164.526).

use garde::Validate;
use medmesh_base::{CorrectionId, Phi};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};

use crate::person::PersonRef;
use crate::rules;

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CorrectionState {
    /// Nobody has answered.
    Open,
    /// It is to be corrected.
    Accepted,
    /// It stays as it is.
    Declined,
}

/// A wish for a correction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Correction {
    /// Which.
    #[schema(value_type = uuid::Uuid)]
    pub id: CorrectionId,
    /// Whose record.
    pub patient: PersonRef,
    /// What is wrong, and how it should read.
    #[schema(value_type = String)]
    pub what: Phi<String>,
    /// Why.
    #[schema(value_type = String)]
    pub why: Phi<String>,
    /// When it was asked.
    #[serde(with = "time::serde::rfc3339")]
    pub requested_at: OffsetDateTime,
    /// Until when it must be answered: 60 days after it was asked.
    #[serde(with = "time::serde::rfc3339")]
    pub due_at: OffsetDateTime,
    /// How far it is.
    pub state: CorrectionState,
    /// Who answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided_by: Option<PersonRef>,
    /// When.
    #[serde(
        default,
        with = "time::serde::rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub decided_at: Option<OffsetDateTime>,
    /// Why it was declined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub reason: Option<Phi<String>>,
    /// That the patient disagrees with that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disagreement: Option<Disagreement>,
    /// The `ETag` is this number in quotes.
    pub version: i64,
}

/// The patient's own statement about what was declined. It stays with the record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Disagreement {
    /// What they say.
    #[schema(value_type = String)]
    pub statement: Phi<String>,
    /// When they said it.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
}

/// Something to correct.
#[derive(Clone, Debug, Serialize, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CorrectionCreate {
    /// What is wrong, and how it should read.
    #[garde(custom(rules::correction))]
    #[schema(value_type = String, min_length = 1, max_length = 2000)]
    pub what: Phi<String>,
    /// Why.
    #[garde(custom(rules::correction))]
    #[schema(value_type = String, min_length = 1, max_length = 2000)]
    pub why: Phi<String>,
}

/// Why something is not corrected.
#[derive(Clone, Debug, Serialize, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CorrectionDecline {
    /// The patient reads it.
    #[garde(custom(rules::correction))]
    #[schema(value_type = String, min_length = 1, max_length = 2000)]
    pub reason: Phi<String>,
}

/// That the patient disagrees.
#[derive(Clone, Debug, Serialize, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CorrectionDisagree {
    /// What they say.
    #[garde(custom(rules::correction))]
    #[schema(value_type = String, min_length = 1, max_length = 2000)]
    pub statement: Phi<String>,
}

/// Which corrections of the clinic.
#[derive(Clone, Debug, Default, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct CorrectionQuery {
    /// Only those in this state.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(inline)]
    pub state: Option<CorrectionState>,
    /// `next_cursor` of the page before; absent for the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// Most items to return, 1 to 200; 50 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 200)]
    pub limit: Option<u32>,
}
