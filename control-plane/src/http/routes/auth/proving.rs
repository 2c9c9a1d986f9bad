//! Proving oneself: the second step of signing in, and once more before a sensitive act.

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use http::header::SET_COOKIE;
use http::{HeaderMap, HeaderValue};
use medmesh_api_types::factor::{PasskeyAssertion, PasskeyDescriptor, PasskeyKind, PasskeyRequest, Proof};
use medmesh_api_types::session::Session;
use medmesh_base::{ProblemCode, RequestId};
use medmesh_clinic::authz::Action;
use medmesh_clinic::identity::passkey::{self, Assertion, Expectation};
use medmesh_clinic::identity::{Factor, RecoveryCode, Standing, device_label, steps_up};
use medmesh_clinic::{Actor, SystemActor};
use medmesh_store::{Membership, SessionToken, StoreError, Tx};
use time::OffsetDateTime;
use utoipa_axum::routes;

use super::{TAG, bytes_of, text_of};
use crate::http::access::Routes;
use crate::http::caller::{Partial, Signed, check_origin, set_cookie};
use crate::http::challenge::{CHALLENGE_FOR, Purpose};
use crate::http::error::ApiError;
use crate::http::extract::Body;
use crate::http::mapping;
use crate::http::server::Peer;
use crate::http::state::Api;

pub(super) fn routes() -> Routes {
    Routes::new()
        .signed(Action::MfaVerify, routes!(mfa_verify))
        .signed(Action::MfaPasskeyOptions, routes!(mfa_passkey_options))
        .signed(Action::StepUp, routes!(step_up))
        .open(
            "a challenge comes before anyone is known",
            routes!(passkey_options),
        )
        .open("signing in comes before anyone is known", routes!(passkey_login))
}

/// The second step of signing in. The session gets a new cookie and may then do everything.
///
/// 401 `second_factor_refused` for a code that is wrong, old or used, and for a passkey that is
/// not the person's. 429 after five tries.
#[utoipa::path(post, path = "/v1/auth/mfa/verify", tag = TAG, request_body = Proof,
    responses((status = 200, description = "Proved.", body = Session)))]
async fn mfa_verify(
    State(api): State<Api>,
    Partial(signed): Partial,
    Body { value: proof, .. }: Body<Proof>,
) -> Result<Response, ApiError> {
    if signed.session.standing() == Standing::EnrolmentDue {
        return Err(ProblemCode::MfaEnrolmentRequired.into());
    }
    if matches!(proof, Proof::Password { .. }) {
        return Err(ProblemCode::SecondFactorRefused.into());
    }
    prove(&api, signed, proof).await
}

/// Proves again that it is the person, for routes that answer `step_up_required`. Good for five
/// minutes. With a second factor where there is one, else with the password.
#[utoipa::path(post, path = "/v1/auth/step-up", tag = TAG, request_body = Proof,
    responses((status = 200, description = "Proved.", body = Session)))]
async fn step_up(
    State(api): State<Api>,
    signed: Signed,
    Body { value: proof, .. }: Body<Proof>,
) -> Result<Response, ApiError> {
    if !steps_up(factor_of(&proof), signed.session.enrolled) {
        return Err(ProblemCode::SecondFactorRefused.into());
    }
    prove(&api, signed, proof).await
}

/// What to give to `navigator.credentials.get` for `mfa/verify` and `step-up`.
#[utoipa::path(post, path = "/v1/auth/mfa/passkey/options", tag = TAG,
    responses((status = 200, description = "The options.", body = PasskeyRequest)))]
async fn mfa_passkey_options(
    State(api): State<Api>,
    Partial(signed): Partial,
) -> Result<Json<PasskeyRequest>, ApiError> {
    let mut tx = api.begin(&signed).await?;
    let ids = tx.passkey_ids().await?;
    tx.commit().await?;
    Ok(Json(request(&api, Purpose::Prove(signed.session.id), &ids)))
}

/// What to give to `navigator.credentials.get` for signing in with a passkey alone.
#[utoipa::path(post, path = "/v1/auth/passkey/options", tag = TAG, security(()),
    responses((status = 200, description = "The options.", body = PasskeyRequest)))]
async fn passkey_options(
    State(api): State<Api>,
    headers: HeaderMap,
) -> Result<Json<PasskeyRequest>, ApiError> {
    check_origin(&headers, &api.origins)?;
    Ok(Json(request(&api, Purpose::Login, &[])))
}

