//! Invitations, forgotten passwords, new ones.

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use medmesh_api_types::Secret;
use medmesh_api_types::account::{
    AccountLink, Invitation, InvitationCreate, LinkRedeem, PasswordChange, ResetRequest,
};
use medmesh_base::{ProblemCode, RequestId};
use medmesh_clinic::authz::Action;
use medmesh_clinic::identity::LinkPurpose;
use medmesh_clinic::{Actor, Email, NewPerson, SystemActor};
use medmesh_store::{InvitationSend, JobOptions, LinkToken, PasswordHash};
use time::OffsetDateTime;
use utoipa_axum::routes;

use super::TAG;
use crate::http::access::Routes;
use crate::http::caller::{StepUp, check_origin};
use crate::http::creation::{Claimed, Creation};
use crate::http::error::ApiError;
use crate::http::extract::{Body, IdempotencyKey};
use crate::http::mapping;
use crate::http::password::is_guessable;
use crate::http::server::Peer;
use crate::http::state::Api;

pub(super) fn routes() -> Routes {
    Routes::new()
        .signed(Action::InvitationCreate, routes!(invitation_create))
        .open("who forgot their password cannot sign in", routes!(reset_request))
        .open("the link is the proof", routes!(link_redeem))
        .signed(Action::PasswordChange, routes!(password_change))
}

/// Invites a person: they get a mail with a link and choose their password themselves. Admins only,
/// with a fresh proof. Where the clinic sends no mail the answer holds the link, to be handed over.
#[utoipa::path(post, path = "/v1/invitations", tag = "people", request_body = InvitationCreate,
    params(("Idempotency-Key" = String, Header, min_length = 8, max_length = 64)),
    responses((status = 201, description = "Invited.", body = Invitation)))]
async fn invitation_create(
    State(api): State<Api>,
    signed: StepUp,
    key: IdempotencyKey,
    Body { value: given, bytes }: Body<InvitationCreate>,
) -> Result<Response, ApiError> {
    let new = NewPerson {
        display_name: given.display_name.expose().parse()?,
        email: given.email.expose().parse()?,
        roles: given.roles.iter().copied().map(mapping::role_in).collect(),
        locale: mapping::locale_in(given.locale),
    };
    new.check()?;
    let claimed = Creation::claim(&api, &signed, "invitation_create", key, &[&bytes]).await?;
    let mut creation = match claimed {
        Claimed::New(creation) => creation,
        Claimed::Replay(answer) => return Ok(answer),
    };
    let person = creation.tx.person_invite(&new).await?;
    let link = if api.mail.is_configured() {
        let job = InvitationSend { person_id: person.id };
        creation.tx.job_add(&job, JobOptions::default()).await?;
        None
    } else {
        let token = LinkToken::generate();
        let expires_at = creation
            .tx
            .link_issue(person.id, LinkPurpose::Invitation, &token)
            .await?;
        let to = creation.tx.mail_to(person.id).await?;
        Some(AccountLink {
            url: Secret::new(api.mail.link(to.portal(), &token)),
            expires_at,
        })
    };
    let invitation = Invitation {
        person: mapping::person(person),
        link,
    };
    creation.created(&[], &invitation).await
}

/// Asks for a link that sets a new password. It goes to the address by mail, if somebody has it;
/// the answer is the same for every address, and so is the work before it.
#[utoipa::path(post, path = "/v1/auth/reset", tag = TAG, request_body = ResetRequest, security(()),
    responses((status = 202, description = "Noted.")))]
async fn reset_request(
    State(api): State<Api>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    Body { value: request, .. }: Body<ResetRequest>,
) -> Result<StatusCode, ApiError> {
    check_origin(&headers, &api.origins)?;
    let email = request.email.expose();
    let asked = api
        .throttle
        .enter_reset(email, api.client_address(peer, &headers))
        .await?;
    let noted = match asked.may_send {
        true => note_reset(&api, email).await,
        false => Ok(()),
    };
    api.throttle.unless_ours(asked, noted).await?;
    Ok(StatusCode::ACCEPTED)
}

async fn note_reset(api: &Api, email: &str) -> Result<(), ApiError> {
    // What cannot be an address is nobody's, and takes as long as one that is.
    let email: Email = email.parse().or_else(|_| NOBODY.parse())?;
    api.database.store()?.reset_request(&email).await?;
    Ok(())
}

/// An address nobody can have (RFC 2606).
pub(super) const NOBODY: &str = "nobody@nowhere.invalid";

/// Sets the password by a link, which is then used up; every session of the account ends. Signing in
/// afterwards still takes the second factor. 410 `link_spent` for a link that is old, used or unknown.
#[utoipa::path(post, path = "/v1/auth/link", tag = TAG, request_body = LinkRedeem, security(()),
    responses((status = 204, description = "Set."), (status = 410, description = "`link_spent`")))]
async fn link_redeem(
    State(api): State<Api>,
    Extension(request_id): Extension<RequestId>,
    headers: HeaderMap,
    Body { value: given, .. }: Body<LinkRedeem>,
) -> Result<StatusCode, ApiError> {
    check_origin(&headers, &api.origins)?;
    let spent = || ApiError::new(ProblemCode::LinkSpent);
    let token: LinkToken = given.token.expose().parse().map_err(|_| spent())?;
    let store = api.database.store()?;
    let now = OffsetDateTime::now_utc();
    let link = store.link_lookup(&token, now).await?.ok_or_else(spent)?;
    let actor = Actor::System(SystemActor::Login);
    let mut tx = store.begin(link.who.clinic_id, actor, request_id).await?;
    let to = tx.mail_to(link.who.person_id).await?;
    let clinic = tx.clinic_get().await?;
    tx.rollback().await?;
    check_password(given.password.expose(), &[to.email.expose(), &clinic.name])?;
    let hash = api.passwords.hash(given.password.expose().to_owned()).await?;
    let mut tx = store.begin(link.who.clinic_id, actor, request_id).await?;
    tx.link_redeem(&link, &PasswordHash::from_phc(hash)).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Changes the caller's password; their other devices are signed out.
#[utoipa::path(post, path = "/v1/auth/password", tag = TAG, request_body = PasswordChange,
    responses((status = 204, description = "Changed.")))]
async fn password_change(
    State(api): State<Api>,
    signed: StepUp,
    Body { value: change, .. }: Body<PasswordChange>,
) -> Result<StatusCode, ApiError> {
    let session = &signed.session;
    let mut tx = api.begin(&signed).await?;
    let to = tx.mail_to(session.person.id).await?;
    tx.rollback().await?;
    let own_words = [
        session.person.display_name.expose(),
        to.email.expose(),
        &session.clinic.name,
    ];
    check_password(change.password.expose(), &own_words)?;
    let hash = api.passwords.hash(change.password.expose().to_owned()).await?;
    let mut tx = api.begin(&signed).await?;
    tx.password_change(&PasswordHash::from_phc(hash)).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) fn check_password(password: &str, own_words: &[&str]) -> Result<(), ApiError> {
    if is_guessable(password, own_words) {
        let mut error = ApiError::field("password", "is easy to guess");
        error.code = ProblemCode::Unprocessable;
        return Err(error);
    }
    Ok(())
}
