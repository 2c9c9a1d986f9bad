//! Records opened because it was urgent, and who looks after privacy.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::header::ETAG;
use medmesh_api_types::break_glass::{
    BreakGlass, BreakGlassOpen, BreakGlassQuery, BreakGlassReview, Finding, PrivacyOfficer, PrivacyOfficerSet,
};
use medmesh_api_types::page::{Page, PageQuery};
use medmesh_base::{BreakGlassId, PersonId};
use medmesh_clinic::authz::Action;
use medmesh_clinic::{self as clinic, Version};
use medmesh_store::{self as store, NewBreakGlass};
use time::Duration;
use utoipa_axum::routes;

use crate::http::access::Routes;
use crate::http::caller::Signed;
use crate::http::creation::{Claimed, Creation};
use crate::http::error::ApiError;
use crate::http::extract::{Body, Id, IdempotencyKey, IfMatch, Query};
use crate::http::mapping::{self, etag_of};
use crate::http::state::Api;

const TAG: &str = "privacy";

pub(super) fn routes() -> Routes {
    Routes::new()
        .signed(Action::BreakGlassOpen, routes!(break_glass_open))
        .signed(Action::BreakGlassList, routes!(break_glass_list))
        .signed(Action::BreakGlassAlerts, routes!(break_glass_alerts))
        .signed(Action::BreakGlassReview, routes!(break_glass_review))
        .signed(Action::PrivacyOfficerGet, routes!(privacy_officer_get))
        .signed(Action::PrivacyOfficerSet, routes!(privacy_officer_set))
}

/// Opens a patient's record to the caller for a while, in an emergency. Those who give care, with a
/// fresh proof. The privacy officer is told at once, and the patient sees it.
#[utoipa::path(post, path = "/v1/patients/{id}/break-glass", tag = TAG, request_body = BreakGlassOpen,
    params(("id" = uuid::Uuid, Path), ("Idempotency-Key" = String, Header, min_length = 8, max_length = 64)),
    responses((status = 201, description = "Open.", body = BreakGlass, headers(
        ("ETag" = String, description = "The version, quoted.")))))]
async fn break_glass_open(
    State(api): State<Api>,
    signed: Signed,
    Id(patient): Id<PersonId>,
    key: IdempotencyKey,
    Body { value: given, bytes }: Body<BreakGlassOpen>,
) -> Result<Response, ApiError> {
    let new = NewBreakGlass {
        patient,
        reason: given.reason.expose().parse()?,
        lasts: given.minutes.map(|minutes| Duration::minutes(i64::from(minutes))),
    };
    let request: [&[u8]; 2] = [&patient.to_vec(), &bytes];
    let claimed = Creation::claim(&api, &signed, "break_glass_open", key, &request).await?;
    let mut creation = match claimed {
        Claimed::New(creation) => creation,
        Claimed::Replay(answer) => return Ok(answer),
    };
    let glass = break_glass(creation.tx.break_glass_open(&new).await?);
    creation.created(&[(ETAG, etag_of(glass.version))], &glass).await
}

/// Who opened one's record in an emergency, the latest first. The patient's own.
#[utoipa::path(get, path = "/v1/patients/{id}/break-glass", tag = TAG,
    params(("id" = uuid::Uuid, Path), PageQuery),
    responses((status = 200, description = "One page.", body = Page<BreakGlass>)))]
async fn break_glass_list(
    State(api): State<Api>,
    signed: Signed,
    Id(patient): Id<PersonId>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<BreakGlass>>, ApiError> {
    let page = mapping::page_request(query.cursor.as_deref(), query.limit)?;
    let mut tx = api.begin(&signed).await?;
    let found = tx.break_glass_list(patient, page).await?;
    tx.commit().await?;
    Ok(Json(mapping::page(found, break_glass)))
}

/// Every record of the clinic that was opened in an emergency, the latest first. The privacy officer's.
#[utoipa::path(get, path = "/v1/break-glass", tag = TAG, params(BreakGlassQuery),
    responses((status = 200, description = "One page.", body = Page<BreakGlass>)))]
