//! Time-limited TURN credentials, as the widely spoken "TURN REST" convention has
//! them: user name `expiry:opaque-id`, password an HMAC of it.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use medmesh_base::ParticipantId;

/// What a client hands to its ICE agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TurnCredentials {
    /// `expiry:opaque-id`; the id is a participant of the media plane, no person.
    pub username: String,
    /// Base64 of HMAC-SHA-1 over the user name.
    pub password: String,
}

/// Credentials under `secret` (see [`crate::ClusterSecret::turn_secret`]) good until
/// `expires_unix_s`.
#[must_use]
pub fn credentials(secret: &str, participant: ParticipantId, expires_unix_s: i64) -> TurnCredentials {
    let username = format!("{expires_unix_s}:{participant}");
    // SHA-1 is what every TURN client and server of the convention computes; HMAC-SHA-1 is not
    // touched by the collision attacks on the bare hash.
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.as_bytes());
    let password = BASE64_STANDARD.encode(hmac::sign(&key, username.as_bytes()));
    TurnCredentials { username, password }
}
