//! Work that outlives its request, as an operator sees it.

use medmesh_base::{ClinicId, JobId};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};

/// Which jobs.
#[derive(Clone, Debug, Default, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct JobQuery {
    /// `true`: those given up; `false`: the others; all when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dead: Option<bool>,
    /// Only those made after this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<uuid::Uuid>,
}

/// A job, without its content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Job {
    /// Which.
    #[schema(value_type = uuid::Uuid)]
    pub id: JobId,
    /// Whose; `null` for the installation's.
    #[schema(required, value_type = Option<uuid::Uuid>)]
    pub clinic_id: Option<ClinicId>,
    /// What kind.
    pub kind: String,
    /// Since when.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// When it is tried next.
    #[serde(with = "time::serde::rfc3339")]
    pub due_at: OffsetDateTime,
    /// Tries so far.
    pub attempts: u32,
    /// Tries before it is given up.
    pub attempts_max: u32,
    /// Since when it is given up.
    #[schema(required)]
    #[serde(with = "time::serde::rfc3339::option")]
    pub dead_at: Option<OffsetDateTime>,
    /// What its handler said last.
    #[schema(required)]
    pub last_error: Option<String>,
    /// Of long work: how much is done.
    #[schema(required)]
    pub moved: Option<u64>,
    /// And how much is left, where that is known.
    #[schema(required)]
    pub remaining: Option<u64>,
}
