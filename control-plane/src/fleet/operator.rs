//! The operator's routes. The bearer token is one per cluster; whoever has it may do everything here.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use axum::extract::{FromRequestParts, Path, Query, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::{Json, Router};
use http::StatusCode;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use medmesh_api_types::fleet::{
    EdgeNode, EdgeRemoval, Explanation, FleetHeadroom, JoinToken, JoinTokenCreate, LearnerAdd, Nodes,
    ROOMS_LIMIT_DEFAULT, ROOMS_LIMIT_MAX, Raft, RaftNode, Sessions, SessionsQuery,
};
use medmesh_base::{EdgeId, ProblemCode};
use medmesh_consensus::MembershipError;
use subtle::ConstantTimeEq as _;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::handle::Fleet;
use super::operate::OperateError;
use crate::http::{ApiError, Body, IdempotencyKey};

const TAG: &str = "fleet";

/// Shortest operator token taken: 128 bits in hexadecimal, or as many in any other text form.
const TOKEN_LENGTH_MIN: usize = 32;

/// SHA-256 of the operator token: comparing hashes takes the same time whatever is presented.
#[derive(Clone)]
pub struct OperatorToken([u8; 32]);

impl OperatorToken {
    /// `None` for a token that could be guessed.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        (text.len() >= TOKEN_LENGTH_MIN).then(|| Self(hash(text.as_bytes())))
    }

    fn accepts(&self, presented: &[u8]) -> bool {
        hash(presented).ct_eq(&self.0).into()
    }
}

fn hash(bytes: &[u8]) -> [u8; 32] {
    digest(&SHA256, bytes)
        .as_ref()
        .try_into()
        .expect("SHA-256 has 32 bytes")
}

/// The routes and `more`, each behind the token. Without a token nobody is let in.
pub fn router(fleet: Fleet, more: Router, token: Option<OperatorToken>) -> Router {
    let (router, _) = described().split_for_parts();
    router
        .with_state(fleet)
        .merge(more)
        .route_layer(from_fn_with_state(Arc::new(token), authorise))
}

/// Every operator route with its description.
pub(crate) fn described() -> OpenApiRouter<Fleet> {
    OpenApiRouter::new()
        .routes(routes!(node_list))
        .routes(routes!(session_list))
        .routes(routes!(raft_get))
        .routes(routes!(edge_cordon))
        .routes(routes!(edge_uncordon))
        .routes(routes!(edge_drain))
        .routes(routes!(edge_undrain))
        .routes(routes!(edge_get, edge_remove))
        .routes(routes!(headroom_get))
        .routes(routes!(room_explain))
        .routes(routes!(join_token_create))
        .routes(routes!(raft_add_learner))
        .routes(routes!(raft_promote))
        .routes(routes!(raft_remove))
}

async fn authorise(
    State(token): State<Arc<Option<OperatorToken>>>,
    request: Request,
    next: Next,
) -> Result<Response, ([(http::HeaderName, &'static str); 1], ApiError)> {
    let presented = request
        .headers()
        .get(AUTHORIZATION)
        .and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
    let accepted = token
        .as_ref()
        .as_ref()
        .zip(presented)
        .is_some_and(|(token, presented)| token.accepts(presented));
    if accepted {
        Ok(next.run(request).await)
    } else {
        Err((
            [(WWW_AUTHENTICATE, "Bearer")],
            ProblemCode::Unauthenticated.into(),
        ))
    }
}

impl From<OperateError> for ApiError {
    fn from(error: OperateError) -> Self {
        let code = match &error {
            OperateError::Unavailable(_)
            | OperateError::NotRead(_)
            | OperateError::NoControlNode
            | OperateError::NoAnswer(_)
            | OperateError::Members(MembershipError::NoLeader | MembershipError::Ambiguous { .. }) => {
                ProblemCode::Unavailable
            }
            OperateError::UnknownEdge
            | OperateError::UnknownRoom
            | OperateError::Members(MembershipError::UnknownNode(_)) => ProblemCode::NotFound,
            OperateError::KeyReused => ProblemCode::IdempotencyKeyReused,
            OperateError::Refused(_)
            | OperateError::EdgeCarries { .. }
            | OperateError::Members(
                MembershipError::Silent { .. }
                | MembershipError::NoMajority { .. }
                | MembershipError::Lagging { .. }
                | MembershipError::Refused(_),
            ) => ProblemCode::StateConflict,
        };
        Self::new(code).saying(error.to_string()).because(error)
    }
}

/// An edge's id out of the path.
struct EdgePath(EdgeId);

impl<S: Send + Sync> FromRequestParts<S> for EdgePath {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut http::request::Parts, state: &S) -> Result<Self, ApiError> {
        let Path(text) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|_| ApiError::from(ProblemCode::NotFound))?;
        text.parse().map(Self).map_err(|_| ProblemCode::NotFound.into())
    }
}

