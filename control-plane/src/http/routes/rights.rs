//! What patients may ask of their record as a whole.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::header::ETAG;
use medmesh_api_types::rights::{Erasure, RecordRights, RecordRightsSet};
use medmesh_base::PersonId;
use medmesh_clinic::authz::Action;
use medmesh_clinic::{self as clinic, RightsChange, Version};
use utoipa_axum::routes;

use crate::http::access::Routes;
use crate::http::caller::{Signed, StepUp};
use crate::http::error::ApiError;
use crate::http::extract::{Body, Id, IfMatch};
use crate::http::mapping::etag_of;
use crate::http::state::Api;

const TAG: &str = "privacy";

pub(super) fn routes() -> Routes {
    Routes::new()
        .signed(Action::RecordRightsGet, routes!(record_rights_get))
        .signed(Action::RecordRightsSet, routes!(record_rights_set))
}

/// Whether a record rests, or is to go. For the patient and the privacy officer.
#[utoipa::path(get, path = "/v1/patients/{id}/rights", tag = TAG, params(("id" = uuid::Uuid, Path)),
    responses((status = 200, description = "What was asked.", body = RecordRights, headers(
        ("ETag" = String, description = "The version, quoted.")))))]
async fn record_rights_get(
    State(api): State<Api>,
    signed: Signed,
    Id(patient): Id<PersonId>,
) -> Result<Response, ApiError> {
    let mut tx = api.begin(&signed).await?;
    let rights = tx.record_rights_get(patient).await?;
    tx.commit().await?;
    Ok(answer(rights))
}

/// Lets one's record rest, or go; or takes that back. The patient's own, with a fresh proof.
///
/// A record that rests is reached by the patient, by those they meet, and in emergencies. One that is to go
/// rests until the law lets it go; then its key is destroyed and nobody can read it any more.
/// 412 when `If-Match` names an older version; it is `"0"` while nothing was asked.
#[utoipa::path(put, path = "/v1/patients/{id}/rights", tag = TAG, request_body = RecordRightsSet,
    params(("id" = uuid::Uuid, Path), ("If-Match" = String, Header, description = "The ETag last seen.")),
    responses((status = 200, description = "Noted, and in force.", body = RecordRights, headers(
        ("ETag" = String, description = "The version, quoted.")))))]
async fn record_rights_set(
    State(api): State<Api>,
    signed: StepUp,
    Id(patient): Id<PersonId>,
    IfMatch(version): IfMatch,
    Body { value: set, .. }: Body<RecordRightsSet>,
) -> Result<Response, ApiError> {
    let change = RightsChange {
        restricted: set.restricted,
        erasure: set.erasure,
    };
    let mut tx = api.begin(&signed).await?;
    let rights = tx.record_rights_set(patient, Version(version), change).await?;
    tx.commit().await?;
    Ok(answer(rights))
}

fn answer(rights: clinic::RecordRights) -> Response {
    let rights = record_rights(rights);
    ([(ETAG, etag_of(rights.version))], Json(rights)).into_response()
}

pub(in crate::http) fn record_rights(rights: clinic::RecordRights) -> RecordRights {
    RecordRights {
        restricted_at: rights.restricted_at,
        erasure: rights.erasure.map(|erasure| Erasure {
            requested_at: erasure.requested_at,
            retained_until: erasure.retained_until,
            erased_at: erasure.erased_at,
        }),
        version: rights.version.0,
    }
}
