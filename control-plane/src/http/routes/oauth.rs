//! Where the clinic's machines get their access tokens, and what says how (RFC 6749 section 4.4,
//! RFC 7523, RFC 8414). Refusals have the form of RFC 6749 section 5.2; what is in front of the
//! endpoint (limits, a database that is away) answers as everywhere.

use std::fmt::Display;

use axum::Json;
use axum::extract::{Form, FromRequest as _, Request, State};
use axum::response::{IntoResponse as _, Response};
use http::header::AUTHORIZATION;
use http::{Extensions, HeaderMap, StatusCode};
use medmesh_api_types::Secret;
use medmesh_api_types::client::{
    ASSERTION_TYPE, GRANT_TYPE, OauthMetadata, TOKEN_PATH, TokenAnswer, TokenError, TokenErrorCode,
    TokenRequest,
};
use medmesh_base::{ClientId, ClinicId, RequestId};
use medmesh_clinic::client::{
    ACCESS_TOKEN_LIFETIME, Assertion, Client, ClientKey, Expected, KeyAlgorithm, Scopes,
};
use medmesh_clinic::{Actor, SystemActor};
use medmesh_store::{AccessToken, Store, StoreError, Tx};
use utoipa_axum::routes;

use super::clients;
use crate::http::AsIs;
use crate::http::access::Routes;
use crate::http::error::ApiError;
use crate::http::limits;
use crate::http::server::Peer;
use crate::http::state::{Api, request_id};
use crate::oauth::Unproved;

const TAG: &str = "oauth";
/// Parts of a form that are read; there are five.
const PARTS_MAX: usize = 16;

pub(super) fn routes() -> Routes {
    Routes::new()
        .open("the assertion is the proof", routes!(oauth_token))
        .open("how to ask is for everybody to know", routes!(oauth_metadata))
        .open(
            "how to ask is for everybody to know",
            routes!(smart_configuration),
        )
}

/// How a machine is not given a token.
enum Refused {
    /// As RFC 6749 has it.
    Token(TokenErrorCode, &'static str),
    /// As everywhere.
    Problem(ApiError),
}

impl From<ApiError> for Refused {
    fn from(error: ApiError) -> Self {
        Self::Problem(error)
    }
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        Self::Problem(error.into())
    }
}

/// The one answer to whoever does not prove to be a machine that is let in, whatever was wrong.
const NOBODY: Refused = Refused::Token(TokenErrorCode::InvalidClient, "No client is let in with that.");

const fn malformed(description: &'static str) -> Refused {
    Refused::Token(TokenErrorCode::InvalidRequest, description)
}

/// Gives a machine an access token for five minutes, for an assertion signed with one of its keys.
///
/// The assertion is a JWT with `alg` ES384 or RS384 as its key says, `kid`, `iss` and `sub` the
/// `client_id`, `aud` the address of this endpoint and nothing else, `exp` at most five minutes ahead, and a
/// `jti` that no assertion of this client had before. 401 `invalid_client` says that it is not believed,
/// and not why.
#[utoipa::path(post, path = "/oauth/token", tag = TAG, security(()),
    request_body(content = TokenRequest, content_type = "application/x-www-form-urlencoded"),
    responses((status = 200, description = "The token.", body = TokenAnswer),
        (status = 400, description = "`invalid_request`, `invalid_scope`, `unsupported_grant_type`", body = TokenError),
        (status = 401, description = "`invalid_client`", body = TokenError)))]
async fn oauth_token(State(api): State<Api>, request: Request) -> Response {
    let outcome = token(&api, request).await;
    let label = match &outcome {
        Ok(_) => "given",
        Err(Refused::Token(..)) => "refused",
        Err(Refused::Problem(_)) => "failed",
    };
    api.metrics.client_tokens.with_label_values(&[label]).inc();
    match outcome {
        Ok(answer) => Json(answer).into_response(),
        Err(Refused::Problem(error)) => error.into_response(),
        Err(Refused::Token(error, description)) => {
            let status = match error {
                TokenErrorCode::InvalidClient => StatusCode::UNAUTHORIZED,
                _ => StatusCode::BAD_REQUEST,
            };
            let body = TokenError {
                error,
                error_description: description.to_owned(),
            };
            let mut response = (status, Json(body)).into_response();
            response.extensions_mut().insert(AsIs);
            response
        }
    }
}

