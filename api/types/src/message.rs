//! Chat inside a visit.

use garde::Validate;
use medmesh_base::{MessageId, ParticipantId, Phi};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};

use crate::rules;

/// A chat message. Ids sort by the order of sending.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Message {
    /// Which message.
    #[schema(value_type = uuid::Uuid)]
    pub id: MessageId,
    /// Who wrote it.
    #[schema(value_type = uuid::Uuid)]
    pub participant_id: ParticipantId,
    /// The text, as written; never markup.
    #[schema(value_type = String)]
    pub body: Phi<String>,
    /// When it was stored.
    #[serde(with = "time::serde::rfc3339")]
    pub sent_at: OffsetDateTime,
}

/// Which messages to list, oldest first.
#[derive(Clone, Debug, Default, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct MessageQuery {
    /// Only those after this message.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<uuid::Uuid>)]
    pub after: Option<MessageId>,
    /// Most items to return, 1 to 200; 50 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 200)]
    pub limit: Option<u32>,
}

/// A message to send.
#[derive(Clone, Debug, Serialize, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MessageCreate {
    /// The text.
    #[garde(custom(rules::message_body))]
    #[schema(value_type = String, min_length = 1, max_length = 4000)]
    pub body: Phi<String>,
}
