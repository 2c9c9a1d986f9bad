//! From a visit to an edge.

use std::time::Duration;

use axum::extract::State;
use axum::{Extension, Json};
use http::{HeaderMap, StatusCode};
use medmesh_api_types::Secret;
use medmesh_api_types::signaling::{
    Candidate, CandidateQuery, Candidates, EdgeProbe, IceServer, SessionEdge, SessionRequest,
    SignalingSession,
};
use medmesh_base::{ClientPrefix, EdgeId};
use medmesh_clinic::authz::Action;
use medmesh_vault::public_jwk_check;
use time::OffsetDateTime;
use utoipa_axum::routes;

use crate::http::access::Routes;
use crate::http::caller::Signed;
use crate::http::error::ApiError;
use crate::http::extract::{Body, Query};
use crate::http::server::Peer;
use crate::http::state::Api;
use crate::media::{Admission, PlaceError, Wish};

const TAG: &str = "signaling";

pub(super) fn routes() -> Routes {
    Routes::new()
        .signed(Action::SignalingCandidates, routes!(signaling_candidates))
        .signed(Action::SignalingSession, routes!(signaling_session))
}

/// The edges worth timing before asking for a session.
#[utoipa::path(get, path = "/v1/signaling/candidates", tag = TAG, params(CandidateQuery),
    responses((status = 200, description = "At most four.", body = Candidates)))]
async fn signaling_candidates(
    State(api): State<Api>,
    signed: Signed,
    Query(query): Query<CandidateQuery>,
) -> Result<Json<Candidates>, ApiError> {
    // Only those who take part may know where a visit could run.
    let mut tx = api.begin(&signed).await?;
    tx.signaling_candidates(query.visit_id).await?;
    let regions = tx.media_regions().await?;
    tx.commit().await?;
    let edges = api.media.candidates(&regions.to_vec()).await?;
    let edges = edges
        .into_iter()
        .map(|edge| Candidate {
            probe_url: below(&edge.signalling_url, "/v1/probe"),
            id: edge.id,
            name: edge.name,
            region: edge.region,
        })
        .collect();
    Ok(Json(Candidates { edges }))
}

/// A place in the visit's media: tokens, edges in order, TURN credentials.
///
/// Clinicians from 15 minutes before the begin until the end; others once admitted (409 `not_admitted`).
#[utoipa::path(post, path = "/v1/signaling/session", tag = TAG, request_body = SessionRequest,
    responses((status = 201, description = "A place.", body = SignalingSession)))]
async fn signaling_session(
    State(api): State<Api>,
    signed: Signed,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    Body { value: request, .. }: Body<SessionRequest>,
) -> Result<(StatusCode, Json<SignalingSession>), ApiError> {
    let key = request.key.into();
    public_jwk_check(&key).map_err(|error| ApiError::field("key", error.to_string()))?;
    let mut tx = api.begin(&signed).await?;
    let window = tx.signaling_session(request.visit_id).await?;
    let regions = tx.media_regions().await?;
    // Committed before anything is signed: no key leaves without its audit leaf.
    tx.commit().await?;
    let wish = Wish {
        room: window.room_id,
        participant: window.participant_id,
        probes: request.probes.iter().map(round_trip).collect(),
        network: Some(ClientPrefix::of(api.client_address(peer, &headers))),
        residency: regions.to_vec(),
        until: window.until,
    };
    let now = OffsetDateTime::now_utc();
    let admission = api.media.admit(&wish, key, now).await?;
    Ok((StatusCode::CREATED, Json(answer(&wish, admission))))
}

fn round_trip(probe: &EdgeProbe) -> (EdgeId, Duration) {
    (probe.edge_id, Duration::from_secs_f64(probe.rtt_ms / 1000.0))
}

fn below(base: &str, path: &str) -> String {
    format!("{}{path}", base.trim_end_matches('/'))
}

fn answer(wish: &Wish, admission: Admission) -> SignalingSession {
    let ice_servers = ice_servers(&admission);
    let edges = admission
        .placed
        .edges
        .into_iter()
        .map(|edge| SessionEdge {
            whip_url: below(&edge.signalling_url, "/v1/whip"),
            id: edge.id,
            name: edge.name,
            region: edge.region,
        })
        .collect();
    SignalingSession {
        room_id: wish.room,
        participant_id: wish.participant,
        epoch: admission.placed.epoch,
        join_token: Secret::new(admission.join_token),
        resume_token: Secret::new(admission.resume_token),
        resume_expires_at: admission.resume_expires_at,
        edges,
        ice_servers,
    }
}

/// The edges' own relays first: they are where the media goes anyway. Then those that stand apart.
fn ice_servers(admission: &Admission) -> Vec<IceServer> {
    let edges = admission.placed.edges.iter();
    let own: Vec<String> = edges.flat_map(|edge| edge.turn_urls.clone()).collect();
    let own = (!own.is_empty()).then_some((&own, &admission.turn));
    let apart = admission.relays.iter().map(|relay| (&relay.urls, &relay.turn));
    own.into_iter()
        .chain(apart)
        .map(|(urls, turn)| IceServer {
            urls: urls.clone(),
            username: turn.username.clone(),
            credential: Secret::new(turn.password.clone()),
        })
        .collect()
}

impl From<PlaceError> for ApiError {
    fn from(error: PlaceError) -> Self {
        let problem = Self::new(error.problem());
        let problem = match error {
            // Waiting does not help: an admin has to change the setting, or an operator to add an edge.
            PlaceError::OutsideResidency => problem,
            PlaceError::NoCapacity | PlaceError::Unavailable(_) => problem.retry_after(RETRY_SECONDS),
        };
        problem.because(error)
    }
}

/// What a client waits before it asks for a place again: an election takes less.
const RETRY_SECONDS: u64 = 1;
