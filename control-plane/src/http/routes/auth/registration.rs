//! Patients who register themselves.

use axum::Extension;
use axum::extract::State;
use http::{HeaderMap, StatusCode};
use medmesh_api_types::account::{RegistrationComplete, RegistrationRequest};
use medmesh_base::{ProblemCode, RequestId};
use medmesh_clinic::{Actor, DisplayName, Email, SystemActor};
use medmesh_store::{LinkToken, PasswordHash};
use time::OffsetDateTime;
use utoipa_axum::routes;

use super::TAG;
use super::links::{NOBODY, check_password};
use crate::http::access::Routes;
use crate::http::caller::check_origin;
use crate::http::error::ApiError;
use crate::http::extract::Body;
use crate::http::mapping;
use crate::http::server::Peer;
use crate::http::state::Api;

pub(super) fn routes() -> Routes {
    Routes::new()
        .open("who registers is not known yet", routes!(registration_request))
        .open("the link is the proof", routes!(registration_complete))
}

/// Asks to register as a patient of a clinic that lets patients do so; 404 where none does. A link
/// goes to the address by mail, or word that it has an account; the answer is the same for every
/// address, and so is the work before it.
#[utoipa::path(post, path = "/v1/auth/registration", tag = TAG, request_body = RegistrationRequest, security(()),
    responses((status = 202, description = "Noted."), (status = 404, description = "`not_found`")))]
async fn registration_request(
    State(api): State<Api>,
    Extension(peer): Extension<Peer>,
    Extension(request_id): Extension<RequestId>,
    headers: HeaderMap,
    Body { value: request, .. }: Body<RegistrationRequest>,
) -> Result<StatusCode, ApiError> {
    check_origin(&headers, &api.origins)?;
    // Without mail no mailbox can be proved.
    if !api.mail.is_configured() {
        return Err(ProblemCode::NotFound.into());
    }
    let email = request.email.expose();
    let asked = api
        .throttle
        .enter_registration(email, api.client_address(peer, &headers))
        .await?;
    let noted = match asked.may_send {
        true => note(&api, &request, request_id).await,
        false => Ok(()),
    };
    api.throttle.unless_ours(asked, noted).await?;
    Ok(StatusCode::ACCEPTED)
}

async fn note(api: &Api, request: &RegistrationRequest, request_id: RequestId) -> Result<(), ApiError> {
    // What cannot be an address is nobody's, and takes as long as one that is.
    let email: Email = request.email.expose().parse().or_else(|_| NOBODY.parse())?;
    let locale = mapping::locale_in(request.locale);
    let store = api.database.store()?;
    store
        .registration_request(request.clinic_id, &email, locale, request_id)
        .await?;
    Ok(())
}

/// Completes a registration by its link, which is then used up: the person is a patient of the clinic
/// and signs in with this password. 410 `link_spent` for a link that is old, used or unknown.
#[utoipa::path(post, path = "/v1/auth/registration/complete", tag = TAG, request_body = RegistrationComplete,
    security(()), responses((status = 204, description = "Registered."), (status = 404, description = "`not_found`"),
        (status = 409, description = "`state_conflict`"), (status = 410, description = "`link_spent`")))]
async fn registration_complete(
    State(api): State<Api>,
    Extension(request_id): Extension<RequestId>,
    headers: HeaderMap,
    Body { value: given, .. }: Body<RegistrationComplete>,
) -> Result<StatusCode, ApiError> {
    check_origin(&headers, &api.origins)?;
    let spent = || ApiError::new(ProblemCode::LinkSpent);
    let token: LinkToken = given.token.expose().parse().map_err(|_| spent())?;
    let name: DisplayName = given.display_name.expose().parse()?;
    let store = api.database.store()?;
    let now = OffsetDateTime::now_utc();
    let proved = store.registration_lookup(&token, now).await?.ok_or_else(spent)?;
    let actor = Actor::System(SystemActor::Registration);
    let mut tx = store.begin(proved.clinic_id, actor, request_id).await?;
    let email = tx.registration_address(&proved).await?;
    let clinic = tx.clinic_get().await?;
    // Hashing takes its time, and a core: no connection is held meanwhile.
    tx.rollback().await?;
    check_password(
        given.password.expose(),
        &[name.expose(), email.expose(), &clinic.name],
    )?;
    let hash = api.passwords.hash(given.password.expose().to_owned()).await?;
    let mut tx = store.begin(proved.clinic_id, actor, request_id).await?;
    tx.registration_complete(&proved, name, &PasswordHash::from_phc(hash))
        .await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}
