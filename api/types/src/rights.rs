//! What patients may ask of their record as a whole.

use garde::Validate;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

/// What a patient asked of their record, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RecordRights {
    /// Since when the record rests: only the patient, those they meet, and emergencies reach it.
    #[serde(
        default,
        with = "time::serde::rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub restricted_at: Option<OffsetDateTime>,
    /// The record is to go, or went.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub erasure: Option<Erasure>,
    /// 0 until something was asked; the `ETag` is this number in quotes.
    pub version: i64,
}

/// A record that is to go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Erasure {
    /// Since when it was asked.
    #[serde(with = "time::serde::rfc3339")]
    pub requested_at: OffsetDateTime,
    /// The law keeps the record until then; afterwards its key is destroyed. Until then it can be taken back.
    #[serde(with = "time::serde::rfc3339")]
    pub retained_until: OffsetDateTime,
    /// When its key was destroyed.
    #[serde(
        default,
        with = "time::serde::rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub erased_at: Option<OffsetDateTime>,
}

/// Asks for it, or takes it back.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RecordRightsSet {
    /// The record rests.
    #[garde(skip)]
    pub restricted: bool,
    /// The record goes as soon as the law lets it, and rests until then.
    #[garde(skip)]
    pub erasure: bool,
}
