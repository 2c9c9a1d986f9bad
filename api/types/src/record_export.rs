//! A copy of everything a record holds, made for its patient.

use garde::Validate;
use medmesh_base::{PersonId, RecordExportId};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ExportState {
    /// It waits for its turn, or is being made: seconds, for a large record minutes.
    Queued,
    /// It can be taken.
    Ready,
    /// Its time is over.
    Gone,
}

/// A copy, and how far it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RecordExport {
    /// Which.
    #[schema(value_type = uuid::Uuid)]
    pub id: RecordExportId,
    /// Whose record.
    #[schema(value_type = uuid::Uuid)]
    pub patient_id: PersonId,
    /// How far it is.
    pub state: ExportState,
    /// When it was asked for.
    #[serde(with = "time::serde::rfc3339")]
    pub requested_at: OffsetDateTime,
    /// When it was made.
    #[serde(
        default,
        with = "time::serde::rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub ready_at: Option<OffsetDateTime>,
    /// Until when it can be taken.
    #[serde(
        default,
        with = "time::serde::rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub expires_at: Option<OffsetDateTime>,
    /// As JSON of this API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json: Option<SignedCopy>,
    /// As a FHIR R4 bundle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fhir: Option<SignedCopy>,
}

/// One form of a copy, signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SignedCopy {
    /// Bytes of the download.
    pub size_bytes: u64,
    /// Detached JWS over exactly the bytes of the download: ES256, payload unencoded (RFC 7515 appendix F,
    /// RFC 7797). `kid` is of `GET /v1/jwks`.
    pub signature: String,
}

/// What to ask for: nothing but that.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RecordExportCreate {}

/// In which form it is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ExportForm {
    /// JSON of this API.
    #[default]
    Json,
    /// A FHIR R4 bundle.
    Fhir,
}

/// In which form it is taken; JSON without.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ExportFormQuery {
    /// JSON of this API, or a FHIR R4 bundle.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(inline)]
    pub form: Option<ExportForm>,
}

/// The public keys of this installation's signatures (RFC 7517 section 5).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PublicKeys {
    /// The keys: P-256, each with its `kid`.
    #[schema(value_type = Vec<Object>)]
    pub keys: Vec<serde_json::Value>,
}
