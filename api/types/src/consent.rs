//! What patients agreed to, and what proves it.

use garde::Validate;
use medmesh_base::{ConsentId, SessionId};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};

use crate::appointment::Segment;
use crate::person::{Locale, PersonRef};
use crate::rules;

/// What consent is given for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ConsentPurpose {
    /// Care of the patient.
    Treatment,
    /// Being paid for care.
    Payment,
    /// Running the clinic.
    Operations,
}

/// What the patient says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ConsentDecision {
    /// Yes.
    Granted,
    /// No, or no longer.
    Withdrawn,
}

/// How it was signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SignedBy {
    /// By the patient, signed in, under the text on their screen.
    Session,
    /// On paper; the clinic has it.
    Paper,
    /// Said before a witness, who records it.
    Witness,
}

/// Which text to read.
#[derive(Clone, Debug, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ConsentTextQuery {
    /// For what.
    #[param(inline)]
    pub purpose: ConsentPurpose,
    /// About which part of the record; the general one when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(inline)]
    pub segment: Option<Segment>,
    /// Granting or withdrawing.
    #[param(inline)]
    pub decision: ConsentDecision,
    /// In which language; the person's own when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(inline)]
    pub locale: Option<Locale>,
}

/// A text to show and have signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConsentText {
    /// Its name, with its version; goes back as `document`.
    pub document: String,
    /// The words to show, unchanged.
    pub text: String,
    /// SHA-256 of the words, hexadecimal; goes back as `text_sha256`.
    pub text_sha256: String,
}

/// Records what a patient says. What they said before stays on record; the latest counts.
#[derive(Clone, Debug, Serialize, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConsentRecord {
    /// For what.
    #[garde(skip)]
    pub purpose: ConsentPurpose,
    /// About which part of the record.
    #[garde(skip)]
    #[serde(default)]
    #[schema(required = false)]
    pub segment: Segment,
    /// What they say.
    #[garde(skip)]
    pub decision: ConsentDecision,
    /// How it is signed: patients by `session`, others by `paper` or `witness`.
    #[garde(skip)]
    pub signed_by: SignedBy,
    /// The name of the text.
    #[garde(custom(rules::document))]
    #[schema(min_length = 1, max_length = 80, pattern = "^[A-Za-z0-9._/-]{1,80}$")]
    pub document: String,
    /// With `session`: the digest of the words that were on the screen.
    #[garde(custom(rules::sha256))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[0-9a-f]{64}$")]
    pub text_sha256: Option<String>,
    /// With `paper`: the digest of the scan.
    #[garde(custom(rules::sha256))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[0-9a-f]{64}$")]
    pub proof_sha256: Option<String>,
}

/// One version of what a patient said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Consent {
    /// This version.
    #[schema(value_type = uuid::Uuid)]
    pub id: ConsentId,
    /// For what.
    pub purpose: ConsentPurpose,
    /// About which part of the record.
    pub segment: Segment,
    /// 1, 2, 3 … of this purpose and segment; the highest counts.
    pub version: i64,
    /// What they said.
    pub decision: ConsentDecision,
    /// How it was signed.
    pub signed_by: SignedBy,
    /// The name of the text.
    pub document: String,
    /// Digest of the words that were on the screen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text_sha256: Option<String>,
    /// Digest of the signed paper.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof_sha256: Option<String>,
    /// Who wrote it down; with `session` the patient.
    pub recorded_by: PersonRef,
    /// When.
    #[serde(with = "time::serde::rfc3339")]
    pub recorded_at: OffsetDateTime,
    /// In which session, if it was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<uuid::Uuid>)]
    pub session_id: Option<SessionId>,
    /// When whoever recorded it had last proved who they are.
    #[serde(
        default,
        with = "time::serde::rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub proved_at: Option<OffsetDateTime>,
}
