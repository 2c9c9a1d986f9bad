//! What has to come back from a sign-in elsewhere, in a cookie of the browser that began it.
//!
//! The tag is the cluster's, so that only what we wrote is believed, on any node; that it is used
//! once is the database's to see to. Whoever brings a code and a state without the cookie began
//! nothing here: codes cannot be slipped to somebody else's browser.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::{hmac, rand};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use medmesh_api_types::oidc::Portal;
use medmesh_base::{ClinicId, SessionId};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;
use time::{Duration, OffsetDateTime};

/// How long signing in elsewhere may take, a forgotten password there included.
pub(crate) const FLOW_FOR: Duration = Duration::minutes(10);
/// Random bytes of state, nonce and verifier each.
const RANDOM: usize = 32;

/// What it is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum FlowPurpose {
    /// Signing in.
    Login,
    /// Linking an identity to whoever holds this session.
    Link(SessionId),
    /// Accepting an invitation, by its token.
    Invitation(String),
}

/// One sign-in under way.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Flow {
    pub(crate) clinic: ClinicId,
    pub(crate) state: String,
    pub(crate) nonce: String,
    pub(crate) verifier: String,
    pub(crate) purpose: FlowPurpose,
    /// Where it was begun, if it was said.
    #[serde(default)]
    pub(crate) portal: Option<Portal>,
    ends: i64,
}

impl Flow {
    /// A new one.
    pub(crate) fn begin(clinic: ClinicId, purpose: FlowPurpose, now: OffsetDateTime) -> Self {
        Self {
            clinic,
            state: random(),
            nonce: random(),
            verifier: random(),
            purpose,
            portal: None,
            ends: (now + FLOW_FOR).unix_timestamp(),
        }
    }

    /// The same, coming back to this portal.
    pub(crate) fn at(self, portal: Option<Portal>) -> Self {
        Self { portal, ..self }
    }

    /// RFC 7636 section 4.2.
    pub(crate) fn code_challenge(&self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA256, self.verifier.as_bytes()))
    }

    /// Names it among those that came back.
    pub(crate) fn sha256(&self) -> [u8; 32] {
        let text = format!("oidc flow {}", self.state);
        let hash = digest(&SHA256, text.as_bytes());
        hash.as_ref().try_into().expect("a SHA-256 has 32 bytes")
    }

    /// When it ends.
    pub(crate) fn ends_at(&self) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(self.ends).unwrap_or(OffsetDateTime::UNIX_EPOCH)
    }
}

fn random() -> String {
    let mut bytes = [0; RANDOM];
    rand::fill(&mut bytes).expect("the system has random bytes");
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// Writes and reads the cookie.
pub(crate) struct Flows(hmac::Key);

impl Flows {
    pub(crate) fn new(secret: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// The cookie's value.
    pub(crate) fn write(&self, flow: &Flow) -> String {
        let json = serde_json::to_vec(flow).expect("plain data");
        let tag = hmac::sign(&self.0, &tagged(&json));
        BASE64_URL_SAFE_NO_PAD.encode([tag.as_ref(), &json].concat())
    }

    /// What the cookie holds, if it is ours, not over, and about this state.
    pub(crate) fn read(&self, cookie: &str, state: &str, now: OffsetDateTime) -> Option<Flow> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(cookie).ok()?;
        let (tag, json) = bytes.split_at_checked(SHA256.output_len())?;
        hmac::verify(&self.0, &tagged(json), tag).ok()?;
        let flow: Flow = serde_json::from_slice(json).ok()?;
        let same: bool = flow.state.as_bytes().ct_eq(state.as_bytes()).into();
        (same && flow.ends_at() > now).then_some(flow)
    }
}

fn tagged(json: &[u8]) -> Vec<u8> {
    [&b"oidc flow\0"[..], json].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flow_comes_back_to_the_browser_that_began_it_in_its_time() {
        let (flows, now) = (Flows::new(b"cluster"), OffsetDateTime::now_utc());
        let flow = Flow::begin(ClinicId::generate(), FlowPurpose::Login, now);
        let other = Flow::begin(flow.clinic, FlowPurpose::Login, now);
        let cookie = flows.write(&flow);
        let back = flows.read(&cookie, &flow.state, now).unwrap();
        assert_eq!(
            (back.nonce, back.verifier),
            (flow.nonce.clone(), flow.verifier.clone())
        );
        assert!(flows.read(&cookie, &other.state, now).is_none());
        assert!(flows.read(&cookie, &flow.state, now + FLOW_FOR).is_none());
        assert!(flows.read("", &flow.state, now).is_none());
        assert!(Flows::new(b"other").read(&cookie, &flow.state, now).is_none());
        let mut bytes = BASE64_URL_SAFE_NO_PAD.decode(&cookie).unwrap();
        let last = bytes.len() - 3;
        bytes[last] ^= 1;
        let altered = BASE64_URL_SAFE_NO_PAD.encode(bytes);
        assert!(flows.read(&altered, &flow.state, now).is_none());
        assert_ne!(flow.sha256(), other.sha256());
    }

    #[test]
    fn the_challenge_is_the_one_of_the_standards_example() {
        // RFC 7636 appendix B.
        let mut flow = Flow::begin(
            ClinicId::generate(),
            FlowPurpose::Login,
            OffsetDateTime::now_utc(),
        );
        flow.verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk".into();
        assert_eq!(
            flow.code_challenge(),
            "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
        );
    }
}
