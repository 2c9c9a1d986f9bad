//! Signing in with an outside OpenID provider, linking an identity there, and which provider it is.

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use axum_extra::extract::CookieJar;
use http::header::{ETAG, LOCATION, SET_COOKIE};
use http::{HeaderMap, HeaderValue, StatusCode};
use medmesh_api_types::oidc::{
    OidcAccept, OidcCallbackQuery, OidcOffer, OidcOfferQuery, OidcProvider, OidcProviderSet, OidcStart,
    OidcStartQuery, OutsideIdentity, Portal,
};
use medmesh_api_types::page::List;
use medmesh_base::{ClinicId, IdentityId, ProblemCode, RequestId};
use medmesh_clinic::authz::Action;
use medmesh_clinic::identity::device_label;
use medmesh_clinic::identity::oidc::OutsideIdentity as Known;
use medmesh_clinic::{Actor, Refusal, SystemActor, Version};
use medmesh_store::{LinkToken, MailTo, Session, SessionToken, StoreError};
use time::OffsetDateTime;
use utoipa_axum::routes;

use super::{TAG, text_of};
use crate::http::access::Routes;
use crate::http::caller::{Signed, StepUp, check_origin, set_cookie};
use crate::http::error::ApiError;
use crate::http::extract::{Body, Id, IfMatch, Query};
use crate::http::server::Peer;
use crate::http::state::Api;
use crate::oidc::{CODE_BYTES_MAX, Flow, FlowPurpose, OidcError};

/// The cookie of a sign-in under way. `Lax`, because the way back begins on the provider's page.
const FLOW_COOKIE: &str = "__Host-medmesh_oidc";
/// How long the browser keeps it, seconds: as long as it is good.
const FLOW_SECONDS: i64 = crate::oidc::FLOW_FOR.whole_seconds();

pub(super) fn routes() -> Routes {
    Routes::new()
        .open(
            "a page to sign in comes before anyone is known",
            routes!(oidc_offers),
        )
        .open("signing in comes before anyone is known", routes!(oidc_start))
        .open("the provider sends somebody back", routes!(oidc_callback))
        .open("the link is the proof", routes!(oidc_accept))
        .signed(Action::OidcLink, routes!(oidc_link))
        .signed(Action::IdentityList, routes!(identity_list))
        .signed(Action::IdentityUnlink, routes!(identity_unlink))
        .signed(Action::OidcProviderGet, routes!(oidc_provider_get))
        .signed(Action::OidcProviderSet, routes!(oidc_provider_set))
}

/// Whose own sign-in a page may offer: none or one, whichever clinic is asked about. It says no more than
/// the page then shows.
#[utoipa::path(get, path = "/v1/auth/oidc/offers", tag = TAG, params(OidcOfferQuery), security(()),
    responses((status = 200, description = "What to offer.", body = List<OidcOffer>)))]
async fn oidc_offers(
    State(api): State<Api>,
    Query(query): Query<OidcOfferQuery>,
) -> Result<Json<List<OidcOffer>>, ApiError> {
    let wanted = query.clinic_id.map(ClinicId::from_uuid);
    let found = api.database.store()?.oidc_offer(wanted).await?;
    let items = found.into_iter().map(|(clinic_id, clinic_name)| OidcOffer {
        clinic_id,
        clinic_name,
    });
    Ok(Json(List {
        items: items.collect(),
    }))
}

/// Sends the browser to the clinic's provider to sign in; or back to the portal, with `oidc=refused` and the
/// code of a problem, when that cannot be: the password works all the same.
#[utoipa::path(get, path = "/v1/auth/oidc/start", tag = TAG, params(OidcStartQuery), security(()),
    responses((status = 303, description = "To the provider, or back.")))]
