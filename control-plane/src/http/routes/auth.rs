//! Signing in and out.

mod devices;
mod factor_names;
mod factors;
mod links;
mod oidc;
mod proving;
mod registration;

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use axum_extra::extract::CookieJar;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::header::SET_COOKIE;
use http::{HeaderMap, HeaderValue, StatusCode};
use medmesh_api_types::session::{LoginRequest, Session};
use medmesh_base::{ProblemCode, RequestId};
use medmesh_clinic::authz::Action;
use medmesh_clinic::identity::{Factor, device_label};
use medmesh_clinic::{Actor, Email, SystemActor};
use medmesh_store::{Login, Membership, SessionToken};
use utoipa_axum::routes;

use crate::http::access::Routes;
use crate::http::caller::{Partial, check_origin, set_cookie};
use crate::http::error::ApiError;
use crate::http::extract::Body;
use crate::http::mapping;
use crate::http::password::Place;
use crate::http::server::Peer;
use crate::http::state::Api;

const TAG: &str = "auth";

pub(super) fn routes() -> Routes {
    Routes::new()
        .open("signing in comes before anyone is known", routes!(auth_login))
        .signed(Action::AuthSession, routes!(auth_session))
        .signed(Action::AuthLogout, routes!(auth_logout))
        .merge(proving::routes())
        .merge(factors::routes())
        .merge(factor_names::routes())
        .merge(devices::routes())
        .merge(links::routes())
        .merge(oidc::routes())
        .merge(registration::routes())
}

/// Signs a person in and sets the session cookie.
///
/// A person with a second factor, and everybody who must have one, gets a session that may only
/// prove or set up that: `standing` says which. A wrong address and a wrong password are answered alike. Too many tries are answered
/// with 429 and `Retry-After`.
#[utoipa::path(post, path = "/v1/auth/login", tag = TAG, request_body = LoginRequest, security(()),
    responses((status = 200, description = "Signed in.", body = Session),
        (status = 401, description = "`login_failed`")))]
async fn auth_login(
    State(api): State<Api>,
    Extension(peer): Extension<Peer>,
    Extension(request_id): Extension<RequestId>,
    headers: HeaderMap,
    Body { value: login, .. }: Body<LoginRequest>,
) -> Result<Response, ApiError> {
    check_origin(&headers, &api.origins)?;
    let from = Origin {
        address: api.client_address(peer, &headers),
        device: device_label(text_of(&headers, "user-agent")),
        known: device_cookie(&headers),
    };
    let email = login.email.expose().to_owned();
    let outcome = sign_in(&api, from, request_id, login).await;
    let label = match &outcome {
        Ok(_) => "accepted",
        Err(error) if error.code == ProblemCode::LoginFailed => "refused",
        Err(error) if error.code == ProblemCode::RateLimited => "throttled",
        Err(_) => "failed",
    };
    api.metrics.logins.with_label_values(&[label]).inc();
    let (session, token) = outcome?;
    let mut answer = Json(mapping::session(&session)).into_response();
    for cookie in [
        set_cookie(&token.expose(), None),
        set_device_cookie(&api.throttle.device_token(&email)),
    ] {
        answer.headers_mut().append(SET_COOKIE, cookie);
    }
    Ok(answer)
}

/// The cookie by which a browser that has signed in is known; it opens nothing.
const DEVICE_COOKIE: &str = "__Host-medmesh_device";
/// How long a browser is known, seconds: from one yearly check-up to the next.
const DEVICE_SECONDS: u32 = 400 * 24 * 60 * 60;

fn device_cookie(headers: &HeaderMap) -> Option<String> {
    let jar = CookieJar::from_headers(headers);
    jar.get(DEVICE_COOKIE).map(|cookie| cookie.value().to_owned())
}

fn set_device_cookie(token: &str) -> HeaderValue {
    let text = format!(
        "{DEVICE_COOKIE}={token}; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age={DEVICE_SECONDS}"
    );
    HeaderValue::from_str(&text).expect("base64url and our own words are header text")
}

/// Where a try comes from.
struct Origin {
    address: std::net::IpAddr,
    device: String,
    known: Option<String>,
}

async fn sign_in(
    api: &Api,
    from: Origin,
    request_id: RequestId,
    login: LoginRequest,
) -> Result<(medmesh_store::Session, SessionToken), ApiError> {
    // First of all: what is shed costs neither a look-up nor one of the account's tries.
    let is_known = api.throttle.is_known(login.email.expose(), from.known.as_deref());
    let place = api.passwords.place(is_known)?;
    let attempt = api
        .throttle
        .enter(login.email.expose(), from.address, from.known.as_deref())
        .await?;
    match judge(api, place, from.device, request_id, login).await {
        Ok(Some(signed_in)) => {
            api.throttle.succeeded(attempt).await;
            Ok(signed_in)
        }
        Ok(None) => Err(ProblemCode::LoginFailed.into()),
        Err(error) => {
            api.throttle.unjudged(attempt).await;
            Err(error)
        }
    }
}

/// Begins a session where the password is right.
///
/// # Errors
/// What failed here: nothing was learned of the password.
async fn judge(
    api: &Api,
    place: Place,
    device: String,
    request_id: RequestId,
    login: LoginRequest,
) -> Result<Option<(medmesh_store::Session, SessionToken)>, ApiError> {
    let store = api.database.store()?;
    // What cannot be an address is nobody's, and takes as long as one that is.
    let known: Option<Login> = match login.email.expose().parse::<Email>() {
        Ok(email) => store.login_lookup(&email).await?,
        Err(_) => None,
    };
    let stored = known.as_ref().map(|known| known.password.expose().to_owned());
    let is_right = api
        .passwords
        .verify(place, login.password.expose().to_owned(), stored)
        .await?;
    let membership = known.and_then(|known| known.memberships.first().copied());
    match membership {
        Some(membership) if is_right => {
            let token = SessionToken::generate();
            let actor = Actor::System(SystemActor::Login);
            let mut tx = store.begin(membership.clinic_id, actor, request_id).await?;
            let session = tx
                .session_create(&membership, &token, Factor::Password, &device)
                .await?;
            tx.commit().await?;
            Ok(Some((session, token)))
        }
        membership => {
            if let Some(membership) = membership {
                record_refusal(api, membership, request_id);
            }
            Ok(None)
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

/// Who is signed in, and what the session may do.
#[utoipa::path(get, path = "/v1/auth/session", tag = TAG,
    responses((status = 200, description = "The session.", body = Session)))]
async fn auth_session(Partial(signed): Partial) -> Json<Session> {
    Json(mapping::session(&signed.session))
}

/// Ends the session and clears the cookie.
#[utoipa::path(post, path = "/v1/auth/logout", tag = TAG,
    responses((status = 204, description = "Signed out.")))]
async fn auth_logout(State(api): State<Api>, Partial(signed): Partial) -> Result<Response, ApiError> {
    let mut tx = api.begin(&signed).await?;
    tx.session_end().await?;
    tx.commit().await?;
    let cookie = set_cookie("", Some(0));
    Ok((StatusCode::NO_CONTENT, [(SET_COOKIE, cookie)]).into_response())
}

/// A header as text; empty when it is absent or is none.
fn text_of<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    value.unwrap_or_default()
}

/// What base64url stands for, with or without padding.
fn bytes_of(text: &str) -> Option<Vec<u8>> {
    BASE64_URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok()
}