async fn token(api: &Api, request: Request) -> Result<TokenAnswer, Refused> {
    let (headers, extensions) = (request.headers().clone(), request.extensions().clone());
    let peer = extensions.get::<Peer>().copied();
    let address = peer.map(|peer| api.client_address(peer, &headers));
    let form = form(&headers, request).await?;
    // What does not even say whose it is costs nothing more than this.
    let unproved = Unproved::read(form.client_assertion.expose()).map_err(nobody)?;
    let attempt = match address {
        Some(address) => Some(api.throttle.enter_machine(unproved.client, address).await?),
        None => None,
    };
    let proof = proof(api, &unproved, &form, request_id(&extensions)).await;
    match (&proof, attempt) {
        (Ok(_), Some(attempt)) => api.throttle.machine_proved(attempt).await,
        (Err(Refused::Problem(error)), Some(attempt)) if error.is_ours() => {
            api.throttle.unjudged(attempt).await;
        }
        _ => {}
    }
    let proof = proof?;
    give(api, &extensions, &form, &proof).await
}

/// A machine that has proved itself.
struct Proof {
    clinic: ClinicId,
    client: Client,
    key: ClientKey,
    assertion: Assertion,
}

async fn proof(
    api: &Api,
    unproved: &Unproved<'_>,
    form: &TokenRequest,
    request: RequestId,
) -> Result<Proof, Refused> {
    let store = api.database.store()?;
    let is_named = form
        .client_id
        .as_ref()
        .is_none_or(|named| *named == unproved.client.to_string());
    if !is_named {
        return Err(malformed("client_id is not the subject of the assertion."));
    }
    let clinic = store.client_clinic(unproved.client).await?.ok_or(NOBODY)?;
    let mut tx = begin(store, clinic, request).await?;
    let client = tx.client_find(unproved.client).await?.ok_or(NOBODY)?;
    let expected = Expected {
        client: client.id,
        token_endpoint: &token_endpoint(api),
    };
    let now = tx.now();
    let proved = unproved
        .prove(&client.keys)
        .map_err(nobody)
        .and_then(|(key, claims)| {
            let assertion = claims.accept(&expected, now).map_err(nobody)?;
            Ok((key.clone(), assertion))
        });
    match proved {
        Ok((key, assertion)) if client.enabled => {
            tx.rollback().await?;
            Ok(Proof {
                clinic,
                client,
                key,
                assertion,
            })
        }
        Ok(_) => Err(refuse(tx, client.id, nobody("disabled")).await),
        Err(refused) => Err(refuse(tx, client.id, refused).await),
    }
}

async fn begin(store: &Store, clinic: ClinicId, request: RequestId) -> Result<Tx, StoreError> {
    let actor = Actor::System(SystemActor::Login);
    store.begin(clinic, actor, request).await
}

/// Says in the log what the caller is not told.
fn nobody(fault: impl Display) -> Refused {
    tracing::info!(%fault, "assertion refused");
    NOBODY
}

/// Notes in the clinic's audit log that somebody gave the name of its machine.
async fn refuse(mut tx: Tx, client: ClientId, refused: Refused) -> Refused {
    let noted = async {
        tx.client_refused(client).await?;
        tx.commit().await
    };
    match noted.await {
        Ok(()) => refused,
        Err(error) => error.into(),
    }
}

async fn give(
    api: &Api,
    extensions: &Extensions,
    form: &TokenRequest,
    proof: &Proof,
) -> Result<TokenAnswer, Refused> {
    let Proof { clinic, client, .. } = proof;
    limits::enter_client(api, extensions, client.id, *clinic).await?;
    let scopes = wanted(form.scope.as_deref(), client.scopes)?;
    let (store, request, token) = (
        api.database.store()?,
        request_id(extensions),
        AccessToken::generate(),
    );
    let mut tx = begin(store, *clinic, request).await?;
    let given = tx
        .client_token_create(client.id, &proof.key, scopes, &proof.assertion, &token)
        .await?;
    if given.is_none() {
        // Used before; or key or machine went while the proof was looked at.
        tx.rollback().await?;
        let tx = begin(store, *clinic, request).await?;
        return Err(refuse(tx, client.id, nobody("spent")).await);
    }
    tx.commit().await?;
    Ok(TokenAnswer {
        access_token: Secret::new(token.expose()),
        token_type: "bearer".to_owned(),
        expires_in: u32::try_from(ACCESS_TOKEN_LIFETIME.whole_seconds()).unwrap_or_default(),
        scope: scopes.to_string(),
    })
}

