//! Challenges of passkeys. Nothing is kept while somebody looks for their key: a challenge
//! carries its own end and a tag that only this cluster can make. That it is answered once
//! is the database's to see to.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::{hmac, rand};
use medmesh_base::SessionId;
use time::{Duration, OffsetDateTime};

/// How long finding the key and touching it may take.
pub(crate) const CHALLENGE_FOR: Duration = Duration::minutes(5);
/// Random bytes of a challenge (WebAuthn L3 section 13.4.3: 16 at least).
const RANDOM: usize = 16;
/// Bytes of its end, seconds since 1970.
const ENDS: usize = 8;

/// What a challenge is for; one for signing in does not set up a passkey.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Signing in.
    Login,
    /// Proving oneself in this session.
    Prove(SessionId),
    /// Setting up a passkey in this session.
    Register(SessionId),
}

/// A challenge that was ours and still is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    /// Names it among those that were answered.
    pub(crate) sha256: [u8; 32],
    /// When it ends.
    pub(crate) ends_at: OffsetDateTime,
}

/// Makes and knows challenges.
pub(crate) struct Challenges(hmac::Key);

impl Challenges {
    pub(crate) fn new(secret: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// A new challenge.
    pub(crate) fn issue(&self, purpose: Purpose, now: OffsetDateTime) -> Vec<u8> {
        let mut bytes = vec![0; RANDOM];
        rand::fill(&mut bytes).expect("the system has random bytes");
        bytes.extend((now + CHALLENGE_FOR).unix_timestamp().to_be_bytes());
        let tag = hmac::sign(&self.0, &tagged(purpose, &bytes));
        bytes.extend_from_slice(tag.as_ref());
        bytes
    }

    /// What is known about a challenge that came back, if it was made here for this.
    pub(crate) fn check(&self, purpose: Purpose, challenge: &[u8], now: OffsetDateTime) -> Option<Known> {
        let (head, tag) = challenge.split_at_checked(RANDOM + ENDS)?;
        hmac::verify(&self.0, &tagged(purpose, head), tag).ok()?;
        let ends = i64::from_be_bytes(head[RANDOM..].try_into().expect("eight bytes"));
        let ends_at = OffsetDateTime::from_unix_timestamp(ends).ok()?;
        let sha256 = digest(&SHA256, challenge)
            .as_ref()
            .try_into()
            .expect("a SHA-256 has 32 bytes");
        (ends_at > now).then_some(Known { sha256, ends_at })
    }
}

fn tagged(purpose: Purpose, head: &[u8]) -> Vec<u8> {
    let (word, session) = match purpose {
        Purpose::Login => ("passkey login", None),
        Purpose::Prove(session) => ("passkey prove", Some(session)),
        Purpose::Register(session) => ("passkey register", Some(session)),
    };
    let session = session.map(|session| session.as_uuid());
    let session = session.as_ref().map_or(&[][..], |session| session.as_bytes());
    [word.as_bytes(), b"\0", session, head].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_is_good_for_its_purpose_and_its_time() {
        let (challenges, now) = (Challenges::new(b"cluster"), OffsetDateTime::now_utc());
        let session = SessionId::generate();
        let purpose = Purpose::Prove(session);
        let challenge = challenges.issue(purpose, now);
        let known = challenges.check(purpose, &challenge, now).unwrap();
        assert!(known.ends_at <= now + CHALLENGE_FOR);
        assert_eq!(
            Challenges::new(b"cluster").check(purpose, &challenge, now),
            Some(known),
            "another node"
        );
        assert_eq!(Challenges::new(b"other").check(purpose, &challenge, now), None);
        assert_eq!(challenges.check(purpose, &challenge, now + CHALLENGE_FOR), None);
        for other in [
            Purpose::Login,
            Purpose::Register(session),
            Purpose::Prove(SessionId::generate()),
        ] {
            assert_eq!(challenges.check(other, &challenge, now), None, "{other:?}");
        }
        for at in 0..challenge.len() {
            let mut changed = challenge.clone();
            changed[at] ^= 1;
            assert_eq!(challenges.check(purpose, &changed, now), None, "byte {at}");
        }
        assert_eq!(challenges.check(purpose, &[], now), None);
        assert_ne!(challenges.issue(purpose, now), challenge);
    }
}
