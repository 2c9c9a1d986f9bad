//! The sessions a person holds.

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use medmesh_api_types::factor::Device;
use medmesh_api_types::page::List;
use medmesh_base::SessionId;
use medmesh_clinic::authz::Action;
use utoipa_axum::routes;

use super::TAG;
use crate::http::access::Routes;
use crate::http::caller::Signed;
use crate::http::error::ApiError;
use crate::http::extract::Id;
use crate::http::mapping;
use crate::http::state::Api;

pub(super) fn routes() -> Routes {
    Routes::new()
        .signed(Action::SessionList, routes!(session_list))
        .signed(Action::SessionRevoke, routes!(session_revoke))
        .signed(Action::SessionRevokeOthers, routes!(session_revoke_others))
}

/// Where the caller is signed in, the latest used first.
#[utoipa::path(get, path = "/v1/auth/sessions", tag = TAG,
    responses((status = 200, description = "The sessions.", body = List<Device>)))]
async fn session_list(State(api): State<Api>, signed: Signed) -> Result<Json<List<Device>>, ApiError> {
    let mut tx = api.begin(&signed).await?;
    let sessions = tx.session_list().await?;
    tx.commit().await?;
    Ok(Json(List {
        items: sessions.into_iter().map(mapping::device).collect(),
    }))
}

/// Signs one of the caller's devices out, on every node within a second, live streams included.
#[utoipa::path(delete, path = "/v1/auth/sessions/{id}", tag = TAG, params(("id" = uuid::Uuid, Path)),
    responses((status = 204, description = "Signed out.")))]
async fn session_revoke(
    State(api): State<Api>,
    signed: Signed,
    Id(id): Id<SessionId>,
) -> Result<StatusCode, ApiError> {
    let mut tx = api.begin(&signed).await?;
    tx.session_revoke(id).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Signs every device of the caller out but this one.
#[utoipa::path(post, path = "/v1/auth/sessions/revoke-others", tag = TAG,
    responses((status = 204, description = "Signed out.")))]
async fn session_revoke_others(State(api): State<Api>, signed: Signed) -> Result<StatusCode, ApiError> {
    let mut tx = api.begin(&signed).await?;
    tx.session_revoke_others().await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}