/// Control nodes and edges, with their load.
#[utoipa::path(get, path = "/v1/fleet/nodes", tag = TAG,
    responses((status = 200, description = "Every machine.", body = Nodes)))]
async fn node_list(State(fleet): State<Fleet>) -> Json<Nodes> {
    Json(fleet.nodes())
}

/// Rooms and who is where, by opaque ids.
#[utoipa::path(get, path = "/v1/fleet/sessions", tag = TAG, params(SessionsQuery),
    responses((status = 200, description = "The latest first.", body = Sessions)))]
async fn session_list(
    State(fleet): State<Fleet>,
    query: Result<Query<SessionsQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<Sessions>, ApiError> {
    let Query(query) = query.map_err(|_| ApiError::invalid("The query does not parse."))?;
    let limit = query.limit.unwrap_or(ROOMS_LIMIT_DEFAULT);
    if !(1..=ROOMS_LIMIT_MAX).contains(&limit) {
        return Err(ApiError::field(
            "limit",
            format!("must be 1 to {ROOMS_LIMIT_MAX}"),
        ));
    }
    Ok(Json(fleet.sessions(limit as usize)))
}

/// The Raft group.
#[utoipa::path(get, path = "/v1/fleet/raft", tag = TAG,
    responses((status = 200, description = "As the asked node sees it.", body = Raft)))]
async fn raft_get(State(fleet): State<Fleet>) -> Json<Raft> {
    Json(fleet.raft())
}

/// Sends nobody new to an edge; who is there stays.
#[utoipa::path(post, path = "/v1/fleet/edges/{id}/cordon", tag = TAG, params(("id" = uuid::Uuid, Path,)),
    responses((status = 204, description = "It holds.")))]
async fn edge_cordon(State(fleet): State<Fleet>, EdgePath(edge): EdgePath) -> Result<StatusCode, ApiError> {
    fleet.edge_cordon(edge, true).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Sends people to an edge again.
#[utoipa::path(post, path = "/v1/fleet/edges/{id}/uncordon", tag = TAG, params(("id" = uuid::Uuid, Path,)),
    responses((status = 204, description = "It holds.")))]
async fn edge_uncordon(State(fleet): State<Fleet>, EdgePath(edge): EdgePath) -> Result<StatusCode, ApiError> {
    fleet.edge_cordon(edge, false).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Moves an edge's people away: it takes nobody new, and tells everybody to go to their next edge,
/// whose connection is up before the old one goes. Look at the edge to see how far it is.
#[utoipa::path(post, path = "/v1/fleet/edges/{id}/drain", tag = TAG, params(("id" = uuid::Uuid, Path,)),
    responses((status = 204, description = "It holds.")))]
async fn edge_drain(State(fleet): State<Fleet>, EdgePath(edge): EdgePath) -> Result<StatusCode, ApiError> {
    fleet.edge_drain(edge, true).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Ends a drain: people are sent to the edge again.
#[utoipa::path(post, path = "/v1/fleet/edges/{id}/undrain", tag = TAG, params(("id" = uuid::Uuid, Path,)),
    responses((status = 204, description = "It holds.")))]
async fn edge_undrain(State(fleet): State<Fleet>, EdgePath(edge): EdgePath) -> Result<StatusCode, ApiError> {
    fleet.edge_drain(edge, false).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// One edge, with its load.
#[utoipa::path(get, path = "/v1/fleet/edges/{id}", tag = TAG, params(("id" = uuid::Uuid, Path,)),
    responses((status = 200, description = "The edge.", body = EdgeNode)))]
