//! Signing in and out.

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use http::header::SET_COOKIE;
use http::{HeaderMap, HeaderValue, StatusCode};
use medmesh_api_types::session::{LoginRequest, SESSION_COOKIE, Session};
use medmesh_base::{ProblemCode, RequestId};
use medmesh_clinic::{Actor, Email, SystemActor};
use medmesh_store::{Login, Membership, SessionToken};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::http::caller::{Signed, check_origin};
use crate::http::error::ApiError;
use crate::http::extract::Body;
use crate::http::mapping;
use crate::http::server::Peer;
use crate::http::state::Api;

const TAG: &str = "auth";

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(auth_login))
        .routes(routes!(auth_session))
        .routes(routes!(auth_logout))
}

/// Signs a person in and sets the session cookie.
///
/// A wrong address and a wrong password are answered alike. Too many tries are answered
/// with 429 and `Retry-After`.
#[utoipa::path(post, path = "/v1/auth/login", tag = TAG, request_body = LoginRequest, security(()),
    responses((status = 200, description = "Signed in.", body = Session)))]
async fn auth_login(
    State(api): State<Api>,
    Extension(peer): Extension<Peer>,
    Extension(request_id): Extension<RequestId>,
    headers: HeaderMap,
    Body { value: login, .. }: Body<LoginRequest>,
) -> Result<Response, ApiError> {
    check_origin(&headers, &api.origins)?;
    let outcome = sign_in(&api, api.client_address(peer, &headers), request_id, login).await;
    let label = match &outcome {
        Ok(_) => "accepted",
        Err(error) if error.code == ProblemCode::LoginFailed => "refused",
        Err(error) if error.code == ProblemCode::RateLimited => "throttled",
        Err(_) => "failed",
    };
    api.metrics.logins.with_label_values(&[label]).inc();
    let (session, token) = outcome?;
    let cookie = set_cookie(&token.expose(), None);
    Ok(([(SET_COOKIE, cookie)], Json(mapping::session(&session, &token))).into_response())
}

async fn sign_in(
    api: &Api,
    address: std::net::IpAddr,
    request_id: RequestId,
    login: LoginRequest,
) -> Result<(medmesh_store::Session, SessionToken), ApiError> {
    let attempt = api.throttle.enter(login.email.expose(), address).await?;
    let store = api.database.store()?;
    // What cannot be an address is nobody's, and takes as long as one that is.
    let known: Option<Login> = match login.email.expose().parse::<Email>() {
        Ok(email) => store.login_lookup(&email).await?,
        Err(_) => None,
    };
    let stored = known.as_ref().map(|known| known.password.expose().to_owned());
    let is_right = api
        .passwords
        .verify(login.password.expose().to_owned(), stored)
        .await?;
    let membership = known.and_then(|known| known.memberships.first().copied());
    match membership {
        Some(membership) if is_right => {
            let token = SessionToken::generate();
            let actor = Actor::System(SystemActor::Login);
            let mut tx = store.begin(membership.clinic_id, actor, request_id).await?;
            let session = tx.session_create(&membership, &token).await?;
            tx.commit().await?;
            api.throttle.succeeded(attempt).await;
            Ok((session, token))
        }
        membership => {
            if let Some(membership) = membership {
                record_refusal(api, membership, request_id);
            }
            Err(ProblemCode::LoginFailed.into())
        }
    }
}

/// Writes the audit leaf of a wrong password after the answer: waiting for it would tell
/// by the clock which addresses exist.
fn record_refusal(api: &Api, membership: Membership, request_id: RequestId) {
    let database = api.database.clone();
    api.drain.spawn(async move {
        let record = async {
            let actor = Actor::System(SystemActor::Login);
            let mut tx = database
                .store()?
                .begin(membership.clinic_id, actor, request_id)
                .await?;
            tx.login_refused(&membership).await?;
            tx.commit().await?;
            Ok::<_, ApiError>(())
        };
        if let Err(error) = record.await {
            tracing::error!(code = error.code.code(), %request_id, "refused login not recorded");
        }
    });
}

/// Who is signed in.
#[utoipa::path(get, path = "/v1/auth/session", tag = TAG,
    responses((status = 200, description = "The session.", body = Session)))]
async fn auth_session(signed: Signed) -> Json<Session> {
    Json(mapping::session(&signed.session, &signed.token))
}

/// Ends the session and clears the cookie.
#[utoipa::path(post, path = "/v1/auth/logout", tag = TAG,
    responses((status = 204, description = "Signed out.")))]
async fn auth_logout(State(api): State<Api>, signed: Signed) -> Result<Response, ApiError> {
    let mut tx = api.begin(&signed).await?;
    tx.session_revoke().await?;
    tx.commit().await?;
    let cookie = set_cookie("", Some(0));
    Ok((StatusCode::NO_CONTENT, [(SET_COOKIE, cookie)]).into_response())
}

/// The session cookie; it ends with the browser, or at once.
fn set_cookie(value: &str, max_age: Option<u32>) -> HeaderValue {
    let max_age = max_age
        .map(|seconds| format!("; Max-Age={seconds}"))
        .unwrap_or_default();
    let text = format!("{SESSION_COOKIE}={value}; Path=/; Secure; HttpOnly; SameSite=Strict{max_age}");
    HeaderValue::from_str(&text).expect("base64url and our own words are header text")
}
