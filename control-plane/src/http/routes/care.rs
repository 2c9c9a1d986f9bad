//! Care teams and referrals.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::header::ETAG;
use medmesh_api_types::care::{
    CareRole, CareTeamAdd, CareTeamMember, CareTeamQuery, Referral, ReferralCreate,
};
use medmesh_api_types::page::{Page, PageQuery};
use medmesh_base::{CareTeamMemberId, PersonId, Phi, ReferralId};
use medmesh_clinic::authz::Action;
use medmesh_clinic::{self as clinic, Role, Version};
use utoipa_axum::routes;

use crate::http::access::Routes;
use crate::http::caller::{Asking, Signed};
use crate::http::creation::{Claimed, Creation};
use crate::http::error::ApiError;
use crate::http::extract::{Body, Id, IdempotencyKey, IfMatch, Query};
use crate::http::mapping::{self, etag_of};
use crate::http::state::Api;

const TAG: &str = "care";

pub(super) fn routes() -> Routes {
    Routes::new()
        .signed(Action::CareTeamList, routes!(care_team_list))
        .signed(Action::CareTeamAdd, routes!(care_team_add))
        .signed(Action::CareTeamEnd, routes!(care_team_end))
        .signed(Action::ReferralList, routes!(referral_list))
        .signed(Action::ReferralCreate, routes!(referral_create))
        .signed(Action::ReferralEnd, routes!(referral_end))
}

/// Who cares for a patient, the latest first. For the patient, those who treat them, and admins.
#[utoipa::path(get, path = "/v1/patients/{id}/care-team", tag = TAG,
    params(("id" = uuid::Uuid, Path), CareTeamQuery),
    responses((status = 200, description = "One page.", body = Page<CareTeamMember>)))]
async fn care_team_list(
    State(api): State<Api>,
    signed: Asking,
    Id(patient): Id<PersonId>,
    Query(query): Query<CareTeamQuery>,
) -> Result<Json<Page<CareTeamMember>>, ApiError> {
    let page = mapping::page_request(query.cursor.as_deref(), query.limit)?;
    let mut tx = api.begin(&signed).await?;
    let members = tx
        .care_team_list(patient, query.past.unwrap_or_default(), page)
        .await?;
    tx.commit().await?;
    Ok(Json(mapping::page(members, member)))
}

/// Puts somebody on a patient's care team: they may read the record from now on. Those who treat the
/// patient, and admins. 409 when the person is on the team already.
#[utoipa::path(post, path = "/v1/patients/{id}/care-team", tag = TAG, request_body = CareTeamAdd,
    params(("id" = uuid::Uuid, Path), ("Idempotency-Key" = String, Header, min_length = 8, max_length = 64)),
    responses((status = 201, description = "On the team.", body = CareTeamMember, headers(
        ("ETag" = String, description = "The version, quoted.")))))]
async fn care_team_add(
    State(api): State<Api>,
    signed: Signed,
    Id(patient): Id<PersonId>,
    key: IdempotencyKey,
    Body { value: new, bytes }: Body<CareTeamAdd>,
) -> Result<Response, ApiError> {
    let request: [&[u8]; 2] = [&patient.to_vec(), &bytes];
    let claimed = Creation::claim(&api, &signed, "care_team_add", key, &request).await?;
    let mut creation = match claimed {
        Claimed::New(creation) => creation,
        Claimed::Replay(answer) => return Ok(answer),
    };
    let role = match new.role {
        CareRole::Clinician => Role::Clinician,
        CareRole::Nurse => Role::Nurse,
        CareRole::CareCoordinator => Role::CareCoordinator,
    };
    let added = creation
        .tx
        .care_team_add(patient, new.person_id, role, new.until_at)
        .await?;
    let added = member(added);
    creation.created(&[(ETAG, etag_of(added.version))], &added).await
}

/// Takes somebody off a care team, now. 412 when `If-Match` names an older version.
#[utoipa::path(post, path = "/v1/care-team/{id}/end", tag = TAG,
    params(("id" = uuid::Uuid, Path), ("If-Match" = String, Header, description = "The ETag last seen.")),
    responses((status = 200, description = "Off the team.", body = CareTeamMember, headers(
        ("ETag" = String, description = "The version, quoted.")))))]