async fn edge_get(State(fleet): State<Fleet>, EdgePath(edge): EdgePath) -> Result<Json<EdgeNode>, ApiError> {
    Ok(Json(fleet.edge(edge)?))
}

/// Takes an edge out of the fleet for good; its certificate is refused from then on. 409 while it
/// still carries people, unless forced.
#[utoipa::path(delete, path = "/v1/fleet/edges/{id}", tag = TAG,
    params(("id" = uuid::Uuid, Path,), EdgeRemoval),
    responses((status = 204, description = "It is gone.")))]
async fn edge_remove(
    State(fleet): State<Fleet>,
    EdgePath(edge): EdgePath,
    query: Result<Query<EdgeRemoval>, axum::extract::rejection::QueryRejection>,
) -> Result<StatusCode, ApiError> {
    let Query(query) = query.map_err(|_| ApiError::invalid("The query does not parse."))?;
    fleet.edge_remove(edge, query.force).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// How many more people fit while the largest edge could still die, by region.
#[utoipa::path(get, path = "/v1/fleet/headroom", tag = TAG,
    responses((status = 200, description = "As the asked node sees it.", body = FleetHeadroom)))]
async fn headroom_get(State(fleet): State<Fleet>) -> Json<FleetHeadroom> {
    Json(fleet.headroom())
}

/// Why the people of a room are where they are, and by which rule each other edge lost.
#[utoipa::path(get, path = "/v1/fleet/rooms/{id}/explain", tag = TAG, params(("id" = uuid::Uuid, Path,)),
    responses((status = 200, description = "The planner's reports.", body = Explanation)))]
async fn room_explain(
    State(fleet): State<Fleet>,
    Path(room): Path<String>,
) -> Result<Json<Explanation>, ApiError> {
    let room = room.parse().map_err(|_| ApiError::from(ProblemCode::NotFound))?;
    Ok(Json(fleet.explain(room).await?))
}

/// A token that lets one edge in, once.
///
/// Its secret is kept nowhere: it follows from the cluster's secret and the `Idempotency-Key`, so that the
/// same request within a day is answered with the same token, spent or not.
#[utoipa::path(post, path = "/v1/fleet/join-tokens", tag = TAG, request_body = JoinTokenCreate,
    params(("Idempotency-Key" = String, Header, min_length = 8, max_length = 64)),
    responses((status = 201, description = "The token.", body = JoinToken)))]
async fn join_token_create(
    State(fleet): State<Fleet>,
    key: IdempotencyKey,
    body: Body<JoinTokenCreate>,
) -> Result<(StatusCode, Json<JoinToken>), ApiError> {
    let token = fleet.join_token_create(&key.0, body.value.life_seconds).await?;
    Ok((StatusCode::CREATED, Json(token)))
}

/// Adds a node to the Raft group, without a vote.
#[utoipa::path(post, path = "/v1/fleet/raft/add-learner", tag = TAG, request_body = LearnerAdd,
    responses((status = 200, description = "The group now.", body = Raft)))]
async fn raft_add_learner(
    State(fleet): State<Fleet>,
    body: Body<LearnerAdd>,
) -> Result<Json<Raft>, ApiError> {
    fleet
        .raft_add_learner(body.value.node, &body.value.link_address)
        .await?;
    Ok(Json(fleet.raft()))
}

/// Gives a learner that has caught up a vote. 409 while it does not answer or is behind.
#[utoipa::path(post, path = "/v1/fleet/raft/promote", tag = TAG, request_body = RaftNode,
    responses((status = 200, description = "The group now.", body = Raft)))]
async fn raft_promote(State(fleet): State<Fleet>, body: Body<RaftNode>) -> Result<Json<Raft>, ApiError> {
    fleet.raft_promote(body.value.node).await?;
    Ok(Json(fleet.raft()))
}

/// Takes a node out of the Raft group. 409 when too few of those that stay answer.
#[utoipa::path(post, path = "/v1/fleet/raft/remove", tag = TAG, request_body = RaftNode,
    responses((status = 200, description = "The group now.", body = Raft)))]
async fn raft_remove(State(fleet): State<Fleet>, body: Body<RaftNode>) -> Result<Json<Raft>, ApiError> {
    fleet.raft_remove(body.value.node).await?;
    Ok(Json(fleet.raft()))
}
