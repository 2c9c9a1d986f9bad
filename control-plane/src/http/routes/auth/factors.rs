//! Setting up second factors, and taking them away.

use aws_lc_rs::rand;
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::{HeaderMap, StatusCode};
use medmesh_api_types::Secret;
use medmesh_api_types::factor::{
    Enrolment, Factors, PasskeyAlgorithm, PasskeyCreation, PasskeyKind, PasskeyRegistration, PasskeyRp,
    PasskeySelection, PasskeyUser, RecoveryCodes, TotpConfirm, TotpSetup,
};
use medmesh_base::ProblemCode;
use medmesh_clinic::authz::Action;
use medmesh_clinic::identity::passkey::{self, Expectation, PASSKEY_ALGORITHMS, Registration};
use medmesh_clinic::identity::{
    Factor, RECOVERY_CODE_BYTES, RECOVERY_CODES, RecoveryCode, Standing, TOTP_SECRET_BYTES, TotpSecret,
    device_label, needs_second_factor,
};
use medmesh_store::Tx;
use time::OffsetDateTime;
use utoipa_axum::routes;
use uuid::Uuid;

use super::proving::{descriptor, timeout_ms, with_cookie};
use super::{TAG, bytes_of, text_of};
use crate::http::access::Routes;
use crate::http::caller::{Partial, Signed, StepUp};
use crate::http::challenge::Purpose;
use crate::http::error::ApiError;
use crate::http::extract::{Body, Id};
use crate::http::mapping;
use crate::http::state::Api;

pub(super) fn routes() -> Routes {
    Routes::new()
        .signed(Action::FactorList, routes!(factor_list))
        .signed(Action::TotpBegin, routes!(totp_begin))
        .signed(Action::TotpRemove, routes!(totp_remove))
        .signed(Action::TotpConfirm, routes!(totp_confirm))
        .signed(Action::PasskeyBegin, routes!(passkey_begin))
        .signed(Action::PasskeyAdd, routes!(passkey_add))
        .signed(Action::PasskeyRemove, routes!(passkey_remove))
        .signed(Action::RecoveryCodesReplace, routes!(recovery_codes_replace))
}

/// What the caller can prove themselves with.
#[utoipa::path(get, path = "/v1/auth/mfa", tag = TAG,
    responses((status = 200, description = "The factors.", body = Factors)))]
async fn factor_list(State(api): State<Api>, signed: Signed) -> Result<Json<Factors>, ApiError> {
    let mut tx = api.begin(&signed).await?;
    let factors = tx.factors().await?;
    let passkeys = tx.passkey_list().await?;
    tx.commit().await?;
    Ok(Json(Factors {
        totp: factors.totp.map(mapping::totp),
        passkeys: passkeys.into_iter().map(mapping::passkey).collect(),
        recovery_codes_left: factors.enrolled.recovery_codes,
        is_optional: !needs_second_factor(signed.session.person.roles),
    }))
}

/// Begins to set up an authenticator app. Nothing changes until its first code is confirmed;
/// beginning again forgets the secret given before. `step_up_required` outside of a first setup.
#[utoipa::path(post, path = "/v1/auth/mfa/totp", tag = TAG,
    responses((status = 200, description = "The secret, shown this once.", body = TotpSetup)))]
async fn totp_begin(State(api): State<Api>, Partial(signed): Partial) -> Result<Json<TotpSetup>, ApiError> {
    may_begin(&signed)?;
    let mut bytes = [0; TOTP_SECRET_BYTES];
    rand::fill(&mut bytes).expect("the system has random bytes");
    let secret = TotpSecret::new(bytes);
    let mut tx = api.begin(&signed).await?;
    tx.totp_begin(&secret).await?;
    tx.commit().await?;
    let session = &signed.session;
    Ok(Json(TotpSetup {
        secret: Secret::new(secret.base32()),
        uri: Secret::new(secret.uri(&session.clinic.name, session.person.display_name.expose())),
    }))
}

/// Puts the app into use with its first code, in place of one there was. The first second factor
/// comes with recovery codes.
#[utoipa::path(post, path = "/v1/auth/mfa/totp/confirm", tag = TAG, request_body = TotpConfirm,
    responses((status = 200, description = "In use.", body = Enrolment)))]