async fn oidc_start(
    State(api): State<Api>,
    Extension(peer): Extension<Peer>,
    Extension(request_id): Extension<RequestId>,
    headers: HeaderMap,
    Query(query): Query<OidcStartQuery>,
) -> Result<Response, ApiError> {
    let went = api
        .throttle
        .enter_provider(api.client_address(peer, &headers))
        .await?;
    let clinic = ClinicId::from_uuid(query.clinic_id);
    let begun = begin(&api, clinic, (FlowPurpose::Login, query.portal), request_id).await;
    let (url, cookie) = match api.throttle.unless_ours(went, begun).await {
        Ok(begun) => begun,
        Err(error) => return sent_back(&api, &Return::to(query.portal), error),
    };
    let location = HeaderValue::from_str(&url).map_err(|_| ProblemCode::ProviderUnavailable)?;
    Ok((
        StatusCode::SEE_OTHER,
        [(LOCATION, location), (SET_COOKIE, cookie)],
    )
        .into_response())
}

/// Begins to accept an invitation with an identity at the clinic's provider, in place of a password.
/// 410 `link_spent` for a link that is old, used or unknown.
#[utoipa::path(post, path = "/v1/auth/oidc/accept", tag = TAG, request_body = OidcAccept, security(()),
    responses((status = 200, description = "Where to go.", body = OidcStart), (status = 404, description = "`not_found`"),
        (status = 410, description = "`link_spent`")))]
async fn oidc_accept(
    State(api): State<Api>,
    Extension(peer): Extension<Peer>,
    Extension(request_id): Extension<RequestId>,
    headers: HeaderMap,
    Body { value: given, .. }: Body<OidcAccept>,
) -> Result<Response, ApiError> {
    check_origin(&headers, &api.origins)?;
    let went = api
        .throttle
        .enter_provider(api.client_address(peer, &headers))
        .await?;
    let begun = accept(&api, &given, request_id).await;
    let (url, cookie) = api.throttle.unless_ours(went, begun).await?;
    Ok(start(url, cookie))
}

async fn accept(
    api: &Api,
    given: &OidcAccept,
    request_id: RequestId,
) -> Result<(String, HeaderValue), ApiError> {
    let spent = || ApiError::new(ProblemCode::LinkSpent);
    let token: LinkToken = given.token.expose().parse().map_err(|_| spent())?;
    let link = api
        .database
        .store()?
        .link_lookup(&token, OffsetDateTime::now_utc())
        .await?;
    let link = link.ok_or_else(spent)?;
    let purpose = (FlowPurpose::Invitation(token.expose()), given.portal);
    begin(api, link.who.clinic_id, purpose, request_id).await
}

/// Begins to link an identity at the clinic's provider to the caller, who has just proved themselves.
#[utoipa::path(post, path = "/v1/auth/oidc/link", tag = TAG,
    responses((status = 200, description = "Where to go.", body = OidcStart), (status = 404, description = "`not_found`")))]
async fn oidc_link(State(api): State<Api>, signed: StepUp) -> Result<Response, ApiError> {
    let portal = Some(portal_of(&signed.session));
    let purpose = (FlowPurpose::Link(signed.session.id), portal);
    let (url, cookie) = begin(&api, signed.session.clinic.id, purpose, signed.request_id).await?;
    Ok(start(url, cookie))
}

fn start(authorization_url: String, cookie: HeaderValue) -> Response {
    ([(SET_COOKIE, cookie)], Json(OidcStart { authorization_url })).into_response()
}

async fn begin(
    api: &Api,
    clinic: ClinicId,
    (purpose, portal): (FlowPurpose, Option<Portal>),
    request_id: RequestId,
) -> Result<(String, HeaderValue), ApiError> {
    let client = api.database.store()?.oidc_client(clinic, request_id).await?;
    let flow = Flow::begin(clinic, purpose, OffsetDateTime::now_utc()).at(portal);
    let url = api
        .oidc
        .authorization_url(&client, &redirect_uri(api), &flow)
        .await
        .map_err(|error| problem(&error))?;
    Ok((url, flow_cookie(&api.flows.write(&flow), FLOW_SECONDS)))
}

fn flow_cookie(value: &str, seconds: i64) -> HeaderValue {
    let text = format!("{FLOW_COOKIE}={value}; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age={seconds}");
    HeaderValue::from_str(&text).expect("base64url and our own words are header text")
}

