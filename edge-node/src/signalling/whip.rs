//! `POST`, `PATCH` and `DELETE` of a WHIP-shaped resource (RFC 9725 section 4).

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use medmesh_base::ProblemCode;
use medmesh_base::media_token::{MediaClaims, MeshEdge};
use medmesh_sfu::{Join, JoinError, Joined, ResourceId, RestartError};
use tokio::sync::oneshot;

use super::Signalling;
use crate::admission::{Credentials, Owner, Refusal};
use crate::metrics::JoinOutcome;
use crate::problem::Problem;
use crate::shard::{Command, Connection, ShardBusy};

const SDP: &str = "application/sdp";
const SDP_FRAGMENT: &str = "application/trickle-ice-sdpfrag";
const PATH: &str = "/v1/whip";

/// The offer of a participant becomes a connection.
pub(super) async fn join(
    State(signalling): State<Arc<Signalling>>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let joined = try_join(&signalling, &headers, body).await;
    signalling.metrics.join(match &joined {
        Ok(_) => JoinOutcome::Joined,
        Err(problem) => JoinOutcome::Refused(problem.code),
    });
    match joined {
        Ok(joined) => created(joined),
        Err(problem) => problem.into_response(),
    }
}

async fn try_join(
    signalling: &Signalling,
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Joined, Problem> {
    let offer = text(headers, body, SDP)?;
    if signalling.is_draining() {
        return Err(Problem::new(
            ProblemCode::Unavailable,
            "This edge takes nobody in; use the next one.",
        ));
    }
    let url = format!("{}{PATH}", signalling.public_url);
    let now = unix_now();
    let admission = &signalling.admission;
    let claims = admission
        .check(&credentials(headers, "POST", &url), now)
        .and_then(|claims| admission.spend(&claims, now).map(|()| claims))
        .map_err(|refusal| refused(signalling, refusal))?;
    let shard = signalling.shards.of_room(claims.room);
    let join = Box::new(join_of(&claims, offer));
    let jti = claims.jti.clone();
    let joined = ask(signalling, shard, |reply| Command::Join { join, jti, reply })
        .await
        .and_then(|joined| joined.map_err(|error| join_problem(&error)));
    if joined.is_err() {
        admission.restore(&claims);
    }
    joined
}

fn join_of(claims: &MediaClaims, offer_sdp: String) -> Join {
    let fallbacks = claims.edges.iter().map(|edge| MeshEdge {
        id: edge.id,
        link: edge.link.clone(),
    });
    Join {
        room: claims.room,
        participant: claims.sub,
        epoch: claims.epoch,
        grants: claims.grants.clone(),
        offer_sdp,
        fallbacks: fallbacks.collect(),
        mesh: claims.mesh.clone(),
    }
}

fn created(joined: Joined) -> Response {
    let location = format!("{PATH}/{}", joined.resource);
    let headers = [
        (header::CONTENT_TYPE, SDP.to_owned()),
        (header::LOCATION, location),
        (header::ETAG, quoted(&joined.etag)),
    ];
    (StatusCode::CREATED, headers, joined.answer_sdp).into_response()
}

/// New ICE credentials: the browser changed networks.
pub(super) async fn restart(
    State(signalling): State<Arc<Signalling>>,
    Path(resource): Path<String>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let fragment = text(&headers, body, SDP_FRAGMENT)?;
    let (resource, connection) = owned(&signalling, &resource, &headers, "PATCH").await?;
    let wanted = headers.get(header::IF_MATCH).and_then(|tag| tag.to_str().ok());
    if wanted.is_some_and(|tag| tag != "*" && tag != quoted(&connection.etag)) {
        return Err(ProblemCode::VersionMismatch.into());
    }
    let restarted = ask(&signalling, resource.shard(), |reply| Command::Restart {
        resource,
        fragment,
        reply,
    })
    .await?
    .map_err(|error| match error {
        RestartError::Unknown => ProblemCode::NotFound.into(),
        RestartError::BadFragment(_) => Problem::new(ProblemCode::InvalidRequest, error.to_string()),
    })?;
    let headers = [
        (header::CONTENT_TYPE, SDP_FRAGMENT.to_owned()),
        (header::ETAG, quoted(&restarted.etag)),
    ];
    Ok((StatusCode::OK, headers, restarted.fragment).into_response())
}

/// The participant leaves.
pub(super) async fn leave(
    State(signalling): State<Arc<Signalling>>,
    Path(resource): Path<String>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let (resource, _) = owned(&signalling, &resource, &headers, "DELETE").await?;
    signalling
        .shards
        .offer(resource.shard(), Command::Delete { resource })
        .map_err(busy)?;
    Ok(StatusCode::OK)
}

/// The connection of this path, if the caller's token is its owner's.
async fn owned(
    signalling: &Signalling,
    resource: &str,
    headers: &HeaderMap,
    method: &str,
) -> Result<(ResourceId, Connection), Problem> {
    let url = format!("{}{PATH}/{resource}", signalling.public_url);
    let resource: ResourceId = resource.parse().map_err(|_| ProblemCode::NotFound)?;
    let connection = ask(signalling, resource.shard(), |reply| Command::Owner {
        resource,
        reply,
    })
    .await?
    .ok_or(ProblemCode::NotFound)?;
    let owner = Owner {
        room: connection.room,
        participant: connection.participant,
        jti: connection.jti.clone(),
    };
    signalling
        .admission
        .check_owner(&credentials(headers, method, &url), &owner, unix_now())
        .map_err(|refusal| refused(signalling, refusal))?;
    Ok((resource, connection))
}

/// Asks a shard something and waits for its answer.
async fn ask<T>(
    signalling: &Signalling,
    shard: u8,
    command: impl FnOnce(oneshot::Sender<T>) -> Command,
) -> Result<T, Problem> {
    let (reply, answer) = oneshot::channel();
    signalling.shards.offer(shard, command(reply)).map_err(busy)?;
    answer.await.map_err(|_| ProblemCode::Unavailable.into())
}

fn busy(_: ShardBusy) -> Problem {
    ProblemCode::Unavailable.into()
}

fn refused(signalling: &Signalling, refusal: Refusal) -> Problem {
    signalling.metrics.token_refused(refusal);
    Problem::new(refusal.problem(), refusal.to_string())
}

fn join_problem(error: &JoinError) -> Problem {
    match error {
        JoinError::BadOffer(_) => Problem::new(ProblemCode::InvalidRequest, error.to_string()),
        JoinError::StaleEpoch { .. } => ProblemCode::StaleEpoch.into(),
        JoinError::RoomFull => ProblemCode::VisitFull.into(),
        JoinError::Full(_) => ProblemCode::NoCapacity.into(),
        JoinError::Internal => ProblemCode::Internal.into(),
    }
}

fn credentials<'a>(headers: &'a HeaderMap, method: &'a str, url: &'a str) -> Credentials<'a> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    // RFC 9449 section 7.1 calls the scheme DPoP when a proof comes along; both are understood.
    let token = text("authorization").and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        let known = scheme.eq_ignore_ascii_case("bearer") || scheme.eq_ignore_ascii_case("dpop");
        known.then(|| token.trim())
    });
    Credentials {
        token,
        proof: text("dpop"),
        method,
        url,
    }
}

/// The body as text, if it is of the type this route takes.
fn text(
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
    media_type: &str,
) -> Result<String, Problem> {
    let given = headers
        .get(header::CONTENT_TYPE)
        .map(HeaderValue::as_bytes)
        .and_then(|value| std::str::from_utf8(value).ok())
        .and_then(|value| value.split(';').next())
        .unwrap_or_default();
    if !given.trim().eq_ignore_ascii_case(media_type) {
        return Err(Problem::new(
            ProblemCode::UnsupportedMediaType,
            format!("This route takes {media_type}."),
        ));
    }
    let body = body.map_err(|rejection| {
        if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
            ProblemCode::BodyTooLarge
        } else {
            ProblemCode::InvalidRequest
        }
    })?;
    String::from_utf8(body.into())
        .map_err(|_| Problem::new(ProblemCode::InvalidRequest, "The body is not UTF-8."))
}

fn quoted(etag: &str) -> String {
    format!("\"{etag}\"")
}

fn unix_now() -> i64 {
    time::OffsetDateTime::now_utc().unix_timestamp()
}
