//! What patients want corrected, and what comes of it.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::header::ETAG;
use medmesh_api_types::correction::{
    Correction, CorrectionCreate, CorrectionDecline, CorrectionDisagree, CorrectionQuery, CorrectionState,
    Disagreement,
};
use medmesh_api_types::page::{Page, PageQuery};
use medmesh_base::{CorrectionId, PersonId, Phi};
use medmesh_clinic::authz::Action;
use medmesh_clinic::{self as clinic, CorrectionPhase, CorrectionText, Invalid, NewCorrection, Version};
use utoipa_axum::routes;

use crate::http::access::Routes;
use crate::http::caller::Signed;
use crate::http::creation::{Claimed, Creation};
use crate::http::error::ApiError;
use crate::http::extract::{Body, Id, IdempotencyKey, IfMatch, Query};
use crate::http::mapping;
use crate::http::state::Api;

const TAG: &str = "privacy";

pub(super) fn routes() -> Routes {
    Routes::new()
        .signed(Action::CorrectionCreate, routes!(correction_create))
        .signed(Action::CorrectionList, routes!(correction_list))
        .signed(Action::CorrectionQueue, routes!(correction_queue))
        .signed(Action::CorrectionAccept, routes!(correction_accept))
        .signed(Action::CorrectionDecline, routes!(correction_decline))
        .signed(Action::CorrectionDisagree, routes!(correction_disagree))
}

/// Asks for something in one's record to be corrected. The patient's own.
///
/// It is answered within 60 days (`due_at`): accepted, and then changed by whoever may change it, or
/// declined with a reason. 409 while twenty of them are unanswered.
#[utoipa::path(post, path = "/v1/patients/{id}/corrections", tag = TAG, request_body = CorrectionCreate,
    params(("id" = uuid::Uuid, Path), ("Idempotency-Key" = String, Header, min_length = 8, max_length = 64)),
    responses((status = 201, description = "Asked.", body = Correction, headers(
        ("ETag" = String, description = "The version, quoted."))),
        (status = 409, description = "Too many are unanswered.")))]
async fn correction_create(
    State(api): State<Api>,
    signed: Signed,
    Id(patient): Id<PersonId>,
    key: IdempotencyKey,
    Body { value: new, bytes }: Body<CorrectionCreate>,
) -> Result<Response, ApiError> {
    let new = NewCorrection {
        what: text(&new.what)?,
        why: text(&new.why)?,
    };
    let request: [&[u8]; 2] = [&patient.to_vec(), &bytes];
    let claimed = Creation::claim(&api, &signed, "correction_create", key, &request).await?;
    let mut creation = match claimed {
        Claimed::New(creation) => creation,
        Claimed::Replay(answer) => return Ok(answer),
    };
    let asked = creation.tx.correction_create(patient, &new).await?;
    let etag = mapping::etag_of(asked.version.0);
    creation.created(&[(ETAG, etag)], &correction(asked)).await
}

/// What a patient wants corrected, the latest first. For the patient, those who treat them and the privacy
/// officer.
#[utoipa::path(get, path = "/v1/patients/{id}/corrections", tag = TAG,
    params(("id" = uuid::Uuid, Path), PageQuery),
    responses((status = 200, description = "One page.", body = Page<Correction>)))]
async fn correction_list(
    State(api): State<Api>,
    signed: Signed,
    Id(patient): Id<PersonId>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<Correction>>, ApiError> {
    let page = mapping::page_request(query.cursor.as_deref(), query.limit)?;
    let mut tx = api.begin(&signed).await?;
    let corrections = tx.correction_list(patient, page).await?;
    tx.commit().await?;
    Ok(Json(mapping::page(corrections, correction)))
}

/// What patients in reach want corrected, what is due first coming first: of all patients for the privacy
/// officer, of those they treat for clinicians.
///
/// A page may hold fewer than `limit` though there is a next one.
#[utoipa::path(get, path = "/v1/corrections", tag = TAG, params(CorrectionQuery),
    responses((status = 200, description = "One page.", body = Page<Correction>)))]
async fn correction_queue(
    State(api): State<Api>,
    signed: Signed,
    Query(query): Query<CorrectionQuery>,
) -> Result<Json<Page<Correction>>, ApiError> {
    let page = mapping::page_request(query.cursor.as_deref(), query.limit)?;
    let state = query.state.map(state_in);
    let mut tx = api.begin(&signed).await?;
    let corrections = tx.correction_queue(state, page).await?;
    tx.commit().await?;
    Ok(Json(mapping::page(corrections, correction)))
}

