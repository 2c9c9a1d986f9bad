//! Machines of a clinic that ask by themselves: what they may, and how they prove who they are.
//!
//! A machine is an OAuth 2.0 client of the client credentials grant (RFC 6749 section 4.4). It holds
//! a private key; the clinic's admin registers the public one, and an assertion signed with it
//! (RFC 7523) is exchanged for an access token of a few minutes. That is the shape of SMART Backend
//! Services, so that hospital systems know it already.
//!
//! Here are the rules: which scopes there are ([`Scope`]), which keys will do ([`ClientKeys`]), which
//! claims are believed ([`AssertionClaims`]). Signatures and clocks are somebody else's.

mod assertion;
mod keys;
mod scope;

use std::str::FromStr;

use medmesh_base::ClientId;
use time::{Duration, OffsetDateTime};

use crate::{Invalid, Version};

pub use assertion::{
    ASSERTION_LIFETIME_MAX, ASSERTION_SKEW, Assertion, AssertionClaims, AssertionFault, Expected,
    JTI_BYTES_MAX,
};
pub use keys::{
    CLIENT_KEYS_MAX, ClientKey, ClientKeys, KEY_ID_BYTES_MAX, KeyAlgorithm, KeyFault, PublicKey,
    RSA_BITS_MAX, RSA_BITS_MIN,
};
pub use scope::{Scope, Scopes, UnknownScope};

/// How long an access token is good: what SMART Backend Services recommends at most.
pub const ACCESS_TOKEN_LIFETIME: Duration = Duration::minutes(5);

/// Longest name of a machine in characters: a system and where it stands.
pub const CLIENT_NAME_CHARS_MAX: usize = 120;

/// What a clinic calls one of its machines: the name of a system, of nobody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientName(String);

impl ClientName {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ClientName {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let text = text.trim();
        let fits = (1..=CLIENT_NAME_CHARS_MAX).contains(&text.chars().count());
        if fits && !text.chars().any(char::is_control) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Invalid::ClientName)
        }
    }
}

/// A machine of a clinic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// Which; its `client_id`.
    pub id: ClientId,
    /// What the clinic calls it.
    pub name: String,
    /// What it may at most.
    pub scopes: Scopes,
    /// What it proves itself with.
    pub keys: ClientKeys,
    /// Whether it is let in at all.
    pub enabled: bool,
    /// Since when it is registered.
    pub created_at: OffsetDateTime,
    /// When it last proved itself; tokens live for minutes.
    pub last_used_at: Option<OffsetDateTime>,
    /// Rises with each change.
    pub version: Version,
}

/// What it takes to register a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewClient {
    /// What the clinic calls it.
    pub name: ClientName,
    /// What it may; not empty.
    pub scopes: Scopes,
    /// What it proves itself with.
    pub keys: ClientKeys,
}

/// What of a machine should change; `None` leaves it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientChange {
    /// Another name.
    pub name: Option<ClientName>,
    /// Other scopes; not empty.
    pub scopes: Option<Scopes>,
    /// Other keys. One that is no longer among them ends what was obtained with it.
    pub keys: Option<ClientKeys>,
    /// Whether it is let in at all.
    pub enabled: Option<bool>,
}

#[cfg(test)]
mod tests;
