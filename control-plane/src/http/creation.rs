//! Creating requests, which have one effect and one answer however often they come.

use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use medmesh_base::{Phi, ProblemCode};
use medmesh_store::{Claim, RequestDigest, StoredResponse, Ticket, Tx};
use serde::Serialize;

use super::caller::Acting;
use super::error::ApiError;
use super::extract::IdempotencyKey;
use super::state::Api;

/// A claimed key and the transaction that will answer it.
pub(super) struct Creation {
    pub(super) tx: Tx,
    ticket: Ticket,
}

/// What the key turned out to be.
#[allow(clippy::large_enum_variant, reason = "it lives for one match, in one request")]
pub(super) enum Claimed {
    /// Do the work.
    New(Creation),
    /// It was done: this is the answer, byte for byte.
    Replay(Response),
}

impl Creation {
    /// Claims the key for this operation. `request` is what makes the request this request:
    /// path parameters and body.
    pub(super) async fn claim(
        api: &Api,
        who: &dyn Acting,
        operation: &'static str,
        key: IdempotencyKey,
        request: &[&[u8]],
    ) -> Result<Claimed, ApiError> {
        let key = key
            .0
            .parse()
            .map_err(|_| ApiError::from(ProblemCode::InvalidRequest))?;
        // Keyed, because a body may hold a password and the digest is kept.
        let mut parts: Vec<&[u8]> = vec![&api.digest_key];
        parts.extend(request);
        let digest = RequestDigest::of(&parts);
        let mut tx = api.begin(who).await?;
        match tx.idempotency_claim(operation, key, digest).await? {
            Claim::New(ticket) => Ok(Claimed::New(Self { tx, ticket })),
            Claim::Replay(stored) => {
                tx.commit().await?;
                Ok(Claimed::Replay(replay(stored)?))
            }
        }
    }

    /// Stores and commits the answer, then gives it to be sent: 201 with these headers.
    pub(super) async fn created<T: Serialize>(
        mut self,
        headers: &[(HeaderName, String)],
        body: &T,
    ) -> Result<Response, ApiError> {
        let mut all = vec![(CONTENT_TYPE.to_string(), "application/json".to_owned())];
        all.extend(
            headers
                .iter()
                .map(|(name, value)| (name.to_string(), value.clone())),
        );
        let stored = StoredResponse {
            status: StatusCode::CREATED.as_u16(),
            headers: all,
            body: Phi::new(serde_json::to_vec(body).expect("answers are plain JSON")),
        };
        self.tx.idempotency_answer(self.ticket, &stored).await?;
        self.tx.commit().await?;
        replay(stored)
    }
}

fn replay(stored: StoredResponse) -> Result<Response, ApiError> {
    let corrupt = || ApiError::from(ProblemCode::Internal);
    let status = StatusCode::from_u16(stored.status).map_err(|_| corrupt())?;
    let mut response = (status, stored.body.into_exposed()).into_response();
    for (name, value) in stored.headers {
        let name: HeaderName = name.parse().map_err(|_| corrupt())?;
        let value = HeaderValue::from_str(&value).map_err(|_| corrupt())?;
        response.headers_mut().insert(name, value);
    }
    Ok(response)
}
