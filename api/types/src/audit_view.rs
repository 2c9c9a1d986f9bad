//! The audit log as people read it.

use medmesh_base::{AuditId, BreakGlassId, ClientId, PersonId, Phi, RequestId, SessionId};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::person::Role;

/// How an act went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It was done.
    Done,
    /// It was asked for and not given, or a proof of who one is was wrong.
    Refused,
}

/// Which entries of the log, newest first.
#[derive(Clone, Debug, Default, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct AuditQuery {
    /// What this person did.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<uuid::Uuid>)]
    pub actor_id: Option<PersonId>,
    /// What was done to the record of this patient.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<uuid::Uuid>)]
    pub patient_id: Option<PersonId>,
    /// Only this act, for example `visit_read`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// Only what went so.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(inline)]
    pub outcome: Option<Outcome>,
    /// Not before this instant.
    #[serde(
        default,
        with = "time::serde::rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    #[param(value_type = Option<String>, format = DateTime)]
    pub from: Option<OffsetDateTime>,
    /// Before this instant.
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
    /// Most items to return, 1 to 200; 50 when absent. Exports take no notice of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 200)]
    pub limit: Option<u32>,
}

/// The form of a copy of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum AuditFormat {
    /// RFC 4180, with a line of names.
    #[default]
    Csv,
    /// A bundle of FHIR R4 `AuditEvent`s after IHE BALP.
    Fhir,
}

/// In which form.
#[derive(Clone, Debug, Default, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct AuditFormatQuery {
    /// CSV when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(inline)]
    pub format: Option<AuditFormat>,
}

/// Somebody in the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditPerson {
    /// Which person.
    #[schema(value_type = uuid::Uuid)]
    pub id: PersonId,
    /// How they are called; absent where that was erased, or is not the reader's to know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub display_name: Option<Phi<String>>,
    /// What they are to the clinic now.
    pub roles: Vec<Role>,
}

/// A machine of the clinic, as the log names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditClient {
    /// Which.
    #[schema(value_type = uuid::Uuid)]
    pub id: ClientId,
    /// What the clinic calls it.
    pub name: String,
}

/// What somebody was to the clinic, and is from then on. A membership that ends, or is taken up again,
/// leaves their roles as they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditRoles {
    /// Until then; none of somebody who was added. Words of roles as they were called at the time.
    pub before: Vec<String>,
    /// From then on.
    pub after: Vec<String>,
}

/// One entry of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditEntry {
    /// Which entry; a proof is made of it.
    #[schema(value_type = uuid::Uuid)]
    pub id: AuditId,
    /// When.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// `person`, `client` for a machine of the clinic, or the part of the system that acted.
    pub actor_kind: String,
    /// Who acted.
    #[schema(required)]
    pub actor: Option<AuditPerson>,
    /// Which machine of the clinic acted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<AuditClient>,
    /// In which session.
    #[schema(required, value_type = Option<uuid::Uuid>)]
    pub session_id: Option<SessionId>,
    /// What was done. The list of words grows.
    pub action: String,
    /// To what kind of thing.
    pub object_kind: String,
    /// To which one; a listing that found nothing names none.
    #[schema(required)]
    pub object_id: Option<Uuid>,
    /// Whose record it was.
    #[schema(required)]
    pub patient: Option<AuditPerson>,
    /// Why: `treatment`, `patient_request`, `operations`, `security`, `emergency`, `payment`.
    pub purpose: String,
    /// How it went.
    pub outcome: Outcome,
    /// What was asked for, where it was denied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub denied_action: Option<String>,
    /// What was missing, where it was denied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub denied_reason: Option<String>,
    /// What it made of somebody, where it added them, or changed or ended what they are to the clinic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roles: Option<AuditRoles>,
    /// The broken glass it was done under.
    #[schema(required, value_type = Option<uuid::Uuid>)]
    pub break_glass_id: Option<BreakGlassId>,
    /// In which request.
    #[schema(value_type = uuid::Uuid)]
    pub request_id: RequestId,
    /// Its place in the log; absent until a signed head covers it. From then on a proof can be had of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leaf_index: Option<u64>,
}

/// Which accesses to a record, newest first.
#[derive(Clone, Debug, Default, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct RecordAccessQuery {
    /// Without what the patient did themselves.
    #[serde(default)]
    pub others_only: bool,
    /// `next_cursor` of the page before; absent for the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// Most items to return, 1 to 200; 50 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 200)]
    pub limit: Option<u32>,
}

/// Somebody saw or touched a record, or tried to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RecordAccess {
    /// Which entry of the audit log.
    #[schema(value_type = uuid::Uuid)]
    pub id: AuditId,
    /// When.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// `person`, `client` for a machine of the clinic, or the part of the system that acted.
    pub actor_kind: String,
    /// Who; only staff are named.
    #[schema(required)]
    pub actor: Option<AuditPerson>,
    /// Which machine of the clinic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<AuditClient>,
    /// What they did, or asked for where it was refused. The list of words grows.
    pub action: String,
    /// To what kind of thing.
    pub object_kind: String,
    /// Why: `treatment`, `patient_request`, `operations`, `security`, `emergency`, `payment`.
    pub purpose: String,
    /// How it went.
    pub outcome: Outcome,
    /// The emergency it was done under: the glass was broken for it.
    #[schema(required, value_type = Option<uuid::Uuid>)]
    pub break_glass_id: Option<BreakGlassId>,
}
