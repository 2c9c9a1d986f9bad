//! From a visit to an edge: what a browser needs to join the media.

use garde::Validate;
use medmesh_base::{EdgeId, ParticipantId, Region, RoomId, VisitId, media_token};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};

use crate::{Secret, rules};

/// For which visit.
#[derive(Clone, Debug, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct CandidateQuery {
    /// A visit of the caller.
    #[param(value_type = uuid::Uuid)]
    pub visit_id: VisitId,
}

/// The edges worth timing.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Candidates {
    /// At most four.
    pub edges: Vec<Candidate>,
}

/// An edge worth timing.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Candidate {
    /// Which edge.
    #[schema(value_type = uuid::Uuid)]
    pub id: EdgeId,
    /// What it is called.
    pub name: String,
    /// Where it stands.
    #[schema(value_type = String)]
    pub region: Region,
    /// Answers 204; the time it takes is the round trip.
    pub probe_url: String,
}

/// Asks for a place in the visit's media.
#[derive(Clone, Debug, Serialize, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SessionRequest {
    /// A visit of the caller.
    #[garde(skip)]
    #[schema(value_type = uuid::Uuid)]
    pub visit_id: VisitId,
    /// Round trips to the candidates; may be empty.
    #[garde(length(max = rules::PROBES_MAX), dive)]
    #[serde(default)]
    #[schema(required = false, max_items = 8)]
    pub probes: Vec<EdgeProbe>,
    /// Public half of a key the browser made and cannot export; a resume must be signed with it.
    #[garde(dive)]
    pub key: PublicJwk,
}

/// The client's own round trip to an edge.
#[derive(Clone, Debug, Serialize, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EdgeProbe {
    /// Which edge.
    #[garde(skip)]
    #[schema(value_type = uuid::Uuid)]
    pub edge_id: EdgeId,
    /// Milliseconds there and back, 0 to 10000.
    #[garde(custom(rules::rtt_ms))]
    #[schema(minimum = 0, maximum = 10000)]
    pub rtt_ms: f64,
}

/// A P-256 public key (RFC 7517, RFC 7518 section 6.2). Unknown members are
/// ignored, because browsers export `ext` and `key_ops` with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Validate, ToSchema)]
pub struct PublicJwk {
    /// `EC`.
    #[garde(length(max = 8))]
    #[schema(example = "EC")]
    pub kty: String,
    /// `P-256`.
    #[garde(length(max = 8))]
    #[schema(example = "P-256")]
    pub crv: String,
    /// X coordinate, 32 bytes in base64url.
    #[garde(length(max = 64))]
    pub x: String,
    /// Y coordinate, 32 bytes in base64url.
    #[garde(length(max = 64))]
    pub y: String,
}

impl From<PublicJwk> for media_token::PublicJwk {
    fn from(key: PublicJwk) -> Self {
        Self {
            kty: key.kty,
            crv: key.crv,
            x: key.x,
            y: key.y,
        }
    }
}

/// A place in the visit's media.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SignalingSession {
    /// The visit, as the media plane knows it.
    #[schema(value_type = uuid::Uuid)]
    pub room_id: RoomId,
    /// The caller, as the media plane knows them.
    #[schema(value_type = uuid::Uuid)]
    pub participant_id: ParticipantId,
    /// The assignment the tokens were made from.
    pub epoch: u64,
    /// Opens the first connection; once, within a minute.
    #[schema(value_type = String)]
    pub join_token: Secret,
    /// Opens later ones, each with a proof by `key` (RFC 9449).
    #[schema(value_type = String)]
    pub resume_token: Secret,
    /// When the resume token ends.
    #[serde(with = "time::serde::rfc3339")]
    pub resume_expires_at: OffsetDateTime,
    /// In order: home first, then fall-backs.
    pub edges: Vec<SessionEdge>,
    /// For `RTCPeerConnection`.
    pub ice_servers: Vec<IceServer>,
}

/// An edge to join at.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SessionEdge {
    /// Which edge.
    #[schema(value_type = uuid::Uuid)]
    pub id: EdgeId,
    /// What it is called.
    pub name: String,
    /// Where it stands.
    #[schema(value_type = String)]
    pub region: Region,
    /// Takes the offer (RFC 9725).
    pub whip_url: String,
}

/// A TURN server with credentials for this participant (`RTCIceServer`).
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct IceServer {
    /// `turn:host:port?transport=udp` and the like.
    pub urls: Vec<String>,
    /// Expiry and an opaque id.
    pub username: String,
    /// Ends with the username.
    #[schema(value_type = String)]
    pub credential: Secret,
}
