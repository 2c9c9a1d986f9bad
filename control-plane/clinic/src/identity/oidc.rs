//! What an outside provider says about somebody, and when it is believed.
//!
//! The signature is somebody else's to check; here are the claims (OpenID Connect Core 1.0
//! section 3.1.3.7). An outside identity is issuer and subject; an address in a token says
//! nothing here, for whoever runs the provider may write any.

use serde::Deserialize;
use time::{Duration, OffsetDateTime};

use crate::audience::Audience;
use crate::word::words;

/// How far the provider's clock may be from ours.
pub const OIDC_SKEW: Duration = Duration::minutes(1);
/// How old a token may be: it was asked for in the same breath.
pub const OIDC_TOKEN_AGE_MAX: Duration = Duration::minutes(5);
/// Longest subject (OpenID Connect Core 1.0 section 2).
pub const OIDC_SUBJECT_BYTES_MAX: usize = 255;

/// The claims of an ID token.
#[derive(Clone, Debug, Deserialize)]
pub struct IdClaims {
    /// Who says it.
    pub iss: String,
    /// About whom.
    pub sub: String,
    /// To whom.
    pub aud: Audience,
    /// To whom of them it was given.
    #[serde(default)]
    pub azp: Option<String>,
    /// Until when it is good, seconds since 1970.
    pub exp: i64,
    /// Since when.
    pub iat: i64,
    /// What we sent along.
    #[serde(default)]
    pub nonce: Option<String>,
    /// When they proved themselves there.
    #[serde(default)]
    pub auth_time: Option<i64>,
    /// How (RFC 8176).
    #[serde(default)]
    pub amr: Vec<String>,
    /// How well.
    #[serde(default)]
    pub acr: Option<String>,
}

/// What the token has to say.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// The issuer, letter for letter.
    pub issuer: &'a str,
    /// Our client id there.
    pub client_id: &'a str,
    /// What we sent along.
    pub nonce: &'a str,
    /// Words of `amr`, or the `acr`, by which the clinic takes the provider's second factor for its
    /// own. Empty: never.
    pub second_factor: &'a [String],
}

/// Somebody a provider vouches for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutsideIdentity {
    /// Who says it.
    pub issuer: String,
    /// Whom they mean; unique there, and never given to anybody else.
    pub subject: String,
    /// Whether two factors were proved there, by what the clinic takes for that.
    pub multi_factor: bool,
    /// When they proved themselves there, if the provider says so; never in the future.
    pub proved_at: Option<OffsetDateTime>,
}

words! {
    /// Why a token is not believed.
    "refusal of a token" TokenFault {
        /// Somebody else's.
        Issuer = "issuer",
        /// For somebody else.
        Audience = "audience",
        /// Given to somebody else.
        AuthorizedParty = "authorized_party",
        /// Not the answer to our question.
        Nonce = "nonce",
        /// Its time is over.
        Expired = "expired",
        /// Made in the future, or long ago.
        IssuedAt = "issued_at",
        /// Nobody is meant.
        Subject = "subject",
    }
}

