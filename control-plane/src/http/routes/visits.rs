//! The visit's life: check in, open, admit, end.

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use medmesh_api_types::page::List;
use medmesh_api_types::visit::{ParticipantAdd, Visit, VisitAdmit, VisitPulse, VisitQuery};
use medmesh_base::VisitId;
use medmesh_clinic::authz::Action;
use time::Date;
use time::macros::format_description;
use utoipa_axum::routes;

use crate::http::access::Routes;
use crate::http::caller::Signed;
use crate::http::creation::{Claimed, Creation};
use crate::http::error::ApiError;
use crate::http::extract::{Body, Id, IdempotencyKey, Query};
use crate::http::mapping;
use crate::http::state::Api;

const TAG: &str = "visits";

type Answer = Result<Json<Visit>, ApiError>;

pub(super) fn routes() -> Routes {
    Routes::new()
        .signed(Action::VisitList, routes!(visit_list))
        .signed(Action::VisitPulses, routes!(visit_pulses))
        .signed(Action::VisitGet, routes!(visit_get))
        .signed(Action::VisitCheckIn, routes!(visit_check_in))
        .signed(Action::VisitOpen, routes!(visit_open))
        .signed(Action::VisitAdmit, routes!(visit_admit))
        .signed(Action::VisitEnd, routes!(visit_end))
        .signed(Action::ParticipantAdd, routes!(participant_add))
}

/// The caller's visits of a day in the clinic's zone, ordered by begin.
#[utoipa::path(get, path = "/v1/visits", tag = TAG, params(VisitQuery),
    responses((status = 200, description = "The day's visits.", body = List<Visit>)))]
async fn visit_list(
    State(api): State<Api>,
    signed: Signed,
    Query(query): Query<VisitQuery>,
) -> Result<Json<List<Visit>>, ApiError> {
    let day = query.day.as_deref().map(day).transpose()?;
    let mut tx = api.begin(&signed).await?;
    let list = tx.visit_list(day).await?;
    tx.commit().await?;
    let viewer = signed.session.person.id;
    let items = list
        .visits
        .into_iter()
        .map(|visit| mapping::visit(visit, viewer))
        .collect();
    Ok(Json(List { items }))
}

/// How far each of the caller's visits of a day is, ordered by begin.
///
/// For pages that look again and again: it says nothing about anyone and leaves no trace in anybody's
/// audit log. Read what has another pulse than before.
#[utoipa::path(get, path = "/v1/visits/pulses", tag = TAG, params(VisitQuery),
    responses((status = 200, description = "The day's pulses.", body = List<VisitPulse>)))]
async fn visit_pulses(
    State(api): State<Api>,
    signed: Signed,
    Query(query): Query<VisitQuery>,
) -> Result<Json<List<VisitPulse>>, ApiError> {
    let day = query.day.as_deref().map(day).transpose()?;
    let mut tx = api.begin(&signed).await?;
    let pulses = tx.visit_pulses(day).await?;
    tx.commit().await?;
    let items = pulses
        .into_iter()
        .map(|(id, pulse)| VisitPulse { id, pulse })
        .collect();
    Ok(Json(List { items }))
}

fn day(text: &str) -> Result<Date, ApiError> {
    Date::parse(text, format_description!("[year]-[month]-[day]"))
        .map_err(|_| ApiError::field("day", "must be YYYY-MM-DD"))
}

/// One visit of the caller.
#[utoipa::path(get, path = "/v1/visits/{id}", tag = TAG, params(("id" = uuid::Uuid, Path)),
    responses((status = 200, description = "The visit.", body = Visit)))]
async fn visit_get(State(api): State<Api>, signed: Signed, Id(id): Id<VisitId>) -> Answer {
    let mut tx = api.begin(&signed).await?;
    let visit = tx.visit_get(id).await?;
    tx.commit().await?;
    Ok(Json(mapping::visit(visit, signed.session.person.id)))
}

