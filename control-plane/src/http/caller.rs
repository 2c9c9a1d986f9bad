//! Who is asking: the session behind the cookie, what it may do, and proof that the
//! request came from a portal and not from a page that borrowed the cookie.
//!
//! A handler names what it needs by the type it takes: [`Signed`] is somebody whose session
//! may do everything its person may, [`StepUp`] is one who has just proved themselves again,
//! [`Partial`] is anybody with a session, also one that still owes a second factor, and
//! [`Asking`] is a person or a machine of the clinic ([`super::machine`]).
//!
//! Who shows an `Authorization` header is a machine, whatever cookies come along: a browser adds
//! cookies by itself, and that header never.

use std::ops::Deref;
use std::sync::Arc;

use axum::extract::{FromRequestParts, Request};
use axum::middleware::Next;
use axum::response::Response;
use axum_extra::extract::cookie::Cookie;
use http::header::{AUTHORIZATION, COOKIE, HeaderName, ORIGIN, SET_COOKIE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method};
use medmesh_api_types::session::{BACKGROUND, BACKGROUND_HEADER, CSRF_HEADER, SESSION_COOKIE};
use medmesh_base::{ClinicId, ProblemCode, RequestId};
use medmesh_clinic::audit::Purpose;
use medmesh_clinic::authz::{Action, Principal, Reason, gate};
use medmesh_clinic::identity::Standing;
use medmesh_clinic::{Actor, identity};
use medmesh_store::{Session, SessionToken, Store, Target};
use parking_lot::Mutex;
use subtle::ConstantTimeEq as _;
use time::OffsetDateTime;

use super::access::Declared;
use super::error::ApiError;
use super::limits;
use super::machine::Machine;
use super::state::{Api, request_id};

/// What the caller says the request is for; only rules of that purpose then count.
pub(super) const PURPOSE: HeaderName = HeaderName::from_static("x-purpose-of-use");

/// A signed-in caller who may do the route's action to something. Extracting it is
/// authentication; unsafe methods also need the CSRF token and a portal's origin.
pub(super) struct Signed {
    pub(super) session: Session,
    pub(super) token: SessionToken,
    pub(super) request_id: RequestId,
    pub(super) action: Action,
    pub(super) purpose: Option<Purpose>,
}

/// What a transaction is begun with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Act {
    pub(super) clinic_id: ClinicId,
    pub(super) actor: Actor,
    pub(super) request_id: RequestId,
    pub(super) action: Action,
    pub(super) purpose: Option<Purpose>,
}

/// Whoever a transaction is begun for.
pub(super) trait Acting: Sync {
    fn act(&self) -> Act;
}

impl Acting for Signed {
    fn act(&self) -> Act {
        Act {
            clinic_id: self.session.clinic.id,
            actor: Actor::Person(self.session.caller()),
            request_id: self.request_id,
            action: self.action,
            purpose: self.purpose,
        }
    }
}

impl Acting for StepUp {
    fn act(&self) -> Act {
        self.0.act()
    }
}

/// A person or a machine, who may do the route's action to something.
pub(super) enum Asking {
    Person(Box<Signed>),
    Machine(Machine),
}

impl Acting for Asking {
    fn act(&self) -> Act {
        match self {
            Self::Person(signed) => signed.act(),
            Self::Machine(machine) => machine.act(),
        }
    }
}

impl FromRequestParts<Api> for Asking {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, ApiError> {
        if parts.headers.contains_key(AUTHORIZATION) {
            let machine = Machine::from_request_parts(parts, api).await?;
            return Ok(Self::Machine(machine));
        }
        let signed = Signed::from_request_parts(parts, api).await?;
        Ok(Self::Person(Box::new(signed)))
    }
}

impl FromRequestParts<Api> for Signed {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, ApiError> {
        let Partial(signed) = Partial::from_request_parts(parts, api).await?;
        match signed.session.standing() {
            Standing::Full => Ok(signed),
            Standing::SecondFactorDue => Err(ProblemCode::MfaRequired.into()),
            Standing::EnrolmentDue => Err(ProblemCode::MfaEnrolmentRequired.into()),
        }
    }
}

/// A signed-in caller who proved themselves a moment ago ([`identity::STEP_UP_WITHIN`]): for
/// what somebody at an unlocked screen must not do.
pub(super) struct StepUp(pub(super) Signed);