/// What the token is to be good for: all the machine may, or the part of it that is named.
fn wanted(asked: Option<&str>, held: Scopes) -> Result<Scopes, Refused> {
    let Some(asked) = asked else { return Ok(held) };
    let asked = asked.parse::<Scopes>().ok();
    asked
        .filter(|asked| !asked.is_empty() && asked.is_within(held))
        .ok_or(Refused::Token(
            TokenErrorCode::InvalidScope,
            "A scope that there is not, or that this client does not have.",
        ))
}

async fn form(headers: &HeaderMap, request: Request) -> Result<TokenRequest, Refused> {
    // A second way to prove oneself (RFC 6749 section 2.3: only one), or one that is not taken.
    let is_elsewhere = headers.contains_key(AUTHORIZATION);
    let parsed = Form::<Vec<(String, String)>>::from_request(request, &()).await;
    let Form(parts) = parsed.map_err(|rejection| match rejection.into_response().status() {
        StatusCode::PAYLOAD_TOO_LARGE => Refused::Problem(medmesh_base::ProblemCode::BodyTooLarge.into()),
        _ => malformed("The body is not a form."),
    })?;
    if parts.len() > PARTS_MAX {
        return Err(malformed("The form has too many parts."));
    }
    let mut is_twice = false;
    let mut part = |name: &str| {
        let mut found = parts.iter().filter(|(known, _)| known == name);
        let first = found.next().map(|(_, value)| value.clone());
        is_twice |= found.next().is_some();
        first
    };
    let grant = part("grant_type");
    let (kind, assertion) = (part("client_assertion_type"), part("client_assertion"));
    let (scope, client_id) = (part("scope"), part("client_id"));
    if is_twice {
        return Err(malformed("A part of the form comes twice."));
    }
    let grant_type = grant.ok_or(malformed("grant_type is missing."))?;
    if grant_type != GRANT_TYPE {
        return Err(Refused::Token(
            TokenErrorCode::UnsupportedGrantType,
            "The grant is client_credentials.",
        ));
    }
    match (kind, assertion) {
        (Some(_), Some(_)) if is_elsewhere => Err(malformed("There are two ways to prove who asks.")),
        (Some(kind), Some(client_assertion)) if kind == ASSERTION_TYPE => Ok(TokenRequest {
            grant_type,
            client_assertion_type: kind,
            client_assertion: Secret::new(client_assertion),
            scope,
            client_id,
        }),
        // A secret, nothing at all, or an assertion of another kind.
        _ => Err(NOBODY),
    }
}

fn token_endpoint(api: &Api) -> String {
    format!("{}{TOKEN_PATH}", api.mail.base_url())
}

/// What the token endpoint can do (RFC 8414).
#[utoipa::path(get, path = "/.well-known/oauth-authorization-server", tag = TAG, security(()),
    responses((status = 200, description = "What it can do.", body = OauthMetadata)))]
async fn oauth_metadata(State(api): State<Api>) -> Json<OauthMetadata> {
    Json(metadata(&api))
}

/// The same, where systems that know SMART look for it.
#[utoipa::path(get, path = "/.well-known/smart-configuration", tag = TAG, security(()),
    responses((status = 200, description = "What it can do.", body = OauthMetadata)))]
async fn smart_configuration(State(api): State<Api>) -> Json<OauthMetadata> {
    Json(metadata(&api))
}

fn metadata(api: &Api) -> OauthMetadata {
    let algorithms = KeyAlgorithm::ALL.iter().map(|one| one.as_str().to_owned());
    OauthMetadata {
        issuer: api.mail.base_url().to_owned(),
        token_endpoint: token_endpoint(api),
        grant_types_supported: vec![GRANT_TYPE.to_owned()],
        response_types_supported: Vec::new(),
        token_endpoint_auth_methods_supported: vec!["private_key_jwt".to_owned()],
        token_endpoint_auth_signing_alg_values_supported: algorithms.collect(),
        scopes_supported: clients::scopes(Scopes::ALL),
        capabilities: vec![
            "client-confidential-asymmetric".to_owned(),
            "permission-v2".to_owned(),
        ],
    }
}
