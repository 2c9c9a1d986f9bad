//! Copies of whole records, for their patients; and the keys that show who made them.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::header::{CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE};
use medmesh_api_types::page::{Page, PageQuery};
use medmesh_api_types::record_export::{
    ExportForm, ExportFormQuery, ExportState, PublicKeys, RecordExport, RecordExportCreate, SignedCopy,
};
use medmesh_base::{PersonId, ProblemCode, RecordExportId};
use medmesh_clinic as clinic;
use medmesh_clinic::authz::Action;
use medmesh_store::CopyForm;
use time::OffsetDateTime;
use utoipa_axum::routes;

use crate::http::access::Routes;
use crate::http::caller::{Signed, StepUp};
use crate::http::creation::{Claimed, Creation};
use crate::http::error::ApiError;
use crate::http::extract::{Body, Id, IdempotencyKey, Ids, Query};
use crate::http::mapping;
use crate::http::state::Api;
use crate::record_export::{TakeError, take};

const TAG: &str = "privacy";

pub(super) fn routes() -> Routes {
    Routes::new()
        .signed(Action::RecordExportCreate, routes!(record_export_create))
        .signed(Action::RecordExportList, routes!(record_export_list))
        .signed(Action::RecordExportGet, routes!(record_export_get))
        .signed(Action::RecordExportDownload, routes!(record_export_download))
        .open("public keys are for everybody", routes!(jwks_get))
}

/// Asks for a copy of everything one's record holds, with a fresh proof. The patient's own.
///
/// It is made by a job, in two forms and signed; whoever asked is told by mail. It can be taken for seven
/// days. 409 with five copies that can still be taken.
#[utoipa::path(post, path = "/v1/patients/{id}/exports", tag = TAG, request_body = RecordExportCreate,
    params(("id" = uuid::Uuid, Path), ("Idempotency-Key" = String, Header, min_length = 8, max_length = 64)),
    responses((status = 201, description = "It will be made.", body = RecordExport),
        (status = 409, description = "There are enough of them.")))]
async fn record_export_create(
    State(api): State<Api>,
    signed: StepUp,
    Id(patient): Id<PersonId>,
    key: IdempotencyKey,
    Body { bytes, .. }: Body<RecordExportCreate>,
) -> Result<Response, ApiError> {
    let request: [&[u8]; 2] = [&patient.to_vec(), &bytes];
    let claimed = Creation::claim(&api, &signed, "record_export_create", key, &request).await?;
    let mut creation = match claimed {
        Claimed::New(creation) => creation,
        Claimed::Replay(answer) => return Ok(answer),
    };
    let asked = creation.tx.record_export_create(patient).await?;
    creation.created(&[], &export(asked)).await
}

/// Which copies there are, and were, the latest first.
#[utoipa::path(get, path = "/v1/patients/{id}/exports", tag = TAG,
    params(("id" = uuid::Uuid, Path), PageQuery),
    responses((status = 200, description = "One page.", body = Page<RecordExport>)))]
async fn record_export_list(
    State(api): State<Api>,
    signed: Signed,
    Id(patient): Id<PersonId>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<RecordExport>>, ApiError> {
    let page = mapping::page_request(query.cursor.as_deref(), query.limit)?;
    let mut tx = api.begin(&signed).await?;
    let exports = tx.record_export_list(patient, page).await?;
    tx.commit().await?;
    Ok(Json(mapping::page(exports, export)))
}

/// How one copy stands, with its signatures once it is ready.
#[utoipa::path(get, path = "/v1/patients/{id}/exports/{export}", tag = TAG,
    params(("id" = uuid::Uuid, Path), ("export" = uuid::Uuid, Path)),
    responses((status = 200, description = "How it stands.", body = RecordExport)))]
async fn record_export_get(
    State(api): State<Api>,
    signed: Signed,
    Ids(patient, id): Ids<PersonId, RecordExportId>,
) -> Result<Json<RecordExport>, ApiError> {
    let mut tx = api.begin(&signed).await?;
    let found = tx.record_export_get(patient, id).await?;
    tx.commit().await?;
    Ok(Json(export(found)))
}

/// Takes a copy away, with a fresh proof. The bytes are those that were signed.
///
/// 409 while it is being made; 404 when its time is over.
#[utoipa::path(get, path = "/v1/patients/{id}/exports/{export}/content", tag = TAG,
    params(("id" = uuid::Uuid, Path), ("export" = uuid::Uuid, Path), ExportFormQuery),
    responses((status = 200, description = "The copy.",
        content((serde_json::Value = "application/json"), (serde_json::Value = "application/fhir+json"))),
        (status = 409, description = "It is not ready.")))]
async fn record_export_download(
    State(api): State<Api>,
    signed: StepUp,
    Ids(patient, id): Ids<PersonId, RecordExportId>,
    Query(query): Query<ExportFormQuery>,
) -> Result<Response, ApiError> {
    let mut tx = api.begin(&signed).await?;
    let found = tx.record_export_download(patient, id).await?;
    let (form, kind, name, copy) = match query.form.unwrap_or_default() {
        ExportForm::Json => (CopyForm::Json, "application/json", "record.json", &found.json),
        ExportForm::Fhir => (
            CopyForm::Fhir,
            "application/fhir+json",
            "record.fhir.json",
            &found.fhir,
        ),
    };
    let body = match take(&api.objects, &mut tx, &found, form).await {
        Ok(body) => body,
        Err(TakeError::Gone) => return Err(ProblemCode::NotFound.into()),
        Err(TakeError::Store(error)) => return Err(error.into()),
        Err(error) => return Err(ApiError::new(ProblemCode::Unavailable).because(error)),
    };
    tx.commit().await?;
    let size = copy.as_ref().map_or(0, |copy| copy.size_bytes);
    let headers = [
        (CONTENT_TYPE, kind.to_owned()),
        (CONTENT_LENGTH, size.to_string()),
        (CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")),
    ];
    Ok((headers, body).into_response())
}

/// The public keys of this installation's signatures: keep them beside a copy to verify it without us.
///
/// A detached signature (`header..signature`) is over the header, a dot and the file's bytes.
#[utoipa::path(get, path = "/v1/jwks", tag = TAG, security(()),
    responses((status = 200, description = "The keys in force.", body = PublicKeys)))]
async fn jwks_get(State(api): State<Api>) -> Result<Json<PublicKeys>, ApiError> {
    let keys = api.token_keys.jwks().ok_or(ProblemCode::Unavailable)?;
    Ok(Json(PublicKeys { keys: keys.keys }))
}

pub(in crate::http) fn export(export: clinic::RecordExport) -> RecordExport {
    let copy = |copy: clinic::SignedCopy| SignedCopy {
        size_bytes: copy.size_bytes,
        signature: copy.signature,
    };
    RecordExport {
        state: match export.state_at(OffsetDateTime::now_utc()) {
            clinic::ExportState::Queued => ExportState::Queued,
            clinic::ExportState::Ready => ExportState::Ready,
            clinic::ExportState::Gone => ExportState::Gone,
        },
        id: export.id,
        patient_id: export.patient_id,
        requested_at: export.requested_at,
        ready_at: export.ready_at,
        expires_at: export.expires_at,
        json: export.json.map(copy),
        fhir: export.fhir.map(copy),
    }
}