impl Deref for StepUp {
    type Target = Signed;
    fn deref(&self) -> &Signed {
        &self.0
    }
}

impl FromRequestParts<Api> for StepUp {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, ApiError> {
        let signed = Signed::from_request_parts(parts, api).await?;
        signed.check_fresh()?;
        Ok(Self(signed))
    }
}

impl Signed {
    /// The proof in the session is recent.
    pub(super) fn check_fresh(&self) -> Result<(), ApiError> {
        if self
            .session
            .is_fresh(OffsetDateTime::now_utc(), identity::STEP_UP_WITHIN)
        {
            Ok(())
        } else {
            Err(ProblemCode::StepUpRequired.into())
        }
    }
}

/// Whoever holds a session, also one that owes a second factor: for the routes that pay it.
pub(super) struct Partial(pub(super) Signed);

impl FromRequestParts<Api> for Partial {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, ApiError> {
        let action = declared(parts)?;
        if parts.headers.contains_key(AUTHORIZATION) {
            return Err(Machine::turned_away(parts, api).await);
        }
        let token = cookie(&parts.headers).ok_or(ProblemCode::Unauthenticated)?;
        let is_unsafe = !is_safe(&parts.method);
        let by_a_person = is_unsafe || !is_background(&parts.headers)?;
        if is_unsafe {
            check_origin(&parts.headers, &api.origins)?;
        }
        let store = api.database.store()?;
        let now = OffsetDateTime::now_utc();
        let session = store
            .session_resume(&token, now, by_a_person)
            .await?
            .ok_or(ProblemCode::Unauthenticated)?;
        if is_unsafe {
            check_csrf(&parts.headers, &session.csrf)?;
        }
        limits::enter_person(api, &parts.extensions, &session).await?;
        let mut signed = Signed {
            session,
            token,
            request_id: request_id(&parts.extensions),
            action,
            purpose: purpose(&parts.headers)?,
        };
        if signed.session.is_rotation_due(now)
            && let Some(slot) = parts.extensions.get::<CookieSlot>()
        {
            rotate(&mut signed, store, slot).await?;
        }
        signed.pass_gate(api).await?;
        Ok(Self(signed))
    }
}

/// Gives the session a new token, which travels with the answer to this request.
async fn rotate(signed: &mut Signed, store: &Store, slot: &CookieSlot) -> Result<(), ApiError> {
    let actor = Actor::Person(signed.session.caller());
    let mut tx = store
        .begin(signed.session.clinic.id, actor, signed.request_id)
        .await?;
    let fresh = tx.session_rotate(&signed.session, &signed.token).await?;
    tx.commit().await?;
    if let Some(fresh) = fresh {
        *slot.0.lock() = Some(set_cookie(&fresh.expose(), None));
        signed.token = fresh;
    }
    Ok(())
}

/// Where a new cookie waits for its answer.
#[derive(Clone, Default)]
struct CookieSlot(Arc<Mutex<Option<HeaderValue>>>);