async fn totp_confirm(
    State(api): State<Api>,
    Partial(signed): Partial,
    Body { value: confirm, .. }: Body<TotpConfirm>,
) -> Result<Response, ApiError> {
    may_enrol(&signed)?;
    let attempt = api
        .throttle
        .enter_factor(signed.session.id, signed.session.person.id)
        .await?;
    match confirmed(&api, &signed, &confirm).await {
        Ok(answer) => {
            api.throttle.factor_succeeded(attempt).await;
            Ok(answer)
        }
        refused => api.throttle.unless_ours(attempt, refused).await,
    }
}

async fn confirmed(api: &Api, signed: &Signed, confirm: &TotpConfirm) -> Result<Response, ApiError> {
    let code: String = confirm
        .code
        .expose()
        .chars()
        .filter(|c| !c.is_whitespace())
        .collect();
    let mut tx = api.begin(signed).await?;
    if !tx.totp_confirm(&code).await? {
        tx.second_factor_refused().await?;
        tx.commit().await?;
        return Err(ProblemCode::SecondFactorRefused.into());
    }
    enrolled(tx, signed, Factor::Totp).await
}

/// Forgets the authenticator app. 409 when it is the only second factor of somebody who must have one.
#[utoipa::path(delete, path = "/v1/auth/mfa/totp", tag = TAG,
    responses((status = 204, description = "Forgotten.")))]
async fn totp_remove(State(api): State<Api>, signed: StepUp) -> Result<StatusCode, ApiError> {
    let mut tx = api.begin(&signed).await?;
    tx.totp_remove().await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What to give to `navigator.credentials.create`. `step_up_required` outside of a first setup.
#[utoipa::path(post, path = "/v1/auth/mfa/passkeys/options", tag = TAG,
    responses((status = 200, description = "The options.", body = PasskeyCreation)))]
async fn passkey_begin(
    State(api): State<Api>,
    Partial(signed): Partial,
) -> Result<Json<PasskeyCreation>, ApiError> {
    may_begin(&signed)?;
    let mut tx = api.begin(&signed).await?;
    let known = tx.passkey_ids().await?;
    tx.commit().await?;
    let session = &signed.session;
    let challenge = api
        .challenges
        .issue(Purpose::Register(session.id), OffsetDateTime::now_utc());
    let algorithm = |alg: &i64| PasskeyAlgorithm {
        kind: PasskeyKind::PublicKey,
        alg: *alg,
    };
    Ok(Json(PasskeyCreation {
        rp: PasskeyRp {
            id: api.rp_id.clone(),
            name: session.clinic.name.clone(),
        },
        user: PasskeyUser {
            id: BASE64_URL_SAFE_NO_PAD.encode(session.person.id.as_uuid().as_bytes()),
            name: session.person.display_name.clone(),
            display_name: session.person.display_name.clone(),
        },
        challenge: BASE64_URL_SAFE_NO_PAD.encode(challenge),
        pub_key_cred_params: PASSKEY_ALGORITHMS.iter().map(algorithm).collect(),
        timeout: timeout_ms(),
        exclude_credentials: known.iter().map(|id| descriptor(id)).collect(),
        authenticator_selection: PasskeySelection {
            resident_key: "required".to_owned(),
            require_resident_key: true,
            user_verification: "required".to_owned(),
        },
        attestation: "none".to_owned(),
    }))
}

/// Keeps a new passkey. The first second factor comes with recovery codes.
#[utoipa::path(post, path = "/v1/auth/mfa/passkeys", tag = TAG, request_body = PasskeyRegistration,
    responses((status = 200, description = "In use.", body = Enrolment)))]
