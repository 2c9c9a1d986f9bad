//! Naming one's second factors, so that they can be told apart.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::header::ETAG;
use medmesh_api_types::factor::{FactorRename, Passkey, TotpFactor};
use medmesh_clinic::Version;
use medmesh_clinic::authz::Action;
use medmesh_clinic::identity::FactorName;
use utoipa_axum::routes;
use uuid::Uuid;

use super::TAG;
use crate::http::access::Routes;
use crate::http::caller::StepUp;
use crate::http::error::ApiError;
use crate::http::extract::{Body, Id, IfMatch};
use crate::http::mapping;
use crate::http::state::Api;

pub(super) fn routes() -> Routes {
    Routes::new()
        .signed(Action::TotpRename, routes!(totp_rename))
        .signed(Action::PasskeyRename, routes!(passkey_rename))
}

/// Names the authenticator app. 412 when `If-Match` names an older version; `"0"` is the one before
/// the first name.
#[utoipa::path(patch, path = "/v1/auth/mfa/totp", tag = TAG, request_body = FactorRename,
    params(("If-Match" = String, Header, description = "The ETag last seen.")),
    responses((status = 200, description = "Named.", body = TotpFactor, headers(
        ("ETag" = String, description = "The version, quoted.")))))]
async fn totp_rename(
    State(api): State<Api>,
    signed: StepUp,
    IfMatch(version): IfMatch,
    Body { value: given, .. }: Body<FactorRename>,
) -> Result<Response, ApiError> {
    let name: FactorName = given.name.expose().parse()?;
    let mut tx = api.begin(&signed).await?;
    let app = tx.totp_rename(Version(version), &name).await?;
    tx.commit().await?;
    let etag = mapping::etag_of(app.version.0);
    Ok(([(ETAG, etag)], Json(mapping::totp(app))).into_response())
}

/// Names a passkey. 412 when `If-Match` names an older version; `"0"` is the one before the first name.
#[utoipa::path(patch, path = "/v1/auth/mfa/passkeys/{id}", tag = TAG, request_body = FactorRename,
    params(("id" = Uuid, Path), ("If-Match" = String, Header, description = "The ETag last seen.")),
    responses((status = 200, description = "Named.", body = Passkey, headers(
        ("ETag" = String, description = "The version, quoted.")))))]
async fn passkey_rename(
    State(api): State<Api>,
    signed: StepUp,
    Id(id): Id<Uuid>,
    IfMatch(version): IfMatch,
    Body { value: given, .. }: Body<FactorRename>,
) -> Result<Response, ApiError> {
    let name: FactorName = given.name.expose().parse()?;
    let mut tx = api.begin(&signed).await?;
    let passkey = tx.passkey_rename(id, Version(version), &name).await?;
    tx.commit().await?;
    let etag = mapping::etag_of(passkey.version.0);
    Ok(([(ETAG, etag)], Json(mapping::passkey(passkey))).into_response())
}
