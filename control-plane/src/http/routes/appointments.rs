//! Booking, moving and calling off.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::header::{ETAG, LOCATION};
use medmesh_api_types::appointment::{
    Appointment, AppointmentCancel, AppointmentCreate, AppointmentQuery, AppointmentUpdate,
};
use medmesh_api_types::page::Page;
use medmesh_base::{AppointmentId, Phi};
use medmesh_clinic::authz::Action;
use medmesh_clinic::{Invalid, Reason, Slot, Version};
use medmesh_store::{AppointmentChange, AppointmentFilter, NewAppointment};
use utoipa_axum::routes;

use crate::http::access::Routes;
use crate::http::caller::Asking;
use crate::http::creation::{Claimed, Creation};
use crate::http::error::ApiError;
use crate::http::extract::{Body, Id, IdempotencyKey, IfMatch, Query};
use crate::http::mapping;
use crate::http::state::Api;

const TAG: &str = "appointments";

pub(super) fn routes() -> Routes {
    Routes::new()
        .signed(Action::AppointmentList, routes!(appointment_list))
        .signed(Action::AppointmentCreate, routes!(appointment_create))
        .signed(Action::AppointmentGet, routes!(appointment_get))
        .signed(Action::AppointmentUpdate, routes!(appointment_update))
        .signed(Action::AppointmentCancel, routes!(appointment_cancel))
}

/// Books a time. 409 `slot_taken` when the clinician or the patient has another appointment then.
#[utoipa::path(post, path = "/v1/appointments", tag = TAG, request_body = AppointmentCreate,
    params(("Idempotency-Key" = String, Header, min_length = 8, max_length = 64)),
    responses((status = 201, description = "Booked.", body = Appointment, headers(
        ("ETag" = String, description = "The version, quoted."),
        ("Location" = String, description = "Where the appointment is.")))))]
async fn appointment_create(
    State(api): State<Api>,
    signed: Asking,
    key: IdempotencyKey,
    Body {
        value: booking,
        bytes,
    }: Body<AppointmentCreate>,
) -> Result<Response, ApiError> {
    let new = NewAppointment {
        patient_id: booking.patient_id,
        clinician_id: booking.clinician_id,
        slot: Slot::new(booking.starts_at, booking.ends_at)?,
        reason: reason(booking.reason)?,
        segment: mapping::segment_in(booking.segment),
    };
    let claimed = Creation::claim(&api, &signed, "appointment_create", key, &[&bytes]).await?;
    let mut creation = match claimed {
        Claimed::New(creation) => creation,
        Claimed::Replay(answer) => return Ok(answer),
    };
    let appointment = mapping::appointment(creation.tx.appointment_create(&new).await?);
    let headers = [
        (ETAG, etag(&appointment)),
        (LOCATION, format!("/v1/appointments/{}", appointment.id)),
    ];
    creation.created(&headers, &appointment).await
}

/// The appointments the caller may see, ordered by begin.
///
/// Patients and clinicians see their own and those of patients in their care, the desk the clinic's. A
/// page may hold fewer than `limit` though there is a next one.
#[utoipa::path(get, path = "/v1/appointments", tag = TAG, params(AppointmentQuery),
    responses((status = 200, description = "One page.", body = Page<Appointment>)))]
async fn appointment_list(
    State(api): State<Api>,
    signed: Asking,
    Query(query): Query<AppointmentQuery>,
) -> Result<Json<Page<Appointment>>, ApiError> {
    let page = mapping::page_request(query.cursor.as_deref(), query.limit)?;
    let filter = AppointmentFilter {
        from: query.from,
        to: query.to,
        patient: None,
    };
    let mut tx = api.begin(&signed).await?;
    let appointments = tx.appointment_list(filter, page).await?;
    tx.commit().await?;
    Ok(Json(mapping::page(appointments, mapping::appointment)))
}

/// One appointment.
#[utoipa::path(get, path = "/v1/appointments/{id}", tag = TAG, params(("id" = uuid::Uuid, Path)),
    responses((status = 200, description = "The appointment.", body = Appointment, headers(
        ("ETag" = String, description = "The version, quoted.")))))]
async fn appointment_get(
    State(api): State<Api>,
    signed: Asking,
    Id(id): Id<AppointmentId>,
) -> Result<Response, ApiError> {
    let mut tx = api.begin(&signed).await?;
    let appointment = tx.appointment_get(id).await?;
    tx.commit().await?;
    Ok(answer(mapping::appointment(appointment)))
}

/// Moves an appointment or changes its reason. 412 when `If-Match` names an older version.
#[utoipa::path(patch, path = "/v1/appointments/{id}", tag = TAG, request_body = AppointmentUpdate,
    params(("id" = uuid::Uuid, Path), ("If-Match" = String, Header, description = "The ETag last seen.")),
    responses((status = 200, description = "Changed.", body = Appointment, headers(
        ("ETag" = String, description = "The version, quoted.")))))]
async fn appointment_update(
    State(api): State<Api>,
    signed: Asking,
    Id(id): Id<AppointmentId>,
    IfMatch(version): IfMatch,
    Body { value: update, .. }: Body<AppointmentUpdate>,
) -> Result<Response, ApiError> {
    let change = AppointmentChange {
        starts_at: update.starts_at,
        ends_at: update.ends_at,
        reason: reason(update.reason)?,
        segment: update.segment.map(mapping::segment_in),
    };
    let mut tx = api.begin(&signed).await?;
    let appointment = tx.appointment_update(id, Version(version), &change).await?;
    tx.commit().await?;
    Ok(answer(mapping::appointment(appointment)))
}

/// Calls an appointment off; its time is free again. 412 when `If-Match` names an older version.
#[utoipa::path(post, path = "/v1/appointments/{id}/cancel", tag = TAG, request_body = AppointmentCancel,
    params(("id" = uuid::Uuid, Path), ("If-Match" = String, Header, description = "The ETag last seen.")),
    responses((status = 200, description = "Cancelled.", body = Appointment, headers(
        ("ETag" = String, description = "The version, quoted.")))))]
async fn appointment_cancel(
    State(api): State<Api>,
    signed: Asking,
    Id(id): Id<AppointmentId>,
    IfMatch(version): IfMatch,
    Body { value: cancel, .. }: Body<AppointmentCancel>,
) -> Result<Response, ApiError> {
    let reason = reason(cancel.reason)?;
    let mut tx = api.begin(&signed).await?;
    let appointment = tx
        .appointment_cancel(id, Version(version), reason.as_ref())
        .await?;
    tx.commit().await?;
    Ok(answer(mapping::appointment(appointment)))
}

/// A reason as the domain wants it; a blank one is none.
fn reason(text: Option<Phi<String>>) -> Result<Option<Reason>, Invalid> {
    let text = text.map(Phi::into_exposed).filter(|text| !text.trim().is_empty());
    text.map(|text| text.parse()).transpose()
}

fn etag(appointment: &Appointment) -> String {
    format!("\"{}\"", appointment.version)
}

fn answer(appointment: Appointment) -> Response {
    ([(ETAG, etag(&appointment))], Json(appointment)).into_response()
}