impl IdClaims {
    /// Believes the claims, or says why not.
    ///
    /// # Errors
    /// The first [`TokenFault`].
    pub fn accept(
        &self,
        expected: &Expected<'_>,
        now: OffsetDateTime,
    ) -> Result<OutsideIdentity, TokenFault> {
        if self.iss != expected.issuer {
            return Err(TokenFault::Issuer);
        }
        let audience = self.aud.as_slice();
        if !audience.iter().any(|one| one == expected.client_id) {
            return Err(TokenFault::Audience);
        }
        match &self.azp {
            Some(party) if party != expected.client_id => return Err(TokenFault::AuthorizedParty),
            None if audience.len() > 1 => return Err(TokenFault::AuthorizedParty),
            Some(_) | None => {}
        }
        if self.nonce.as_deref() != Some(expected.nonce) {
            return Err(TokenFault::Nonce);
        }
        let at = |seconds| OffsetDateTime::from_unix_timestamp(seconds).ok();
        if at(self.exp).is_none_or(|end| end <= now - OIDC_SKEW) {
            return Err(TokenFault::Expired);
        }
        let age = at(self.iat).map(|made| now - made);
        if age.is_none_or(|age| age < -OIDC_SKEW || age > OIDC_TOKEN_AGE_MAX) {
            return Err(TokenFault::IssuedAt);
        }
        if self.sub.is_empty() || self.sub.len() > OIDC_SUBJECT_BYTES_MAX {
            return Err(TokenFault::Subject);
        }
        let strong = |word: &String| expected.second_factor.contains(word);
        Ok(OutsideIdentity {
            issuer: self.iss.clone(),
            subject: self.sub.clone(),
            multi_factor: self.amr.iter().any(strong) || self.acr.as_ref().is_some_and(strong),
            proved_at: self.auth_time.and_then(at).map(|proved| proved.min(now)),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-03-01 12:00 UTC);
    const ISSUER: &str = "https://login.example.org/tenant";

    fn claims(change: &Value) -> IdClaims {
        let mut claims = json!({
            "iss": ISSUER, "sub": "subject-1", "aud": "clinic", "nonce": "n-1",
            "exp": NOW.unix_timestamp() + 300, "iat": NOW.unix_timestamp() - 1,
        });
        for (name, value) in change.as_object().unwrap() {
            claims[name] = value.clone();
        }
        serde_json::from_value(claims).unwrap()
    }

    fn ask(change: &Value, second_factor: &[&str]) -> Result<OutsideIdentity, TokenFault> {
        let second_factor: Vec<String> = second_factor.iter().map(|word| (*word).to_owned()).collect();
        let expected = Expected {
            issuer: ISSUER,
            client_id: "clinic",
            nonce: "n-1",
            second_factor: &second_factor,
        };
        claims(change).accept(&expected, NOW)
    }

    #[test]
    fn a_token_that_says_what_it_must_is_believed() {
        let identity = ask(&json!({}), &[]).unwrap();
        assert_eq!(
            (identity.issuer.as_str(), identity.subject.as_str()),
            (ISSUER, "subject-1")
        );
        assert!(!identity.multi_factor && identity.proved_at.is_none());
        for good in [
            json!({"aud": ["clinic"]}),
            json!({"aud": ["other", "clinic"], "azp": "clinic"}),
            json!({"azp": "clinic"}),
            json!({"exp": NOW.unix_timestamp() - 59}),
            json!({"iat": NOW.unix_timestamp() + 60}),
        ] {
            assert!(ask(&good, &[]).is_ok(), "{good}");
        }
    }

    #[test]
    fn whatever_is_not_ours_now_is_refused() {
        let second = NOW.unix_timestamp();
        for (change, fault) in [
            (
                json!({"iss": "https://login.example.org/tenant/"}),
                TokenFault::Issuer,
            ),
            (json!({"iss": "https://evil.example.org"}), TokenFault::Issuer),
            (json!({"aud": "other"}), TokenFault::Audience),
            (json!({"aud": []}), TokenFault::Audience),
            (json!({"aud": ["clinic", "other"]}), TokenFault::AuthorizedParty),
            (
                json!({"aud": ["clinic", "other"], "azp": "other"}),
                TokenFault::AuthorizedParty,
            ),
            (json!({"azp": "other"}), TokenFault::AuthorizedParty),
            (json!({"nonce": "n-2"}), TokenFault::Nonce),
            (json!({"nonce": null}), TokenFault::Nonce),
            (json!({"exp": second - 60}), TokenFault::Expired),
            (json!({"exp": i64::MIN}), TokenFault::Expired),
            (json!({"iat": second + 61}), TokenFault::IssuedAt),
            (json!({"iat": second - 301}), TokenFault::IssuedAt),
            (json!({"iat": i64::MAX}), TokenFault::IssuedAt),
            (json!({"sub": ""}), TokenFault::Subject),
            (json!({"sub": "x".repeat(256)}), TokenFault::Subject),
        ] {
            assert_eq!(ask(&change, &[]), Err(fault), "{change}");
        }
    }

    #[test]
    fn a_second_factor_counts_only_where_the_clinic_says_so() {
        let strong = json!({"amr": ["pwd", "mfa"], "acr": "urn:gold"});
        assert!(!ask(&strong, &[]).unwrap().multi_factor);
        assert!(ask(&strong, &["mfa"]).unwrap().multi_factor);
        assert!(ask(&strong, &["urn:gold"]).unwrap().multi_factor);
        assert!(!ask(&strong, &["hwk"]).unwrap().multi_factor);
        assert!(!ask(&json!({}), &["mfa"]).unwrap().multi_factor);
    }

    #[test]
    fn proof_from_the_future_is_proof_from_now() {
        let proved = ask(&json!({"auth_time": NOW.unix_timestamp() + 9_000}), &[])
            .unwrap()
            .proved_at;
        assert_eq!(proved, Some(NOW));
        let earlier = ask(&json!({"auth_time": NOW.unix_timestamp() - 60}), &[])
            .unwrap()
            .proved_at;
        assert_eq!(earlier, Some(NOW - Duration::MINUTE));
    }
}
