//! The long-term credential mechanism (RFC 8489 §9.2.4) over time-limited credentials.

use std::str;

use super::allocation::Allocation;
use super::{Client, Counter, Now, Server};
use crate::codec::{Fields, IntegrityKind, Message};
use crate::credential::{IntegrityKey, PasswordAlgorithm, ShortTermCredential, Username};

/// PASSWORD-ALGORITHMS as we send it, and as it has to come back: SHA-256, then MD5, neither
/// with parameters (RFC 8489 §14.11). Whoever takes the stronger one out on the way to the
/// client is found out when the client repeats the list under its integrity attribute.
pub(super) const PASSWORD_ALGORITHMS: [u8; 8] = [0, 2, 0, 0, 0, 1, 0, 0];

/// The attributes of a request that contradict what was offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct NotOffered;

/// The algorithm a request uses: both attributes or neither (RFC 8489 §9.2.4).
fn password_algorithm(fields: &Fields<'_>) -> Result<PasswordAlgorithm, NotOffered> {
    match (fields.password_algorithms, fields.password_algorithm) {
        (None, None) => Ok(PasswordAlgorithm::Md5),
        (Some(list), Some(Some(chosen))) if list == PASSWORD_ALGORITHMS => match chosen {
            1 => Ok(PasswordAlgorithm::Md5),
            2 => Ok(PasswordAlgorithm::Sha256),
            _ => Err(NotOffered),
        },
        _ => Err(NotOffered),
    }
}

/// Judges a Binding request where those need a short-term credential (RFC 8489 §9.1.3).
pub(super) fn authenticate_binding(
    credential: &ShortTermCredential,
    message: &Message<'_>,
    fields: &Fields<'_>,
) -> Result<IntegrityKind, Refusal> {
    match (fields.integrity, fields.username) {
        (None, None) => refuse(401, Counter::AuthMissing),
        (Some(integrity), Some(username)) => {
            if username != credential.username.as_bytes() {
                return refuse(401, Counter::AuthUsername);
            }
            if !integrity.verify(credential.password.as_bytes(), message) {
                return refuse(401, Counter::AuthIntegrity);
            }
            Ok(integrity.kind)
        }
        _ => refuse(400, Counter::AuthIncomplete),
    }
}

/// A request whose sender knows the password of its user name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Authentic<'a> {
    pub(super) username: &'a str,
    pub(super) key: IntegrityKey,
    pub(super) integrity: IntegrityKind,
}

/// A request that is not authenticated: the error to answer with, and the reason to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) code: u16,
    pub(super) reason: Counter,
}

const fn refuse<T>(code: u16, reason: Counter) -> Result<T, Refusal> {
    Err(Refusal { code, reason })
}

impl Server {
    /// Judges `message`. `existing` is the sender's allocation: its user is known by the key
    /// it was made with, whatever has become of the secret and the expiry since.
    pub(super) fn authenticate<'a>(
        &self,
        now: Now,
        client: Client,
        message: &Message<'_>,
        fields: &Fields<'a>,
        existing: Option<&Allocation>,
    ) -> Result<Authentic<'a>, Refusal> {
        let Some(integrity) = fields.integrity else {
            return refuse(401, Counter::AuthMissing);
        };
        let (Some(realm), Some(nonce)) = (fields.realm, fields.nonce) else {
            return refuse(400, Counter::AuthIncomplete);
        };
        let Some(username) = fields.username else {
            // A USERHASH could only be looked up in a list of users, and there is none: names
            // are made up by the control plane and checked without having been seen.
            let hashed = fields.userhash.is_some();
            return refuse(if hashed { 401 } else { 400 }, Counter::AuthIncomplete);
        };
        let Ok(username) = str::from_utf8(username) else {
            return refuse(401, Counter::AuthUsername);
        };
        if realm != self.realm.as_bytes() {
            return refuse(401, Counter::AuthUsername);
        }
        let algorithm = match password_algorithm(fields) {
            Ok(algorithm) => algorithm,
            // Only a nonce with our cookie makes the attributes mean anything (RFC 8489 §9.2.4).
            Err(_) if self.nonces.is_valid(now.unix_s, client, nonce) => {
                return refuse(400, Counter::AuthAlgorithm);
            }
            Err(_) => return refuse(438, Counter::AuthStaleNonce),
        };
        let verifies = |key: &IntegrityKey| integrity.verify(key, message);
        let known = |allocation: &&Allocation| {
            *allocation.username == *username && allocation.key.algorithm() == algorithm
        };
        let key = match existing.filter(known) {
            Some(allocation) => Some(allocation.key).filter(verifies),
            None => self.key_of(now, username, algorithm, verifies)?,
        };
        let Some(key) = key else {
            return refuse(401, Counter::AuthIntegrity);
        };
        if !self.nonces.is_valid(now.unix_s, client, nonce) {
            return refuse(438, Counter::AuthStaleNonce);
        }
        Ok(Authentic {
            username,
            key,
            integrity: integrity.kind,
        })
    }

    /// The key of a user name that has not expired, under whichever secret verifies.
    fn key_of(
        &self,
        now: Now,
        username: &str,
        algorithm: PasswordAlgorithm,
        verifies: impl Fn(&IntegrityKey) -> bool,
    ) -> Result<Option<IntegrityKey>, Refusal> {
        let Some(name) = Username::parse(username) else {
            return refuse(401, Counter::AuthUsername);
        };
        if name.expires_unix_s <= now.unix_s {
            return refuse(401, Counter::AuthExpired);
        }
        let mut keys = self
            .secrets
            .iter()
            .map(|secret| secret.integrity_key(algorithm, username, &self.realm));
        Ok(keys.find(|key| verifies(key)))
    }
}