fn redirect_uri(api: &Api) -> String {
    format!("{}/v1/auth/oidc/callback", api.mail.base_url())
}

/// Where the provider sends the browser back: signs in, links, or accepts the invitation, as it was
/// begun, and goes on to the portal. When what comes back is not believed, or nobody here is meant by it, it
/// goes there too, with `oidc=refused` and the code of a problem: `provider_refused`, `identity_unlinked`,
/// `link_spent`, …
#[utoipa::path(get, path = "/v1/auth/oidc/callback", tag = TAG, params(OidcCallbackQuery), security(()),
    responses((status = 303, description = "To the portal.")))]
async fn oidc_callback(
    State(api): State<Api>,
    Extension(peer): Extension<Peer>,
    Extension(request_id): Extension<RequestId>,
    headers: HeaderMap,
    Query(query): Query<OidcCallbackQuery>,
) -> Result<Response, ApiError> {
    let now = OffsetDateTime::now_utc();
    let flow = CookieJar::from_headers(&headers)
        .get(FLOW_COOKIE)
        .and_then(|cookie| api.flows.read(cookie.value(), &query.state, now));
    let back = flow.as_ref().map_or(Return::to(None), Return::of);
    let outcome = match &flow {
        Some(flow) => {
            let outcome = come_back(&api, request_id, &headers, flow, query).await;
            let address = api.client_address(peer, &headers);
            // Whoever has to go again because of us has not gone yet. Linking was never counted.
            match matches!(flow.purpose, FlowPurpose::Link(_)) {
                true => outcome,
                false => {
                    let went = api.throttle.went_to_provider(address);
                    api.throttle.unless_ours(went, outcome).await
                }
            }
        }
        None => Err(ProblemCode::ProviderRefused.into()),
    };
    let label = match &outcome {
        Ok(_) => "accepted",
        Err(error) if error.code == ProblemCode::ProviderUnavailable => "failed",
        Err(_) => "refused",
    };
    api.metrics.logins.with_label_values(&[label]).inc();
    let mut answer = match outcome {
        Ok((portal, session)) => {
            let mut answer = back.or(portal).answer(&api, None)?;
            if let Some(token) = session {
                let cookie = set_cookie(&token.expose(), None);
                answer.headers_mut().append(SET_COOKIE, cookie);
            }
            answer
        }
        Err(error) => sent_back(&api, &back, error)?,
    };
    // A flow that is not this browser's stays as it is: its own may still be under way.
    if flow.is_some() {
        answer.headers_mut().append(SET_COOKIE, flow_cookie("", 0));
    }
    Ok(answer)
}

/// Where a browser goes that was away at a provider.
#[derive(Clone, Copy)]
struct Return {
    /// The chooser, when nobody said.
    portal: Option<Portal>,
    /// Whether it was the account page that sent it.
    to_account: bool,
}

impl Return {
    const fn to(portal: Option<Portal>) -> Self {
        Self {
            portal,
            to_account: false,
        }
    }

    const fn of(flow: &Flow) -> Self {
        Self {
            portal: flow.portal,
            to_account: matches!(flow.purpose, FlowPurpose::Link(_)),
        }
    }

    /// The same, at this portal unless there is one.
    fn or(self, portal: Portal) -> Self {
        Self {
            portal: self.portal.or(Some(portal)),
            ..self
        }
    }

    /// The way there; with why nothing came of it. Nothing of the provider's is in the address.
    fn answer(self, api: &Api, refusal: Option<ProblemCode>) -> Result<Response, ApiError> {
        let portal = self
            .portal
            .map_or(String::new(), |portal| format!("{}/", portal.as_str()));
        let page = if self.to_account { "account" } else { "" };
        let why = refusal.map_or(String::new(), |code| {
            format!("?oidc=refused&code={}", code.code())
        });
        let location = format!("{}/{portal}{page}{why}", api.mail.base_url());
        let location = HeaderValue::from_str(&location).map_err(|_| ProblemCode::Internal)?;
        Ok((StatusCode::SEE_OTHER, [(LOCATION, location)]).into_response())
    }
}

