//! Licences, NPIs and DEA numbers: stated by a person, judged by an admin.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::header::ETAG;
use medmesh_api_types::credential::{
    Credential, CredentialDecision, CredentialKind, CredentialQuery, CredentialReject, CredentialStatus,
    CredentialSubmit,
};
use medmesh_api_types::page::{List, Page};
use medmesh_api_types::person::PersonRef;
use medmesh_base::CredentialId;
use medmesh_clinic::authz::Action;
use medmesh_clinic::credential::{self as domain, Claim, Verdict};
use medmesh_clinic::{Reason, Version};
use medmesh_store::CredentialFilter;
use utoipa_axum::routes;

use crate::http::access::Routes;
use crate::http::caller::{Signed, StepUp};
use crate::http::creation::{Claimed, Creation};
use crate::http::error::ApiError;
use crate::http::extract::{Body, Id, IdempotencyKey, IfMatch, Query};
use crate::http::mapping;
use crate::http::state::Api;

const TAG: &str = "credentials";

pub(super) fn routes() -> Routes {
    Routes::new()
        .signed(Action::CredentialSubmit, routes!(credential_submit))
        .signed(Action::CredentialMine, routes!(credential_mine))
        .signed(Action::CredentialWithdraw, routes!(credential_withdraw))
        .signed(Action::CredentialList, routes!(credential_list))
        .signed(Action::CredentialVerify, routes!(credential_verify))
        .signed(Action::CredentialReject, routes!(credential_reject))
}

/// States one of the caller's licences or numbers; an admin has to verify it before they may act
/// upon it. 409 while one like it waits.
#[utoipa::path(post, path = "/v1/credentials", tag = TAG, request_body = CredentialSubmit,
    params(("Idempotency-Key" = String, Header, min_length = 8, max_length = 64)),
    responses((status = 201, description = "Stated.", body = Credential)))]
async fn credential_submit(
    State(api): State<Api>,
    signed: Signed,
    key: IdempotencyKey,
    Body { value: given, bytes }: Body<CredentialSubmit>,
) -> Result<Response, ApiError> {
    let claim = Claim::new(
        kind_in(given.kind),
        given.profession.map(mapping::role_in),
        given.state.as_deref(),
        given.number.expose(),
        given.expires_on,
    )?;
    let claimed = Creation::claim(&api, &signed, "credential_submit", key, &[&bytes]).await?;
    let mut creation = match claimed {
        Claimed::New(creation) => creation,
        Claimed::Replay(answer) => return Ok(answer),
    };
    let stated = credential(creation.tx.credential_submit(&claim).await?);
    let etag = etag(&stated);
    creation.created(&[(ETAG, etag)], &stated).await
}

/// What the caller has stated, latest first, and how each stands.
#[utoipa::path(get, path = "/v1/credentials/mine", tag = TAG,
    responses((status = 200, description = "The caller's credentials.", body = List<Credential>)))]
async fn credential_mine(State(api): State<Api>, signed: Signed) -> Result<Json<List<Credential>>, ApiError> {
    let mut tx = api.begin(&signed).await?;
    let found = tx.credential_mine().await?;
    tx.commit().await?;
    Ok(Json(List {
        items: found.into_iter().map(credential).collect(),
    }))
}

/// The clinic's credentials, oldest first. Admins only; `status=pending` is what waits for them.
#[utoipa::path(get, path = "/v1/credentials", tag = TAG, params(CredentialQuery),
    responses((status = 200, description = "One page.", body = Page<Credential>)))]
async fn credential_list(
    State(api): State<Api>,
    signed: Signed,
    Query(query): Query<CredentialQuery>,
) -> Result<Json<Page<Credential>>, ApiError> {
    let page = mapping::page_request(query.cursor.as_deref(), query.limit)?;
    let filter = CredentialFilter {
        person: query.person_id,
        status: query.status.map(status_in),
    };
    let mut tx = api.begin(&signed).await?;
    let found = tx.credential_list(filter, page).await?;
    tx.commit().await?;
    Ok(Json(mapping::page(found, credential)))
}

/// Finds a credential true: its owner may act upon it from then on. Admins only, with a fresh proof,
/// and nobody for themselves. 412 when `If-Match` names an older version.
#[utoipa::path(post, path = "/v1/credentials/{id}/verify", tag = TAG,
    params(("id" = uuid::Uuid, Path), ("If-Match" = String, Header, description = "The ETag last seen.")),
    responses((status = 200, description = "Verified.", body = Credential, headers(
        ("ETag" = String, description = "The version, quoted.")))))]
async fn credential_verify(
    State(api): State<Api>,
    signed: StepUp,
    Id(id): Id<CredentialId>,
    IfMatch(version): IfMatch,
) -> Result<Response, ApiError> {
    decide(&api, &signed, id, version, &Verdict::Verify).await
}

