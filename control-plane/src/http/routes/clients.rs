//! The clinic's machines, as its admins keep them.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::header::{ETAG, LOCATION};
use medmesh_api_types::client::{Client, ClientCreate, ClientQuery, ClientScope, ClientUpdate, Jwks};
use medmesh_api_types::page::Page;
use medmesh_base::ClientId;
use medmesh_clinic::authz::Action;
use medmesh_clinic::client::{self as domain, ClientChange, ClientKeys, KeyFault, NewClient, Scope, Scopes};
use medmesh_clinic::{Invalid, Version};
use utoipa_axum::routes;

use crate::http::access::Routes;
use crate::http::caller::{Signed, StepUp};
use crate::http::creation::{Claimed, Creation};
use crate::http::error::ApiError;
use crate::http::extract::{Body, Id, IdempotencyKey, IfMatch, Query};
use crate::http::mapping::{self, etag_of};
use crate::http::state::Api;
use crate::oauth;

const TAG: &str = "clients";

pub(super) fn routes() -> Routes {
    Routes::new()
        .signed(Action::ClientCreate, routes!(client_create))
        .signed(Action::ClientList, routes!(client_list))
        .signed(Action::ClientGet, routes!(client_get))
        .signed(Action::ClientUpdate, routes!(client_update))
}

/// Registers a machine of the clinic. Admins only, with a fresh proof. What it may is in `scopes`; what
/// it may not, whatever they say, is anything that takes a proof of a person.
#[utoipa::path(post, path = "/v1/clients", tag = TAG, request_body = ClientCreate,
    params(("Idempotency-Key" = String, Header, min_length = 8, max_length = 64)),
    responses((status = 201, description = "Registered.", body = Client, headers(
        ("ETag" = String, description = "The version, quoted."),
        ("Location" = String, description = "Where the machine is.")))))]
async fn client_create(
    State(api): State<Api>,
    signed: StepUp,
    key: IdempotencyKey,
    Body { value: given, bytes }: Body<ClientCreate>,
) -> Result<Response, ApiError> {
    let new = NewClient {
        name: given.name.parse()?,
        scopes: scopes_in(&given.scopes),
        keys: keys_in(&given.jwks)?,
    };
    let claimed = Creation::claim(&api, &signed, "client_create", key, &[&bytes]).await?;
    let mut creation = match claimed {
        Claimed::New(creation) => creation,
        Claimed::Replay(answer) => return Ok(answer),
    };
    let made = client(creation.tx.client_create(&new).await?);
    let headers = [
        (ETAG, etag_of(made.version)),
        (LOCATION, format!("/v1/clients/{}", made.id)),
    ];
    creation.created(&headers, &made).await
}

/// The clinic's machines, oldest first. Admins only.
#[utoipa::path(get, path = "/v1/clients", tag = TAG, params(ClientQuery),
    responses((status = 200, description = "One page.", body = Page<Client>)))]
async fn client_list(
    State(api): State<Api>,
    signed: Signed,
    Query(query): Query<ClientQuery>,
) -> Result<Json<Page<Client>>, ApiError> {
    let page = mapping::page_request(query.cursor.as_deref(), query.limit)?;
    let mut tx = api.begin(&signed).await?;
    let clients = tx.client_list(page).await?;
    tx.commit().await?;
    Ok(Json(mapping::page(clients, client)))
}

/// One of the clinic's machines. Admins only.
#[utoipa::path(get, path = "/v1/clients/{id}", tag = TAG, params(("id" = uuid::Uuid, Path)),
    responses((status = 200, description = "The machine.", body = Client, headers(
        ("ETag" = String, description = "The version, quoted.")))))]
async fn client_get(
    State(api): State<Api>,
    signed: Signed,
    Id(id): Id<ClientId>,
) -> Result<Response, ApiError> {
    let mut tx = api.begin(&signed).await?;
    let found = tx.client_get(id).await?;
    tx.commit().await?;
    Ok(answer(found))
}

/// Changes what a machine is called, what it may, its keys, or whether it is let in at all. Admins only,
/// with a fresh proof. It holds for the next request under any of its tokens. 412 when `If-Match` names
/// an older version.
#[utoipa::path(patch, path = "/v1/clients/{id}", tag = TAG, request_body = ClientUpdate,
    params(("id" = uuid::Uuid, Path), ("If-Match" = String, Header, description = "The ETag last seen.")),
    responses((status = 200, description = "Changed.", body = Client, headers(
        ("ETag" = String, description = "The version, quoted.")))))]
async fn client_update(
    State(api): State<Api>,
    signed: StepUp,
    Id(id): Id<ClientId>,
    IfMatch(version): IfMatch,
    Body { value: given, .. }: Body<ClientUpdate>,
) -> Result<Response, ApiError> {
    let change = ClientChange {
        name: given.name.as_deref().map(str::parse).transpose()?,
        scopes: given.scopes.as_deref().map(scopes_in),
        keys: given.jwks.as_ref().map(keys_in).transpose()?,
        enabled: given.enabled,
    };
    let mut tx = api.begin(&signed).await?;
    let changed = tx.client_update(id, Version(version), &change).await?;
    tx.commit().await?;
    Ok(answer(changed))
}

fn answer(found: domain::Client) -> Response {
    let found = client(found);
    ([(ETAG, etag_of(found.version))], Json(found)).into_response()
}

fn keys_in(jwks: &Jwks) -> Result<ClientKeys, Invalid> {
    let keys = ClientKeys::read(&jwks.keys)?;
    if oauth::are_points(&keys) {
        Ok(keys)
    } else {
        Err(KeyFault::Malformed.into())
    }
}

fn scopes_in(scopes: &[ClientScope]) -> Scopes {
    let scope = |scope: &ClientScope| match scope {
        ClientScope::AppointmentRead => Scope::AppointmentRead,
        ClientScope::AppointmentWrite => Scope::AppointmentWrite,
        ClientScope::PatientSearch => Scope::PatientSearch,
        ClientScope::PersonRead => Scope::PersonRead,
        ClientScope::CareTeamRead => Scope::CareTeamRead,
        ClientScope::AuditRead => Scope::AuditRead,
    };
    scopes.iter().map(scope).collect()
}

pub(super) fn scopes(scopes: Scopes) -> Vec<ClientScope> {
    let scope = |scope| match scope {
        Scope::AppointmentRead => ClientScope::AppointmentRead,
        Scope::AppointmentWrite => ClientScope::AppointmentWrite,
        Scope::PatientSearch => ClientScope::PatientSearch,
        Scope::PersonRead => ClientScope::PersonRead,
        Scope::CareTeamRead => ClientScope::CareTeamRead,
        Scope::AuditRead => ClientScope::AuditRead,
    };
    scopes.iter().map(scope).collect()
}

fn client(client: domain::Client) -> Client {
    Client {
        id: client.id,
        name: client.name,
        scopes: scopes(client.scopes),
        jwks: Jwks {
            keys: client
                .keys
                .as_slice()
                .iter()
                .map(domain::ClientKey::to_jwk)
                .collect(),
        },
        enabled: client.enabled,
        created_at: client.created_at,
        last_used_at: client.last_used_at,
        version: client.version.0,
    }
}