/// Back to the portal with what a person can be told; what is our own fault stays a problem.
fn sent_back(api: &Api, back: &Return, error: ApiError) -> Result<Response, ApiError> {
    match error.code {
        ProblemCode::ProviderRefused
        | ProblemCode::ProviderUnavailable
        | ProblemCode::IdentityUnlinked
        | ProblemCode::LinkSpent
        | ProblemCode::NotFound
        | ProblemCode::StateConflict
        | ProblemCode::Unauthenticated
        | ProblemCode::Unavailable => back.answer(api, Some(error.code)),
        _ => Err(error),
    }
}

type CameBack = (Portal, Option<SessionToken>);

async fn come_back(
    api: &Api,
    request_id: RequestId,
    headers: &HeaderMap,
    flow: &Flow,
    query: OidcCallbackQuery,
) -> Result<CameBack, ApiError> {
    let refused = || ApiError::new(ProblemCode::ProviderRefused);
    let store = api.database.store()?;
    let client = store.oidc_client(flow.clinic, request_id).await?;
    if query.iss.is_some_and(|issuer| issuer != client.provider.issuer) || query.error.is_some() {
        return Err(refused());
    }
    let code = query
        .code
        .filter(|code| !code.is_empty() && code.len() <= CODE_BYTES_MAX)
        .ok_or_else(refused)?;
    // Before anything is asked of the provider, and on every node: one state, one answer.
    let actor = Actor::System(SystemActor::Login);
    let mut tx = store.begin(flow.clinic, actor, request_id).await?;
    let first = tx.use_once(flow.sha256(), flow.ends_at()).await?;
    tx.commit().await?;
    if !first {
        return Err(refused());
    }
    let identity = api
        .oidc
        .redeem(&client, &redirect_uri(api), flow, &code)
        .await
        .map_err(|error| problem(&error))?;
    finish(api, request_id, headers, flow, &identity).await
}

async fn finish(
    api: &Api,
    request_id: RequestId,
    headers: &HeaderMap,
    flow: &Flow,
    identity: &Known,
) -> Result<CameBack, ApiError> {
    let store = api.database.store()?;
    let now = OffsetDateTime::now_utc();
    let actor = Actor::System(SystemActor::Login);
    if let FlowPurpose::Link(session) = &flow.purpose {
        let session = store.session_check(flow.clinic, *session, now, false).await?;
        let session = session.ok_or(ProblemCode::Unauthenticated)?;
        let actor = Actor::Person(session.caller());
        let mut tx = store.begin(flow.clinic, actor, request_id).await?;
        tx.identity_link(session.person.id, identity).await?;
        tx.commit().await?;
        return Ok((portal_of(&session), None));
    }
    let link = match &flow.purpose {
        FlowPurpose::Invitation(token) => {
            let token: LinkToken = token.parse().map_err(|_| Refusal::LinkSpent)?;
            Some(store.link_lookup(&token, now).await?.ok_or(Refusal::LinkSpent)?)
        }
        FlowPurpose::Login | FlowPurpose::Link(_) => None,
    };
    let mut tx = store.begin(flow.clinic, actor, request_id).await?;
    if let Some(link) = &link {
        tx.invitation_link(link, identity).await?;
    }
    let token = SessionToken::generate();
    let label = device_label(text_of(headers, "user-agent"));
    let session = match tx.identity_sign_in(identity, &token, &label).await {
        Err(StoreError::NotFound) => return Err(ProblemCode::IdentityUnlinked.into()),
        signed_in => signed_in?,
    };
    tx.commit().await?;
    Ok((portal_of(&session), Some(token)))
}

fn portal_of(session: &Session) -> Portal {
    match MailTo::portal_of(session.person.roles) {
        "admin" => Portal::Admin,
        "patient" => Portal::Patient,
        _ => Portal::Clinician,
    }
}

fn problem(error: &OidcError) -> ApiError {
    let code = match error {
        OidcError::Unavailable(_) => ProblemCode::ProviderUnavailable,
        OidcError::Refused(_) => ProblemCode::ProviderRefused,
    };
    // The provider's own words are a stranger's: ours go into the log, and neither into the answer.
    tracing::warn!(%error, "outside sign-in failed");
    ApiError::new(code)
}

