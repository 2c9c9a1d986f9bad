//! What a machine says to prove itself (RFC 7521, RFC 7523 section 3), and when it is believed.

use medmesh_base::ClientId;
use serde::Deserialize;
use time::{Duration, OffsetDateTime};

use crate::audience::Audience;
use crate::word::words;

/// How far the machine's clock may be from ours.
pub const ASSERTION_SKEW: Duration = Duration::seconds(30);
/// How long an assertion may be good (SMART App Launch 2, client authentication: asymmetric).
pub const ASSERTION_LIFETIME_MAX: Duration = Duration::minutes(5);
/// Longest `jti`.
pub const JTI_BYTES_MAX: usize = 256;

/// The claims of an assertion. Times are seconds since 1970.
#[derive(Clone, Debug, Deserialize)]
pub struct AssertionClaims {
    /// Who says it.
    pub iss: String,
    /// About whom: the same.
    pub sub: String,
    /// To whom.
    pub aud: Audience,
    /// Until when it is good.
    pub exp: i64,
    /// Since when.
    #[serde(default)]
    pub nbf: Option<i64>,
    /// When it was made.
    #[serde(default)]
    pub iat: Option<i64>,
    /// What tells it from all others.
    pub jti: String,
}

/// What an assertion has to say.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// Whose keys it was checked with.
    pub client: ClientId,
    /// The address of the token endpoint, letter for letter.
    pub token_endpoint: &'a str,
}

/// An assertion that is believed, once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assertion {
    /// What tells it from all others of this machine.
    pub jti: String,
    /// Until when it has to be remembered that it was used.
    pub until: OffsetDateTime,
}

words! {
    /// Why an assertion is not believed.
    "refusal of an assertion" AssertionFault {
        /// Said by somebody else.
        Issuer = "issuer",
        /// About somebody else.
        Subject = "subject",
        /// To somebody else.
        Audience = "audience",
        /// Its time is over.
        Expired = "expired",
        /// Good for too long.
        Lifetime = "lifetime",
        /// Its time has not come.
        NotBefore = "not_before",
        /// Made in the future, or long ago.
        IssuedAt = "issued_at",
        /// Nothing tells it from others.
        Id = "id",
    }
}

impl AssertionClaims {
    /// Believes the claims, or says why not.
    ///
    /// # Errors
    /// The first [`AssertionFault`].
    pub fn accept(&self, expected: &Expected<'_>, now: OffsetDateTime) -> Result<Assertion, AssertionFault> {
        let client = expected.client.to_string();
        if self.iss != client {
            return Err(AssertionFault::Issuer);
        }
        if self.sub != client {
            return Err(AssertionFault::Subject);
        }
        // For several, one of them could use it against another.
        if !matches!(self.aud.as_slice(), [one] if one == expected.token_endpoint) {
            return Err(AssertionFault::Audience);
        }
        let at = |seconds| OffsetDateTime::from_unix_timestamp(seconds).ok();
        let end = at(self.exp).ok_or(AssertionFault::Expired)?;
        if end <= now - ASSERTION_SKEW {
            return Err(AssertionFault::Expired);
        }
        if end > now + ASSERTION_LIFETIME_MAX + ASSERTION_SKEW {
            return Err(AssertionFault::Lifetime);
        }
        if let Some(begin) = self.nbf
            && at(begin).is_none_or(|begin| begin > now + ASSERTION_SKEW)
        {
            return Err(AssertionFault::NotBefore);
        }
        if let Some(made) = self.iat {
            let age = at(made).map(|made| now - made);
            let longest = ASSERTION_LIFETIME_MAX + ASSERTION_SKEW;
            if age.is_none_or(|age| age < -ASSERTION_SKEW || age > longest) {
                return Err(AssertionFault::IssuedAt);
            }
        }
        if !(1..=JTI_BYTES_MAX).contains(&self.jti.len()) {
            return Err(AssertionFault::Id);
        }
        Ok(Assertion {
            jti: self.jti.clone(),
            until: end + ASSERTION_SKEW,
        })
    }
}
