//! The long-term credential mechanism (RFC 8489 §9.2.4) over time-limited credentials.

use std::str;

use super::allocation::Allocation;
use super::{Client, Counter, Now, Server};
use crate::codec::{Fields, IntegrityKind, Message};
use crate::credential::{IntegrityKey, Username};

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
        let verifies = |key: &IntegrityKey| integrity.verify(key, message);
        let key = match existing.filter(|allocation| *allocation.username == *username) {
            Some(allocation) => Some(allocation.key).filter(verifies),
            None => self.key_of(now, username, verifies)?,
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
            .map(|secret| secret.integrity_key(username, &self.realm));
        Ok(keys.find(|key| verifies(key)))
    }
}
