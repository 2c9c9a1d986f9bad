//! How the caller's clinic is set up.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::header::ETAG;
use medmesh_api_types::clinic::{ClinicSettings, ClinicUpdate};
use medmesh_clinic::authz::Action;
use medmesh_clinic::{self as clinic, MediaRegions, Version};
use utoipa_axum::routes;

use crate::http::access::Routes;
use crate::http::caller::Signed;
use crate::http::error::ApiError;
use crate::http::extract::{Body, IfMatch};
use crate::http::state::Api;

const TAG: &str = "clinic";

pub(super) fn routes() -> Routes {
    Routes::new()
        .signed(Action::ClinicGet, routes!(clinic_get))
        .signed(Action::ClinicUpdate, routes!(clinic_update))
}

/// The clinic's settings. Admins only.
#[utoipa::path(get, path = "/v1/clinic", tag = TAG,
    responses((status = 200, description = "The settings.", body = ClinicSettings, headers(
        ("ETag" = String, description = "The version, quoted.")))))]
async fn clinic_get(State(api): State<Api>, signed: Signed) -> Result<Response, ApiError> {
    let mut tx = api.begin(&signed).await?;
    let settings = tx.clinic_settings().await?;
    tx.commit().await?;
    Ok(answer(settings))
}

/// Changes the clinic's settings: where its visits may run, whether patients register themselves.
/// Admins only.
/// 412 when `If-Match` names an older version.
#[utoipa::path(patch, path = "/v1/clinic", tag = TAG, request_body = ClinicUpdate,
    params(("If-Match" = String, Header, description = "The ETag last seen.")),
    responses((status = 200, description = "Changed.", body = ClinicSettings, headers(
        ("ETag" = String, description = "The version, quoted.")))))]
async fn clinic_update(
    State(api): State<Api>,
    signed: Signed,
    IfMatch(version): IfMatch,
    Body { value: update, .. }: Body<ClinicUpdate>,
) -> Result<Response, ApiError> {
    let media_regions = update.media_regions.map(MediaRegions::new).transpose()?;
    let mut tx = api.begin(&signed).await?;
    let settings = tx
        .clinic_update(Version(version), media_regions, update.self_registration)
        .await?;
    tx.commit().await?;
    Ok(answer(settings))
}

fn answer(settings: clinic::ClinicSettings) -> Response {
    let settings = ClinicSettings {
        id: settings.clinic.id,
        name: settings.clinic.name,
        time_zone: settings.clinic.time_zone.as_str().to_owned(),
        home_region: settings.clinic.home_region,
        media_regions: settings.media_regions.to_vec(),
        self_registration: settings.self_registration,
        version: settings.version.0,
    };
    ([(ETAG, format!("\"{}\"", settings.version))], Json(settings)).into_response()
}
