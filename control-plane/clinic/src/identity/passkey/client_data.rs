//! What the browser says it did (WebAuthn L3 section 5.8.1).

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Deserialize;

use super::{Expectation, PasskeyError};

/// Which request was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ceremony {
    Create,
    Get,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ClientData {
    #[serde(rename = "type")]
    kind: String,
    challenge: String,
    origin: String,
    #[serde(default)]
    cross_origin: bool,
    top_origin: Option<String>,
}

/// The challenge that client data says it answers. Whether it is one of ours is the caller's to
/// find out, before it is expected anywhere.
#[must_use]
pub fn challenge_of(json: &[u8]) -> Option<Vec<u8>> {
    let data: ClientData = serde_json::from_slice(json).ok()?;
    BASE64_URL_SAFE_NO_PAD.decode(data.challenge).ok()
}

/// Type, challenge and origin are the expected ones, and no foreign page framed ours.
pub(super) fn check(ceremony: Ceremony, expected: &Expectation<'_>, json: &[u8]) -> Result<(), PasskeyError> {
    let data: ClientData = serde_json::from_slice(json).map_err(|_| PasskeyError::ClientData)?;
    let kind = match ceremony {
        Ceremony::Create => "webauthn.create",
        Ceremony::Get => "webauthn.get",
    };
    if data.kind != kind {
        return Err(PasskeyError::Ceremony);
    }
    if data.challenge != BASE64_URL_SAFE_NO_PAD.encode(expected.challenge) {
        return Err(PasskeyError::Challenge);
    }
    let known = expected.origins.contains(&data.origin);
    if !known || data.cross_origin || data.top_origin.is_some() {
        return Err(PasskeyError::Origin);
    }
    Ok(())
}
