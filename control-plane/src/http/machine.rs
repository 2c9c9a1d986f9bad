//! A machine of the clinic asks: the access token behind the `Authorization` header (RFC 6750).
//!
//! Tokens are looked up for every request, so that one that is no longer good opens nothing from
//! that moment on, whichever node is asked. They travel in that header alone: one in a cookie is no
//! session, and a session's token in the header is no access token. A machine never owes a second
//! factor and can never step up: what takes that has no rule for it.

use axum::extract::FromRequestParts;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use http::request::Parts;
use medmesh_base::{ProblemCode, RequestId};
use medmesh_clinic::Actor;
use medmesh_clinic::audit::Purpose;
use medmesh_clinic::authz::{Action, Principal, gate};
use medmesh_store::{AccessToken, ClientAccess};
use time::OffsetDateTime;

use super::caller::{Act, Acting, declared, deny, purpose};
use super::error::ApiError;
use super::limits;
use super::state::{Api, request_id};

/// A machine that was let in and may do the route's action to something.
pub(super) struct Machine {
    access: ClientAccess,
    request_id: RequestId,
    action: Action,
    purpose: Option<Purpose>,
}

impl Acting for Machine {
    fn act(&self) -> Act {
        Act {
            clinic_id: self.access.clinic_id,
            actor: Actor::Client(self.access.caller),
            request_id: self.request_id,
            action: self.action,
            purpose: self.purpose,
        }
    }
}

impl FromRequestParts<Api> for Machine {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, ApiError> {
        let machine = Self::let_in(parts, api).await?;
        let principal = Principal::from(&machine.act().actor);
        if gate(&principal, machine.action, machine.purpose).is_err() {
            deny(api, &machine).await?;
        }
        Ok(machine)
    }
}

impl Machine {
    async fn let_in(parts: &Parts, api: &Api) -> Result<Self, ApiError> {
        let action = declared(parts)?;
        let token = bearer(&parts.headers).ok_or(ProblemCode::Unauthenticated)?;
        let store = api.database.store()?;
        let access = store
            .client_resume(&token, OffsetDateTime::now_utc())
            .await?
            .ok_or(ProblemCode::Unauthenticated)?;
        limits::enter_client(api, &parts.extensions, access.caller.client_id, access.clinic_id).await?;
        Ok(Self {
            access,
            request_id: request_id(&parts.extensions),
            action,
            purpose: purpose(&parts.headers)?,
        })
    }

    /// The answer to a machine on a route that is for people: a denial, with its leaf.
    pub(super) async fn turned_away(parts: &Parts, api: &Api) -> ApiError {
        match Self::let_in(parts, api).await {
            Err(error) => error,
            Ok(machine) => match deny(api, &machine).await {
                Err(error) => error,
                Ok(()) => ApiError::new(ProblemCode::Internal).because(PeopleOnly(machine.action)),
            },
        }
    }
}

/// The one access token of the request. Anything else in that header lets nobody in, whatever
/// cookies come along.
pub(super) fn bearer(headers: &HeaderMap) -> Option<AccessToken> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (value, None) = (values.next()?, values.next()) else {
        return None;
    };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    token.parse().ok()
}

/// A defect: the policy lets machines do what the route's handler takes people for.
#[derive(Debug, thiserror::Error)]
#[error("machines may do {0}, but its route takes people only")]
struct PeopleOnly(Action);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_bearer_token_and_nothing_else() {
        let token = AccessToken::generate().expose();
        let headers = |values: &[String]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(AUTHORIZATION, value.parse().unwrap());
            }
            headers
        };
        for good in [format!("Bearer {token}"), format!("bearer {token}")] {
            assert!(bearer(&headers(&[good])).is_some());
        }
        let unprefixed = token.trim_start_matches("mm_at_").to_owned();
        for wrong in [
            vec![],
            vec![token.clone()],
            vec!["Bearer".to_owned()],
            vec!["Bearer ".to_owned()],
            vec![format!("Basic {token}")],
            vec![format!("Bearer  {token}")],
            vec![format!("Bearer {token} ")],
            vec![format!("Bearer {unprefixed}")],
            vec![format!("Bearer {token}A")],
            vec![format!("Bearer {token}"), format!("Bearer {token}")],
        ] {
            assert!(bearer(&headers(&wrong)).is_none(), "{wrong:?}");
        }
    }
}