/// Signs a person in with a passkey that knows whose it is, and sets the session cookie. No
/// password and no second step: the device has checked its owner.
#[utoipa::path(post, path = "/v1/auth/passkey/login", tag = TAG, request_body = PasskeyAssertion, security(()),
    responses((status = 200, description = "Signed in.", body = Session),
        (status = 401, description = "`second_factor_refused`")))]
async fn passkey_login(
    State(api): State<Api>,
    Extension(peer): Extension<Peer>,
    Extension(request_id): Extension<RequestId>,
    headers: HeaderMap,
    Body {
        value: credential, ..
    }: Body<PasskeyAssertion>,
) -> Result<Response, ApiError> {
    check_origin(&headers, &api.origins)?;
    let attempt = api
        .throttle
        .enter(&credential.id, api.client_address(peer, &headers), None)
        .await?;
    let outcome = passkey_sign_in(&api, request_id, &headers, &credential).await;
    let label = if outcome.is_ok() { "accepted" } else { "refused" };
    api.metrics.logins.with_label_values(&[label]).inc();
    if outcome.is_ok() {
        api.throttle.succeeded(attempt).await;
        return outcome;
    }
    api.throttle.unless_ours(attempt, outcome).await
}

async fn passkey_sign_in(
    api: &Api,
    request_id: RequestId,
    headers: &HeaderMap,
    credential: &PasskeyAssertion,
) -> Result<Response, ApiError> {
    let refused = || ApiError::new(ProblemCode::SecondFactorRefused);
    let store = api.database.store()?;
    // One that knows whose it is says so: only such a passkey may stand for name and password.
    if credential.response.user_handle.is_none() {
        return Err(refused());
    }
    let id = bytes_of(&credential.id).ok_or_else(refused)?;
    let Some(who) = store.passkey_lookup(&id).await? else {
        return Err(refused());
    };
    let actor = Actor::System(SystemActor::Login);
    let mut tx = store.begin(who.clinic_id, actor, request_id).await?;
    if !passkey_use(api, &mut tx, &who, Purpose::Login, credential).await? {
        tx.login_refused(&who).await?;
        tx.commit().await?;
        return Err(refused());
    }
    let token = SessionToken::generate();
    let session = tx
        .session_create(
            &who,
            &token,
            Factor::Passkey,
            &device_label(text_of(headers, "user-agent")),
        )
        .await?;
    tx.second_factor_verified().await?;
    tx.commit().await?;
    let cookie = set_cookie(&token.expose(), None);
    Ok(([(SET_COOKIE, cookie)], Json(mapping::session(&session))).into_response())
}

/// Checks the proof, notes it in the session, and answers with the session as it then is.
async fn prove(api: &Api, signed: Signed, proof: Proof) -> Result<Response, ApiError> {
    let session = &signed.session;
    let attempt = api.throttle.enter_factor(session.id, session.person.id).await?;
    match judge(api, &signed, proof).await {
        Ok(answer) => {
            api.throttle.factor_succeeded(attempt).await;
            Ok(answer)
        }
        refused => api.throttle.unless_ours(attempt, refused).await,
    }
}

async fn judge(api: &Api, signed: &Signed, proof: Proof) -> Result<Response, ApiError> {
    let (session, person) = (&signed.session, signed.session.person.id);
    let factor = factor_of(&proof);
    let mut tx = api.begin(signed).await?;
    let is_right = match proof {
        Proof::Password { password } => {
            // Whoever has a session is no stranger.
            let place = api.passwords.place(true)?;
            let stored = tx.password_hash().await?.expose().to_owned();
            // Hashing takes its time, and a core: no connection is held meanwhile.
            tx.rollback().await?;
            let is_right = api
                .passwords
                .verify(place, password.expose().to_owned(), Some(stored))
                .await?;
            tx = api.begin(signed).await?;
            is_right
        }
        Proof::Totp { code } => {
            let code: String = code.expose().chars().filter(|c| !c.is_whitespace()).collect();
            tx.totp_use(&code).await?
        }
        Proof::RecoveryCode { code } => match RecoveryCode::parse(code.expose()) {
            Some(code) => tx.recovery_code_use(&code).await?,
            None => false,
        },
        Proof::Passkey { credential } => {
            let who = Membership {
                account_id: session.account_id,
                clinic_id: session.clinic.id,
                person_id: person,
            };
            passkey_use(api, &mut tx, &who, Purpose::Prove(session.id), &credential).await?
        }
    };
    if !is_right {
        tx.second_factor_refused().await?;
        tx.commit().await?;
        return Err(ProblemCode::SecondFactorRefused.into());
    }
    tx.second_factor_verified().await?;
    let keeps_old = session.standing() == Standing::Full;
    let (session, token) = tx.session_prove(factor, keeps_old).await?;
    tx.commit().await?;
    let cookie = set_cookie(&token.expose(), None);
    Ok(([(SET_COOKIE, cookie)], Json(mapping::session(&session))).into_response())
}