/// The caller's identities at outside providers.
#[utoipa::path(get, path = "/v1/auth/oidc/identities", tag = TAG,
    responses((status = 200, description = "The identities.", body = List<OutsideIdentity>)))]
async fn identity_list(
    State(api): State<Api>,
    signed: Signed,
) -> Result<Json<List<OutsideIdentity>>, ApiError> {
    let mut tx = api.begin(&signed).await?;
    let found = tx.identity_list().await?;
    tx.commit().await?;
    let items = found.into_iter().map(|entry| OutsideIdentity {
        id: entry.id,
        issuer: entry.issuer,
        linked_at: entry.linked_at,
        used_at: entry.used_at,
    });
    Ok(Json(List {
        items: items.collect(),
    }))
}

/// Forgets one of the caller's identities: nobody signs in with it any more.
#[utoipa::path(delete, path = "/v1/auth/oidc/identities/{id}", tag = TAG, params(("id" = uuid::Uuid, Path)),
    responses((status = 204, description = "Forgotten.")))]
async fn identity_unlink(
    State(api): State<Api>,
    signed: StepUp,
    Id(id): Id<IdentityId>,
) -> Result<StatusCode, ApiError> {
    let mut tx = api.begin(&signed).await?;
    tx.identity_unlink(id).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The provider the clinic's people may sign in with. Admins only; the secret is never shown.
#[utoipa::path(get, path = "/v1/clinic/oidc", tag = "clinic",
    responses((status = 200, description = "The provider.", body = OidcProvider, headers(
        ("ETag" = String, description = "The version, quoted.")))))]
async fn oidc_provider_get(State(api): State<Api>, signed: Signed) -> Result<Response, ApiError> {
    let mut tx = api.begin(&signed).await?;
    let provider = tx.oidc_provider_get().await?;
    tx.commit().await?;
    Ok(answer(&api, signed.session.clinic.id, provider))
}

/// Says which provider the clinic's people may sign in with. Admins only, with a fresh proof.
/// 412 when `If-Match` names an older version; `"0"` is the one before the first.
#[utoipa::path(put, path = "/v1/clinic/oidc", tag = "clinic", request_body = OidcProviderSet,
    params(("If-Match" = String, Header, description = "The ETag last seen.")),
    responses((status = 200, description = "Set.", body = OidcProvider, headers(
        ("ETag" = String, description = "The version, quoted.")))))]
async fn oidc_provider_set(
    State(api): State<Api>,
    signed: StepUp,
    IfMatch(version): IfMatch,
    Body { value: given, .. }: Body<OidcProviderSet>,
) -> Result<Response, ApiError> {
    if api.oidc.issuer(&given.issuer).is_none() {
        return Err(ApiError::field(
            "issuer",
            "is not the public HTTPS address of a provider",
        ));
    }
    let new = medmesh_store::OidcProvider {
        issuer: given.issuer,
        client_id: given.client_id,
        second_factor: given.second_factor,
        enabled: given.enabled,
        version: 0,
    };
    let secret = given
        .client_secret
        .as_ref()
        .map(medmesh_api_types::Secret::expose);
    let mut tx = api.begin(&signed).await?;
    let provider = tx.oidc_provider_set(Version(version), &new, secret).await?;
    tx.commit().await?;
    Ok(answer(&api, signed.session.clinic.id, provider))
}

fn answer(api: &Api, clinic: ClinicId, provider: medmesh_store::OidcProvider) -> Response {
    let provider = OidcProvider {
        issuer: provider.issuer,
        client_id: provider.client_id,
        second_factor: provider.second_factor,
        enabled: provider.enabled,
        redirect_uri: redirect_uri(api),
        start_url: format!("{}/v1/auth/oidc/start?clinic_id={clinic}", api.mail.base_url()),
        version: provider.version,
    };
    ([(ETAG, format!("\"{}\"", provider.version))], Json(provider)).into_response()
}