/// Finds that a credential is not true, or no longer is, and says why: its owner may not act upon it
/// from then on. Admins only, with a fresh proof, and nobody for themselves.
/// 412 when `If-Match` names an older version.
#[utoipa::path(post, path = "/v1/credentials/{id}/reject", tag = TAG, request_body = CredentialReject,
    params(("id" = uuid::Uuid, Path), ("If-Match" = String, Header, description = "The ETag last seen.")),
    responses((status = 200, description = "Rejected.", body = Credential, headers(
        ("ETag" = String, description = "The version, quoted.")))))]
async fn credential_reject(
    State(api): State<Api>,
    signed: StepUp,
    Id(id): Id<CredentialId>,
    IfMatch(version): IfMatch,
    Body { value: given, .. }: Body<CredentialReject>,
) -> Result<Response, ApiError> {
    let reason: Reason = given.reason.expose().parse()?;
    decide(&api, &signed, id, version, &Verdict::Reject(reason)).await
}

/// Takes back what the caller stated. 412 when `If-Match` names an older version.
#[utoipa::path(post, path = "/v1/credentials/{id}/withdraw", tag = TAG,
    params(("id" = uuid::Uuid, Path), ("If-Match" = String, Header, description = "The ETag last seen.")),
    responses((status = 200, description = "Taken back.", body = Credential, headers(
        ("ETag" = String, description = "The version, quoted.")))))]
async fn credential_withdraw(
    State(api): State<Api>,
    signed: Signed,
    Id(id): Id<CredentialId>,
    IfMatch(version): IfMatch,
) -> Result<Response, ApiError> {
    decide(&api, &signed, id, version, &Verdict::Withdraw).await
}

async fn decide(
    api: &Api,
    signed: &Signed,
    id: CredentialId,
    version: i64,
    verdict: &Verdict,
) -> Result<Response, ApiError> {
    let mut tx = api.begin(signed).await?;
    let decided = tx.credential_decide(id, Version(version), verdict).await?;
    tx.commit().await?;
    let decided = credential(decided);
    Ok(([(ETAG, etag(&decided))], Json(decided)).into_response())
}

fn etag(credential: &Credential) -> String {
    format!("\"{}\"", credential.version)
}

const fn kind(kind: domain::CredentialKind) -> CredentialKind {
    match kind {
        domain::CredentialKind::License => CredentialKind::License,
        domain::CredentialKind::Npi => CredentialKind::Npi,
        domain::CredentialKind::Dea => CredentialKind::Dea,
    }
}

const fn kind_in(kind: CredentialKind) -> domain::CredentialKind {
    match kind {
        CredentialKind::License => domain::CredentialKind::License,
        CredentialKind::Npi => domain::CredentialKind::Npi,
        CredentialKind::Dea => domain::CredentialKind::Dea,
    }
}

const fn status(status: domain::CredentialStatus) -> CredentialStatus {
    match status {
        domain::CredentialStatus::Pending => CredentialStatus::Pending,
        domain::CredentialStatus::Verified => CredentialStatus::Verified,
        domain::CredentialStatus::Rejected => CredentialStatus::Rejected,
        domain::CredentialStatus::Withdrawn => CredentialStatus::Withdrawn,
        domain::CredentialStatus::Expired => CredentialStatus::Expired,
    }
}

const fn status_in(status: CredentialStatus) -> domain::CredentialStatus {
    match status {
        CredentialStatus::Pending => domain::CredentialStatus::Pending,
        CredentialStatus::Verified => domain::CredentialStatus::Verified,
        CredentialStatus::Rejected => domain::CredentialStatus::Rejected,
        CredentialStatus::Withdrawn => domain::CredentialStatus::Withdrawn,
        CredentialStatus::Expired => domain::CredentialStatus::Expired,
    }
}

fn credential(credential: domain::Credential) -> Credential {
    let claim = &credential.claim;
    Credential {
        id: credential.id,
        kind: kind(claim.kind()),
        profession: claim.profession().map(mapping::role),
        state: claim.state().map(str::to_owned),
        number: claim.number().clone(),
        expires_on: claim.expires_on(),
        person: PersonRef {
            id: credential.person.id,
            display_name: credential.person.display_name,
        },
        status: status(credential.status),
        submitted_at: credential.submitted_at,
        decisions: credential.decisions.into_iter().map(decision).collect(),
        version: credential.version.0,
    }
}

fn decision(decision: domain::CredentialDecision) -> CredentialDecision {
    CredentialDecision {
        status: status(decision.status),
        decided_at: decision.decided_at,
        decided_by: decision.decided_by,
        reason: decision.reason,
    }
}