async fn care_team_end(
    State(api): State<Api>,
    signed: Signed,
    Id(id): Id<CareTeamMemberId>,
    IfMatch(version): IfMatch,
) -> Result<Response, ApiError> {
    let mut tx = api.begin(&signed).await?;
    let ended = member(tx.care_team_end(id, Version(version)).await?);
    tx.commit().await?;
    Ok(([(ETAG, etag_of(ended.version))], Json(ended)).into_response())
}

/// Where a patient was referred, the latest first. For the patient and those who treat them.
#[utoipa::path(get, path = "/v1/patients/{id}/referrals", tag = TAG,
    params(("id" = uuid::Uuid, Path), PageQuery),
    responses((status = 200, description = "One page.", body = Page<Referral>)))]
async fn referral_list(
    State(api): State<Api>,
    signed: Signed,
    Id(patient): Id<PersonId>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<Referral>>, ApiError> {
    let page = mapping::page_request(query.cursor.as_deref(), query.limit)?;
    let mut tx = api.begin(&signed).await?;
    let referrals = tx.referral_list(patient, page).await?;
    tx.commit().await?;
    Ok(Json(mapping::page(referrals, referral)))
}

/// Refers a patient to another clinician, who may read the record until it ends. Clinicians who treat
/// the patient.
#[utoipa::path(post, path = "/v1/patients/{id}/referrals", tag = TAG, request_body = ReferralCreate,
    params(("id" = uuid::Uuid, Path), ("Idempotency-Key" = String, Header, min_length = 8, max_length = 64)),
    responses((status = 201, description = "Referred.", body = Referral, headers(
        ("ETag" = String, description = "The version, quoted.")))))]
async fn referral_create(
    State(api): State<Api>,
    signed: Signed,
    Id(patient): Id<PersonId>,
    key: IdempotencyKey,
    Body { value: new, bytes }: Body<ReferralCreate>,
) -> Result<Response, ApiError> {
    let reason = mapping::reason(new.reason.map(Phi::into_exposed))?;
    let request: [&[u8]; 2] = [&patient.to_vec(), &bytes];
    let claimed = Creation::claim(&api, &signed, "referral_create", key, &request).await?;
    let mut creation = match claimed {
        Claimed::New(creation) => creation,
        Claimed::Replay(answer) => return Ok(answer),
    };
    let made = creation
        .tx
        .referral_create(patient, new.to_id, reason.as_ref(), new.until_at)
        .await?;
    let made = referral(made);
    creation.created(&[(ETAG, etag_of(made.version))], &made).await
}

/// Takes a referral back, now. 412 when `If-Match` names an older version.
#[utoipa::path(post, path = "/v1/referrals/{id}/end", tag = TAG,
    params(("id" = uuid::Uuid, Path), ("If-Match" = String, Header, description = "The ETag last seen.")),
    responses((status = 200, description = "Taken back.", body = Referral, headers(
        ("ETag" = String, description = "The version, quoted.")))))]
async fn referral_end(
    State(api): State<Api>,
    signed: Signed,
    Id(id): Id<ReferralId>,
    IfMatch(version): IfMatch,
) -> Result<Response, ApiError> {
    let mut tx = api.begin(&signed).await?;
    let ended = referral(tx.referral_end(id, Version(version)).await?);
    tx.commit().await?;
    Ok(([(ETAG, etag_of(ended.version))], Json(ended)).into_response())
}

pub(in crate::http) fn member(member: clinic::CareTeamMember) -> CareTeamMember {
    CareTeamMember {
        id: member.id,
        patient_id: member.patient_id,
        person: mapping::person_ref(member.person),
        role: match member.role {
            Role::Nurse => CareRole::Nurse,
            Role::CareCoordinator => CareRole::CareCoordinator,
            // The table admits no fourth.
            _ => CareRole::Clinician,
        },
        from_at: member.from_at,
        until_at: member.until_at,
        version: member.version.0,
    }
}

pub(in crate::http) fn referral(referral: clinic::Referral) -> Referral {
    Referral {
        id: referral.id,
        patient_id: referral.patient_id,
        from: mapping::person_ref(referral.from),
        to: mapping::person_ref(referral.to),
        reason: referral.reason,
        created_at: referral.created_at,
        until_at: referral.until_at,
        version: referral.version.0,
    }
}
