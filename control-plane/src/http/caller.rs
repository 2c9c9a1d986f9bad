//! Who is asking: the session behind the cookie, and proof that the request
//! came from a portal and not from a page that borrowed the cookie.

use axum::extract::FromRequestParts;
use axum_extra::extract::CookieJar;
use http::header::ORIGIN;
use http::request::Parts;
use http::{HeaderMap, Method};
use medmesh_api_types::session::{CSRF_HEADER, SESSION_COOKIE};
use medmesh_base::{ProblemCode, RequestId};
use medmesh_store::{Session, SessionToken};
use subtle::ConstantTimeEq as _;
use time::OffsetDateTime;

use super::error::ApiError;
use super::state::{Api, request_id};

/// A signed-in caller. Extracting it is authentication; unsafe methods also
/// need the CSRF token and a portal's origin.
pub(super) struct Signed {
    pub(super) session: Session,
    pub(super) token: SessionToken,
    pub(super) request_id: RequestId,
}

impl FromRequestParts<Api> for Signed {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, ApiError> {
        let token = cookie(&parts.headers).ok_or(ProblemCode::Unauthenticated)?;
        let is_unsafe = !is_safe(&parts.method);
        if is_unsafe {
            check_origin(&parts.headers, &api.origins)?;
            check_csrf(&parts.headers, &token)?;
        }
        let store = api.database.store()?;
        let session = store
            .session_resume(&token, OffsetDateTime::now_utc(), true)
            .await?
            .ok_or(ProblemCode::Unauthenticated)?;
        Ok(Self {
            session,
            token,
            request_id: request_id(&parts.extensions),
        })
    }
}

/// Methods that change nothing (RFC 9110 section 9.2.1).
fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

fn cookie(headers: &HeaderMap) -> Option<SessionToken> {
    let jar = CookieJar::from_headers(headers);
    jar.get(SESSION_COOKIE)?.value().parse().ok()
}

fn check_csrf(headers: &HeaderMap, token: &SessionToken) -> Result<(), ApiError> {
    let given = headers.get(CSRF_HEADER).map(http::HeaderValue::as_bytes);
    let is_right = given.is_some_and(|given| given.ct_eq(token.csrf().as_bytes()).into());
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