const fn factor_of(proof: &Proof) -> Factor {
    match proof {
        Proof::Password { .. } => Factor::Password,
        Proof::Totp { .. } => Factor::Totp,
        Proof::RecoveryCode { .. } => Factor::RecoveryCode,
        Proof::Passkey { .. } => Factor::Passkey,
    }
}

/// Whether the passkey is this person's and answers a challenge of ours, for the first time.
async fn passkey_use(
    api: &Api,
    tx: &mut Tx,
    who: &Membership,
    purpose: Purpose,
    given: &PasskeyAssertion,
) -> Result<bool, ApiError> {
    let response = &given.response;
    let (Some(id), Some(client_data), Some(data), Some(signature)) = (
        bytes_of(&given.id),
        bytes_of(&response.client_data_json),
        bytes_of(&response.authenticator_data),
        bytes_of(&response.signature),
    ) else {
        return Ok(false);
    };
    let handle = response
        .user_handle
        .as_deref()
        .map(|text| bytes_of(text).unwrap_or_default());
    let Some(challenge) = passkey::challenge_of(&client_data) else {
        return Ok(false);
    };
    let Some(known) = api
        .challenges
        .check(purpose, &challenge, OffsetDateTime::now_utc())
    else {
        return Ok(false);
    };
    let (row, stored) = match tx.passkey_get(who.person_id, &id).await {
        Ok(found) => found,
        Err(StoreError::NotFound) => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    let expected = Expectation {
        challenge: &challenge,
        origins: &api.origins,
        rp_id: &api.rp_id,
    };
    let assertion = Assertion {
        client_data: &client_data,
        authenticator_data: &data,
        signature: &signature,
        user_handle: handle.as_deref(),
    };
    let asserted =
        match passkey::authenticate(&expected, &stored, who.person_id.as_uuid().as_bytes(), &assertion) {
            Ok(asserted) => asserted,
            Err(why) => {
                tracing::warn!(%why, "passkey refused");
                return Ok(false);
            }
        };
    if !tx.use_once(known.sha256, known.ends_at).await? {
        return Ok(false);
    }
    tx.passkey_used(row, asserted).await?;
    Ok(true)
}

fn request(api: &Api, purpose: Purpose, ids: &[Vec<u8>]) -> PasskeyRequest {
    use base64::Engine as _;
    use base64::prelude::BASE64_URL_SAFE_NO_PAD;
    PasskeyRequest {
        challenge: BASE64_URL_SAFE_NO_PAD.encode(api.challenges.issue(purpose, OffsetDateTime::now_utc())),
        timeout: timeout_ms(),
        rp_id: api.rp_id.clone(),
        allow_credentials: ids.iter().map(|id| descriptor(id)).collect(),
        user_verification: "required".to_owned(),
    }
}

pub(super) fn descriptor(id: &[u8]) -> PasskeyDescriptor {
    use base64::Engine as _;
    use base64::prelude::BASE64_URL_SAFE_NO_PAD;
    PasskeyDescriptor {
        kind: PasskeyKind::PublicKey,
        id: BASE64_URL_SAFE_NO_PAD.encode(id),
    }
}

pub(super) fn timeout_ms() -> u32 {
    u32::try_from(CHALLENGE_FOR.whole_milliseconds()).expect("minutes")
}

/// The session's new cookie beside a body.
pub(super) fn with_cookie(token: &SessionToken) -> [(http::HeaderName, HeaderValue); 1] {
    [(SET_COOKIE, set_cookie(&token.expose(), None))]
}
