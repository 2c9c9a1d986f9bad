//! What a media token says (RFC 7519 claims), shared by the control plane that
//! signs it and the edges that verify it offline. Signing lives in `vault`,
//! verifying in `edge-node`.

use serde::{Deserialize, Serialize};

use crate::{EdgeId, ParticipantId, RoomId};

/// The `iss` of every media token.
pub const ISSUER: &str = "medmesh";
/// The `aud` of every media token.
pub const AUDIENCE: &str = "edge";
/// Longest life of a join token, seconds: long enough for a slow device to gather its offer.
pub const JOIN_LIFE_SECONDS: i64 = 60;

/// How a token may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenUse {
    /// Once, within [`JOIN_LIFE_SECONDS`].
    Join,
    /// Any number of times in the visit's window, each with a proof by the `cnf` key.
    Resume,
}

/// The claims of a media token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MediaClaims {
    /// Always [`ISSUER`].
    pub iss: String,
    /// Always [`AUDIENCE`].
    pub aud: String,
    /// Whose connection this is.
    pub sub: ParticipantId,
    /// Unique per token; a join token's is spent at its first use.
    pub jti: String,
    /// Issued at, seconds since the Unix epoch.
    pub iat: i64,
    /// Not before, seconds since the Unix epoch.
    pub nbf: i64,
    /// Expiry, seconds since the Unix epoch.
    pub exp: i64,
    /// Join or resume.
    #[serde(rename = "typ")]
    pub token_use: TokenUse,
    /// The only room it opens.
    pub room: RoomId,
    /// The assignment it was made from; an edge that knows a later one refuses.
    pub epoch: u64,
    /// What the participant may do there.
    pub grants: Grants,
    /// The participant's edges in order: home first, then fall-backs.
    pub edges: Vec<SignallingEdge>,
    /// The edges the room is on, home included.
    pub mesh: Vec<MeshEdge>,
    /// The key a resume proof must be made with (RFC 7800).
    pub cnf: Confirmation,
}

/// What a participant may do in the room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grants {
    /// Sources that may be published.
    pub publish: Vec<Source>,
    /// Whether others' media is sent to this participant.
    pub subscribe: bool,
}

/// Where a track comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// The microphone.
    Mic,
    /// The camera.
    Camera,
    /// A shared screen or window.
    Screen,
}

/// An edge a participant may signal to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignallingEdge {
    /// Which edge.
    pub id: EdgeId,
    /// Base URL of its signalling.
    pub url: String,
    /// `host:port` other edges dial.
    pub link: String,
}

/// An edge another edge may link to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MeshEdge {
    /// Which edge.
    pub id: EdgeId,
    /// `host:port` to dial.
    pub link: String,
}

/// Proof-of-possession key (RFC 7800 section 3.2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirmation {
    /// The public key.
    pub jwk: PublicJwk,
}

/// A P-256 public key as JWK (RFC 7517); coordinates in base64url.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicJwk {
    /// Always `EC`.
    pub kty: String,
    /// Always `P-256`.
    pub crv: String,
    /// X coordinate.
    pub x: String,
    /// Y coordinate.
    pub y: String,
}