/// Agrees that something is to be corrected, which is then done by the route of the thing itself. Those
/// who treat the patient, and the privacy officer; nobody for themselves (422).
#[utoipa::path(post, path = "/v1/corrections/{id}/accept", tag = TAG,
    params(("id" = uuid::Uuid, Path), ("If-Match" = String, Header, description = "The ETag last seen.")),
    responses((status = 200, description = "Accepted.", body = Correction, headers(
        ("ETag" = String, description = "The version, quoted."))),
        (status = 409, description = "It was answered already."),
        (status = 422, description = "Nobody answers themselves.")))]
async fn correction_accept(
    State(api): State<Api>,
    signed: Signed,
    Id(id): Id<CorrectionId>,
    IfMatch(version): IfMatch,
) -> Result<Response, ApiError> {
    let mut tx = api.begin(&signed).await?;
    let accepted = tx.correction_accept(id, Version(version)).await?;
    tx.commit().await?;
    Ok(answer(accepted))
}

/// Declines to correct it, with a reason the patient reads. As for accepting.
#[utoipa::path(post, path = "/v1/corrections/{id}/decline", tag = TAG, request_body = CorrectionDecline,
    params(("id" = uuid::Uuid, Path), ("If-Match" = String, Header, description = "The ETag last seen.")),
    responses((status = 200, description = "Declined.", body = Correction, headers(
        ("ETag" = String, description = "The version, quoted."))),
        (status = 409, description = "It was answered already.")))]
async fn correction_decline(
    State(api): State<Api>,
    signed: Signed,
    Id(id): Id<CorrectionId>,
    IfMatch(version): IfMatch,
    Body { value: said, .. }: Body<CorrectionDecline>,
) -> Result<Response, ApiError> {
    let reason = text(&said.reason)?;
    let mut tx = api.begin(&signed).await?;
    let declined = tx.correction_decline(id, Version(version), reason).await?;
    tx.commit().await?;
    Ok(answer(declined))
}

/// Puts on record that one disagrees with having been declined: once, and it stays. The patient's own.
#[utoipa::path(post, path = "/v1/corrections/{id}/disagree", tag = TAG, request_body = CorrectionDisagree,
    params(("id" = uuid::Uuid, Path), ("If-Match" = String, Header, description = "The ETag last seen.")),
    responses((status = 200, description = "On record.", body = Correction, headers(
        ("ETag" = String, description = "The version, quoted."))),
        (status = 409, description = "It was not declined, or there is a statement.")))]
async fn correction_disagree(
    State(api): State<Api>,
    signed: Signed,
    Id(id): Id<CorrectionId>,
    IfMatch(version): IfMatch,
    Body { value: said, .. }: Body<CorrectionDisagree>,
) -> Result<Response, ApiError> {
    let statement = text(&said.statement)?;
    let mut tx = api.begin(&signed).await?;
    let said = tx.correction_disagree(id, Version(version), statement).await?;
    tx.commit().await?;
    Ok(answer(said))
}

fn text(text: &Phi<String>) -> Result<CorrectionText, Invalid> {
    text.expose().parse()
}

const fn state_in(state: CorrectionState) -> clinic::CorrectionState {
    match state {
        CorrectionState::Open => clinic::CorrectionState::Open,
        CorrectionState::Accepted => clinic::CorrectionState::Accepted,
        CorrectionState::Declined => clinic::CorrectionState::Declined,
    }
}

fn answer(after: clinic::Correction) -> Response {
    let etag = mapping::etag_of(after.version.0);
    ([(ETAG, etag)], Json(correction(after))).into_response()
}

pub(in crate::http) fn correction(correction: clinic::Correction) -> Correction {
    let (state, decided, reason, disagreement) = match correction.phase {
        CorrectionPhase::Open => (CorrectionState::Open, None, None, None),
        CorrectionPhase::Accepted(decided) => (CorrectionState::Accepted, Some(decided), None, None),
        CorrectionPhase::Declined {
            decided,
            reason,
            disagreement,
        } => (
            CorrectionState::Declined,
            Some(decided),
            Some(reason),
            disagreement.map(|said| Disagreement {
                statement: said.statement,
                at: said.at,
            }),
        ),
    };
    Correction {
        id: correction.id,
        patient: mapping::person_ref(correction.patient),
        what: correction.what,
        why: correction.why,
        requested_at: correction.requested_at,
        due_at: correction.due_at,
        state,
        decided_at: decided.as_ref().map(|decided| decided.at),
        decided_by: decided.map(|decided| mapping::person_ref(decided.by)),
        reason,
        disagreement,
        version: correction.version.0,
    }
}