async fn passkey_add(
    State(api): State<Api>,
    Partial(signed): Partial,
    headers: HeaderMap,
    Body { value: given, .. }: Body<PasskeyRegistration>,
) -> Result<Response, ApiError> {
    may_enrol(&signed)?;
    let refused = || ApiError::new(ProblemCode::SecondFactorRefused);
    let client_data = bytes_of(&given.response.client_data_json).ok_or_else(refused)?;
    let object = bytes_of(&given.response.attestation_object).ok_or_else(refused)?;
    let challenge = passkey::challenge_of(&client_data).ok_or_else(refused)?;
    let purpose = Purpose::Register(signed.session.id);
    let known = api
        .challenges
        .check(purpose, &challenge, OffsetDateTime::now_utc())
        .ok_or_else(refused)?;
    let expected = Expectation {
        challenge: &challenge,
        origins: &api.origins,
        rp_id: &api.rp_id,
    };
    let registration = Registration {
        client_data: &client_data,
        attestation_object: &object,
    };
    let credential = passkey::register(&expected, &registration).map_err(|why| refused().because(why))?;
    let mut tx = api.begin(&signed).await?;
    if !tx.use_once(known.sha256, known.ends_at).await? {
        return Err(refused());
    }
    tx.passkey_add(&credential, &device_label(text_of(&headers, "user-agent")))
        .await?;
    enrolled(tx, &signed, Factor::Passkey).await
}

/// Forgets a passkey. 409 when it is the only second factor of somebody who must have one.
#[utoipa::path(delete, path = "/v1/auth/mfa/passkeys/{id}", tag = TAG, params(("id" = Uuid, Path)),
    responses((status = 204, description = "Forgotten.")))]
async fn passkey_remove(
    State(api): State<Api>,
    signed: StepUp,
    Id(id): Id<Uuid>,
) -> Result<StatusCode, ApiError> {
    let mut tx = api.begin(&signed).await?;
    tx.passkey_remove(id).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// New recovery codes; those before are no longer good.
#[utoipa::path(post, path = "/v1/auth/mfa/recovery-codes", tag = TAG,
    responses((status = 200, description = "The codes, shown this once.", body = RecoveryCodes)))]
async fn recovery_codes_replace(
    State(api): State<Api>,
    signed: StepUp,
) -> Result<Json<RecoveryCodes>, ApiError> {
    let codes = recovery_codes();
    let mut tx = api.begin(&signed).await?;
    tx.recovery_codes_replace(&codes).await?;
    tx.commit().await?;
    Ok(Json(RecoveryCodes {
        recovery_codes: shown(&codes),
    }))
}

/// A first factor is set up with the password alone; another one with a fresh proof.
fn may_begin(signed: &Signed) -> Result<(), ApiError> {
    may_enrol(signed)?;
    match signed.session.standing() {
        Standing::EnrolmentDue => Ok(()),
        _ => signed.check_fresh(),
    }
}

/// Whoever owes a second factor proves the one they have, and does not make another.
fn may_enrol(signed: &Signed) -> Result<(), ApiError> {
    match signed.session.standing() {
        Standing::SecondFactorDue => Err(ProblemCode::MfaRequired.into()),
        Standing::EnrolmentDue | Standing::Full => Ok(()),
    }
}

/// Notes the new factor in the session and commits; with recovery codes if there are none.
async fn enrolled(mut tx: Tx, signed: &Signed, factor: Factor) -> Result<Response, ApiError> {
    let mut codes = Vec::new();
    if signed.session.enrolled.recovery_codes == 0 {
        codes = recovery_codes();
        tx.recovery_codes_replace(&codes).await?;
    }
    let keeps_old = signed.session.standing() == Standing::Full;
    let (session, token) = tx.session_prove(factor, keeps_old).await?;
    tx.commit().await?;
    let enrolment = Enrolment {
        session: mapping::session(&session),
        recovery_codes: shown(&codes),
    };
    Ok((with_cookie(&token), Json(enrolment)).into_response())
}

fn recovery_codes() -> Vec<RecoveryCode> {
    let code = |_| {
        let mut bytes = [0; RECOVERY_CODE_BYTES];
        rand::fill(&mut bytes).expect("the system has random bytes");
        RecoveryCode::new(bytes)
    };
    (0..RECOVERY_CODES).map(code).collect()
}

fn shown(codes: &[RecoveryCode]) -> Vec<Secret> {
    codes.iter().map(|code| Secret::new(code.expose())).collect()
}