async fn break_glass_alerts(
    State(api): State<Api>,
    signed: Signed,
    Query(query): Query<BreakGlassQuery>,
) -> Result<Json<Page<BreakGlass>>, ApiError> {
    let page = mapping::page_request(query.cursor.as_deref(), query.limit)?;
    let mut tx = api.begin(&signed).await?;
    let found = tx
        .break_glass_alerts(query.unsettled.unwrap_or_default(), page)
        .await?;
    tx.commit().await?;
    Ok(Json(mapping::page(found, break_glass)))
}

/// Settles one of them: was it an emergency? The privacy officer's, and never of what they did themselves.
/// 412 when `If-Match` names an older version.
#[utoipa::path(post, path = "/v1/break-glass/{id}/review", tag = TAG, request_body = BreakGlassReview,
    params(("id" = uuid::Uuid, Path), ("If-Match" = String, Header, description = "The ETag last seen.")),
    responses((status = 200, description = "Settled.", body = BreakGlass, headers(
        ("ETag" = String, description = "The version, quoted.")))))]
async fn break_glass_review(
    State(api): State<Api>,
    signed: Signed,
    Id(id): Id<BreakGlassId>,
    IfMatch(version): IfMatch,
    Body { value: review, .. }: Body<BreakGlassReview>,
) -> Result<Response, ApiError> {
    let finding = match review.finding {
        Finding::Justified => clinic::Finding::Justified,
        Finding::Unjustified => clinic::Finding::Unjustified,
    };
    let mut tx = api.begin(&signed).await?;
    let settled = tx.break_glass_review(id, Version(version), finding).await?;
    tx.commit().await?;
    let settled = break_glass(settled);
    Ok(([(ETAG, etag_of(settled.version))], Json(settled)).into_response())
}

/// Who looks after privacy. Everybody may know whom to turn to.
#[utoipa::path(get, path = "/v1/privacy-officer", tag = TAG,
    responses((status = 200, description = "Who it is, if anybody.", body = PrivacyOfficer, headers(
        ("ETag" = String, description = "The version, quoted.")))))]
async fn privacy_officer_get(State(api): State<Api>, signed: Signed) -> Result<Response, ApiError> {
    let mut tx = api.begin(&signed).await?;
    let officer = tx.privacy_officer_get().await?;
    tx.commit().await?;
    Ok(officer_answer(officer))
}

/// Names who does, in place of whoever did. Admins only, with a fresh proof.
/// 412 when `If-Match` names an older version; it is `"0"` while nobody is named.
#[utoipa::path(put, path = "/v1/privacy-officer", tag = TAG, request_body = PrivacyOfficerSet,
    params(("If-Match" = String, Header, description = "The ETag last seen.")),
    responses((status = 200, description = "Named.", body = PrivacyOfficer, headers(
        ("ETag" = String, description = "The version, quoted.")))))]
async fn privacy_officer_set(
    State(api): State<Api>,
    signed: Signed,
    IfMatch(version): IfMatch,
    Body { value: named, .. }: Body<PrivacyOfficerSet>,
) -> Result<Response, ApiError> {
    let mut tx = api.begin(&signed).await?;
    let officer = tx.privacy_officer_set(named.person_id, Version(version)).await?;
    tx.commit().await?;
    Ok(officer_answer(officer))
}

fn officer_answer(officer: store::PrivacyOfficer) -> Response {
    let officer = PrivacyOfficer {
        person: officer.person.map(mapping::person_ref),
        named_at: officer.named_at,
        version: officer.version.0,
    };
    ([(ETAG, etag_of(officer.version))], Json(officer)).into_response()
}

pub(in crate::http) fn break_glass(glass: clinic::BreakGlass) -> BreakGlass {
    let (finding, reviewed_by, reviewed_at) = match glass.review {
        Some(review) => {
            let finding = match review.finding {
                clinic::Finding::Justified => Finding::Justified,
                clinic::Finding::Unjustified => Finding::Unjustified,
            };
            (
                Some(finding),
                Some(mapping::person_ref(review.by)),
                Some(review.at),
            )
        }
        None => (None, None, None),
    };
    BreakGlass {
        id: glass.id,
        patient: mapping::person_ref(glass.patient),
        person: mapping::person_ref(glass.person),
        reason: glass.reason,
        opened_at: glass.opened_at,
        until_at: glass.until_at,
        finding,
        reviewed_by,
        reviewed_at,
        version: glass.version.0,
    }
}
