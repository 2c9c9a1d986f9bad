//! The audit log as evidence, for a clinic's own auditors: proofs and heads that are checked without us.

use axum::Json;
use axum::extract::State;
use medmesh_api_types::audit::{AuditConsistency, AuditConsistencyQuery, AuditHead, AuditProof};
use medmesh_base::{AuditId, ProblemCode};
use medmesh_clinic::authz::Action;
use medmesh_tlog::proof::ProofError;
use utoipa_axum::routes;

use crate::audit::{Evidence, ProveError, extends, head, provable, prove};
use crate::http::access::Routes;
use crate::http::caller::Asking;
use crate::http::error::ApiError;
use crate::http::extract::{Id, Query};
use crate::http::state::Api;

const TAG: &str = "audit";

/// When to ask again for what no head covers yet, seconds: heads come each second where nothing else is
/// configured.
const HEAD_SECONDS: u64 = 1;

pub(super) fn routes() -> Routes {
    Routes::new()
        .signed(Action::AuditProve, routes!(audit_prove))
        .signed(Action::AuditHeadGet, routes!(audit_head_get))
        .signed(Action::AuditConsistencyGet, routes!(audit_consistency_get))
}

fn evidence(api: &Api) -> Result<Evidence<'_>, ApiError> {
    api.logs.evidence().ok_or(ProblemCode::Unavailable.into())
}

/// Proof that one entry is in the clinic's audit log, for somebody who does not ask us. Auditors and admins
/// only.
///
/// Giving it is an entry itself, which the patient sees whose record the proved one is about.
#[utoipa::path(get, path = "/v1/audit/{id}/proof", tag = TAG, params(("id" = uuid::Uuid, Path)),
    responses((status = 200, description = "The proof.", body = AuditProof),
        (status = 409, description = "`audit_head_pending`: no signed head covers it yet. `audit_leaf_altered`.")))]
async fn audit_prove(
    State(api): State<Api>,
    signed: Asking,
    Id(id): Id<AuditId>,
) -> Result<Json<AuditProof>, ApiError> {
    let evidence = evidence(&api)?;
    let mut tx = api.begin(&signed).await?;
    let found = tx.audit_prove(id).await?;
    let asked = provable(&mut tx, found).await?;
    tx.commit().await?;
    Ok(Json(prove(&evidence, asked).await?))
}

/// The newest signed head of the clinic's audit log, and what the outside witness signed of it. Auditors and
/// admins only.
///
/// Whoever keeps heads can have it proved later that nothing under them was changed.
#[utoipa::path(get, path = "/v1/audit/head", tag = TAG,
    responses((status = 200, description = "The head.", body = AuditHead),
        (status = 409, description = "`audit_head_pending`: there is none yet.")))]
async fn audit_head_get(State(api): State<Api>, signed: Asking) -> Result<Json<AuditHead>, ApiError> {
    let evidence = evidence(&api)?;
    let mut tx = api.begin(&signed).await?;
    let cosigned = tx.audit_head_get().await?;
    let clinic = tx.clinic_id();
    tx.commit().await?;
    Ok(Json(head(&evidence, clinic, cosigned)?))
}

/// Proof that a later head of the clinic's audit log extends an earlier one. Auditors and admins only.
#[utoipa::path(get, path = "/v1/audit/consistency", tag = TAG, params(AuditConsistencyQuery),
    responses((status = 200, description = "The proof.", body = AuditConsistency),
        (status = 409, description = "`audit_head_pending`: the log has not got that far.")))]
async fn audit_consistency_get(
    State(api): State<Api>,
    signed: Asking,
    Query(query): Query<AuditConsistencyQuery>,
) -> Result<Json<AuditConsistency>, ApiError> {
    let evidence = evidence(&api)?;
    let mut tx = api.begin(&signed).await?;
    tx.audit_consistency_get().await?;
    let clinic = tx.clinic_id();
    tx.commit().await?;
    Ok(Json(extends(&evidence, clinic, query.from, query.to).await?))
}

impl From<ProveError> for ApiError {
    fn from(error: ProveError) -> Self {
        match error {
            ProveError::Store(error) => error.into(),
            ProveError::NotYet => Self::new(ProblemCode::AuditHeadPending).retry_after(HEAD_SECONDS),
            ProveError::Altered => {
                // Whoever asked is told; so is whoever keeps the system, who has to verify it all.
                tracing::error!(%error, "a proof was asked of the audit log");
                Self::new(ProblemCode::AuditLeafAltered)
            }
            ProveError::Shelf(_) => Self::new(ProblemCode::Unavailable).because(error),
            ProveError::Proof(ProofError::OutOfRange) => {
                Self::field("from", "is from 1 to the size of the later head")
            }
            ProveError::Head(_) | ProveError::Proof(_) => Self::new(ProblemCode::Internal).because(error),
        }
    }
}
