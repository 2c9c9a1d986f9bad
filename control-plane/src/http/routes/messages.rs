//! Chat inside a visit.

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use medmesh_api_types::message::{Message, MessageCreate, MessageQuery};
use medmesh_api_types::page::List;
use medmesh_base::VisitId;
use medmesh_clinic::MessageBody;
use medmesh_clinic::authz::Action;
use utoipa_axum::routes;

use crate::http::access::Routes;
use crate::http::caller::Signed;
use crate::http::creation::{Claimed, Creation};
use crate::http::error::ApiError;
use crate::http::extract::{Body, Id, IdempotencyKey, Query};
use crate::http::mapping;
use crate::http::state::Api;

const TAG: &str = "messages";

pub(super) fn routes() -> Routes {
    Routes::new()
        .signed(Action::MessageList, routes!(message_list))
        .signed(Action::MessageCreate, routes!(message_create))
}

/// The visit's messages, oldest first. Participants only.
#[utoipa::path(get, path = "/v1/visits/{id}/messages", tag = TAG,
    params(("id" = uuid::Uuid, Path), MessageQuery),
    responses((status = 200, description = "The messages.", body = List<Message>)))]
async fn message_list(
    State(api): State<Api>,
    signed: Signed,
    Id(id): Id<VisitId>,
    Query(query): Query<MessageQuery>,
) -> Result<Json<List<Message>>, ApiError> {
    // The bound of every listing; the cursor of this one is a message's id.
    let limit = mapping::page_request(None, query.limit)?.limit;
    let mut tx = api.begin(&signed).await?;
    let messages = tx.message_list(id, query.after, limit).await?;
    tx.commit().await?;
    let items = messages.into_iter().map(mapping::message).collect();
    Ok(Json(List { items }))
}

/// Sends a message. It is stored before it is acknowledged. Participants only.
#[utoipa::path(post, path = "/v1/visits/{id}/messages", tag = TAG, request_body = MessageCreate,
    params(("id" = uuid::Uuid, Path), ("Idempotency-Key" = String, Header, min_length = 8, max_length = 64)),
    responses((status = 201, description = "Stored.", body = Message)))]
async fn message_create(
    State(api): State<Api>,
    signed: Signed,
    Id(id): Id<VisitId>,
    key: IdempotencyKey,
    Body {
        value: message,
        bytes,
    }: Body<MessageCreate>,
) -> Result<Response, ApiError> {
    let body: MessageBody = message.body.expose().parse()?;
    let request: [&[u8]; 2] = [&id.to_vec(), &bytes];
    let claimed = Creation::claim(&api, &signed, "message_create", key, &request).await?;
    let mut creation = match claimed {
        Claimed::New(creation) => creation,
        Claimed::Replay(answer) => return Ok(answer),
    };
    let message = creation.tx.message_create(id, &body).await?;
    creation.created(&[], &mapping::message(message)).await
}