/// Sends the cookie of a session whose token changed along the way, unless the handler sends
/// one of its own.
pub(super) async fn renew_cookie(mut request: Request, next: Next) -> Response {
    let slot = CookieSlot::default();
    request.extensions_mut().insert(slot.clone());
    let mut response = next.run(request).await;
    let renewed = slot.0.lock().take();
    let is_session = |value: &HeaderValue| value.as_bytes().starts_with(SESSION_COOKIE.as_bytes());
    if let Some(cookie) = renewed
        && !response.headers().get_all(SET_COOKIE).iter().any(is_session)
    {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    response
}

/// The session cookie; it ends with the browser, or at once.
pub(super) fn set_cookie(value: &str, max_age: Option<u32>) -> HeaderValue {
    let max_age = max_age
        .map(|seconds| format!("; Max-Age={seconds}"))
        .unwrap_or_default();
    let text = format!("{SESSION_COOKIE}={value}; Path=/; Secure; HttpOnly; SameSite=Strict{max_age}");
    HeaderValue::from_str(&text).expect("base64url and our own words are header text")
}

/// The action the route declares.
pub(super) fn declared(parts: &Parts) -> Result<Action, ApiError> {
    let declared = parts.extensions.get().copied();
    declared
        .map(|Declared(action)| action)
        .ok_or_else(|| ApiError::new(ProblemCode::Internal).because(NoAction))
}

/// A defect: the route was declared open.
#[derive(Debug, thiserror::Error)]
#[error("a route that asks who it is declares no action")]
struct NoAction;

impl Signed {
    /// Refuses who may never do this to anything, before the request is looked at any closer.
    async fn pass_gate(&self, api: &Api) -> Result<(), ApiError> {
        let principal = Principal::from(&self.act().actor);
        match gate(&principal, self.action, self.purpose) {
            Ok(_) => Ok(()),
            // What the session owes comes first: it is told by whoever asks for a full one.
            Err(denial)
                if denial.reason == Reason::Credential && self.session.standing() != Standing::Full =>
            {
                Ok(())
            }
            Err(_) => deny(api, self).await,
        }
    }
}

/// Denied as in any other place, which leaves its leaf.
pub(super) async fn deny(api: &Api, who: &dyn Acting) -> Result<(), ApiError> {
    let mut tx = api.begin(who).await?;
    tx.authorise(who.act().action, Target::Clinic).await?;
    Ok(())
}

pub(super) fn purpose(headers: &HeaderMap) -> Result<Option<Purpose>, ApiError> {
    let Some(value) = headers.get(PURPOSE) else {
        return Ok(None);
    };
    let known = value.to_str().ok().and_then(|word| word.parse().ok());
    known
        .map(Some)
        .ok_or_else(|| ApiError::field("x-purpose-of-use", "is not a purpose of use"))
}

/// Whether a page asks by itself: what it then reads is no sign that somebody is there. What changes
/// something always is, whatever the header says.
fn is_background(headers: &HeaderMap) -> Result<bool, ApiError> {
    match headers.get(BACKGROUND_HEADER) {
        None => Ok(false),
        Some(value) if value.as_bytes() == BACKGROUND.as_bytes() => Ok(true),
        Some(_) => Err(ApiError::field(BACKGROUND_HEADER, "is 1 or left out")),
    }
}

/// Methods that change nothing (RFC 9110 section 9.2.1).
fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// The session's token, letter for letter as it was given out: in another spelling (percent-encoded) it is none.
pub(super) fn cookie(headers: &HeaderMap) -> Option<SessionToken> {
    let lines = headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|line| line.to_str().ok());
    let sent = lines.flat_map(Cookie::split_parse).flatten();
    let session = sent.filter(|cookie| cookie.name() == SESSION_COOKIE).last()?;
    session.value().parse().ok()
}

fn check_csrf(headers: &HeaderMap, expected: &str) -> Result<(), ApiError> {
    let given = headers.get(CSRF_HEADER).map(HeaderValue::as_bytes);
    let is_right = given.is_some_and(|given| given.ct_eq(expected.as_bytes()).into());
    if is_right {
        Ok(())
    } else {
        Err(ProblemCode::CsrfRefused.into())
    }
}

/// A browser names the origin of every unsafe request; other clients name none.
pub(super) fn check_origin(headers: &HeaderMap, allowed: &[String]) -> Result<(), ApiError> {
    let Some(origin) = headers.get(ORIGIN) else {
        return Ok(());
    };
    let is_ours = allowed
        .iter()
        .any(|own| own.as_bytes().eq_ignore_ascii_case(origin.as_bytes()));
    if is_ours {
        Ok(())
    } else {
        Err(ProblemCode::CsrfRefused.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_taken_letter_for_letter_and_no_other_way() {
        let token = "A".repeat(43);
        let sent = |lines: &[&str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(COOKIE, HeaderValue::from_str(line).unwrap());
            }
            cookie(&headers).map(|token| token.expose().to_string())
        };
        let ours = format!("{SESSION_COOKIE}={token}");
        assert_eq!(sent(&[&ours]).as_deref(), Some(token.as_str()));
        assert_eq!(
            sent(&["a=b", &format!("c=d; {ours}; e")]).as_deref(),
            Some(token.as_str())
        );
        let spelled = format!("{SESSION_COOKIE}=%41{}", "A".repeat(42));
        for other in [
            &spelled,
            "medmesh_session=A",
            "",
            &format!("{ours}A"),
            &format!("x{ours}"),
        ] {
            assert_eq!(sent(&[other]), None, "{other}");
        }
    }
}