/// The caller is here: patients and guests wait to be admitted.
#[utoipa::path(post, path = "/v1/visits/{id}/check-in", tag = TAG, params(("id" = uuid::Uuid, Path)),
    responses((status = 200, description = "The visit.", body = Visit)))]
async fn visit_check_in(State(api): State<Api>, signed: Signed, Id(id): Id<VisitId>) -> Answer {
    let mut tx = api.begin(&signed).await?;
    let visit = tx.visit_check_in(id).await?;
    tx.commit().await?;
    Ok(Json(mapping::visit(visit, signed.session.person.id)))
}

/// The clinician opens the visit.
#[utoipa::path(post, path = "/v1/visits/{id}/open", tag = TAG, params(("id" = uuid::Uuid, Path)),
    responses((status = 200, description = "The visit.", body = Visit)))]
async fn visit_open(State(api): State<Api>, signed: Signed, Id(id): Id<VisitId>) -> Answer {
    let mut tx = api.begin(&signed).await?;
    let visit = tx.visit_open(id).await?;
    tx.commit().await?;
    Ok(Json(mapping::visit(visit, signed.session.person.id)))
}

/// The clinician lets one who waits in.
#[utoipa::path(post, path = "/v1/visits/{id}/admit", tag = TAG, request_body = VisitAdmit,
    params(("id" = uuid::Uuid, Path)), responses((status = 200, description = "The visit.", body = Visit)))]
async fn visit_admit(
    State(api): State<Api>,
    signed: Signed,
    Id(id): Id<VisitId>,
    Body { value: admit, .. }: Body<VisitAdmit>,
) -> Answer {
    let mut tx = api.begin(&signed).await?;
    let visit = tx.visit_admit(id, admit.participant_id).await?;
    tx.commit().await?;
    Ok(Json(mapping::visit(visit, signed.session.person.id)))
}

/// The clinician ends the visit for everyone.
#[utoipa::path(post, path = "/v1/visits/{id}/end", tag = TAG, params(("id" = uuid::Uuid, Path)),
    responses((status = 200, description = "The visit.", body = Visit)))]
async fn visit_end(State(api): State<Api>, signed: Signed, Id(id): Id<VisitId>) -> Answer {
    let mut tx = api.begin(&signed).await?;
    let visit = tx.visit_end(id).await?;
    tx.commit().await?;
    // Its end is decided by the commit; that the edges hear of it must not keep the answer.
    let (media, room) = (api.media.clone(), visit.room_id);
    api.drain.spawn(async move {
        if let Err(error) = media.close(room).await {
            tracing::warn!(%error, "the room of an ended visit could not be closed");
        }
    });
    Ok(Json(mapping::visit(visit, signed.session.person.id)))
}

/// The clinician asks one more person of the clinic in: a nurse, an interpreter, a colleague.
#[utoipa::path(post, path = "/v1/visits/{id}/participants", tag = TAG, request_body = ParticipantAdd,
    params(("id" = uuid::Uuid, Path), ("Idempotency-Key" = String, Header, min_length = 8, max_length = 64)),
    responses((status = 201, description = "The visit.", body = Visit)))]
async fn participant_add(
    State(api): State<Api>,
    signed: Signed,
    Id(id): Id<VisitId>,
    key: IdempotencyKey,
    Body { value: add, bytes }: Body<ParticipantAdd>,
) -> Result<Response, ApiError> {
    let request: [&[u8]; 2] = [&id.to_vec(), &bytes];
    let claimed = Creation::claim(&api, &signed, "participant_add", key, &request).await?;
    let mut creation = match claimed {
        Claimed::New(creation) => creation,
        Claimed::Replay(answer) => return Ok(answer),
    };
    let visit = creation.tx.participant_add(id, add.person_id).await?;
    let visit = mapping::visit(visit, signed.session.person.id);
    creation.created(&[], &visit).await
}
