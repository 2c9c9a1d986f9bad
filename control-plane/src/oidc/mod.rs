//! Signing in with an outside OpenID provider, as a confidential client: authorization code,
//! PKCE, state and nonce (OpenID Connect Core 1.0; RFC 9700).
//!
//! A provider's address is an admin's to write and everything it answers is a stranger's: what is
//! fetched is bounded in time and size, follows no redirect and reaches no address that is not
//! public ([`address`]). Nothing is kept between the two halves of a sign-in: what has to come back
//! is in a cookie of the browser that began, tagged by the cluster ([`flow`]). A provider that is
//! away is away for those who sign in with it, and for nobody else.

mod address;
mod fetch;
mod flow;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod keys;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use medmesh_clinic::identity::oidc::{Expected, OutsideIdentity};
use medmesh_store::OidcClient;
use parking_lot::Mutex;
use reqwest::Url;
use serde::Deserialize;
use time::OffsetDateTime;

use crate::config::OidcConfig;
use fetch::Http;
use keys::KeySet;

pub(crate) use address::provider_url;
pub(crate) use flow::{FLOW_FOR, Flow, FlowPurpose, Flows};

/// How long what a provider says about itself is believed before it is asked again.
const KNOWN_FOR: Duration = Duration::from_secs(600);
/// How soon after the last time a provider is asked for its keys because a token names an unknown
/// one: whoever sends such tokens must not make us ask as often as they send.
const KEYS_AGAIN_AFTER: Duration = Duration::from_secs(10);
/// Providers that are remembered; the oldest goes.
const PROVIDERS_MAX: usize = 512;
/// Longest ID token: claims of a person, and a certificate chain where a provider adds one.
const TOKEN_BYTES_MAX: usize = 16 * 1024;
/// Longest code; providers' have some hundred bytes.
pub(crate) const CODE_BYTES_MAX: usize = 4 * 1024;

/// Why nobody was signed in.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OidcError {
    /// The provider does not answer as a provider does.
    #[error("the provider is away: {0}")]
    Unavailable(&'static str),
    /// It answered, and the answer is not to be believed.
    #[error("the provider's answer was refused: {0}")]
    Refused(&'static str),
}

/// What a provider says about itself (OpenID Connect Discovery 1.0 section 3).
#[derive(Clone, Debug, Deserialize)]
struct Discovery {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    #[serde(default)]
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
}

#[derive(Clone)]
struct Known {
    discovery: Discovery,
    keys: KeySet,
    discovered: Instant,
    /// When its keys were asked for last because a token named an unknown one.
    keyed_again: Option<Instant>,
}

/// The outside providers, as far as they were asked. One per process.
pub(crate) struct Oidc {
    http: Http,
    allow_loopback: bool,
    known: Mutex<HashMap<String, Known>>,
}

#[derive(Deserialize)]
struct Tokens {
    id_token: String,
}

impl Oidc {
    pub(crate) fn new(config: &OidcConfig) -> Result<Self, reqwest::Error> {
        Ok(Self {
            http: Http::new(config.allow_loopback)?,
            allow_loopback: config.allow_loopback,
            known: Mutex::default(),
        })
    }

    /// The issuer as it is kept, if it can be one.
    pub(crate) fn issuer(&self, text: &str) -> Option<Url> {
        provider_url(text, self.allow_loopback)
            .filter(|url| url.query().is_none() && url.fragment().is_none())
    }

    /// Where a browser goes to sign in.
    pub(crate) async fn authorization_url(
        &self,
        client: &OidcClient,
        redirect_uri: &str,
        flow: &Flow,
    ) -> Result<String, OidcError> {
        let known = self.know(&client.provider.issuer).await?;
        let mut url = self.endpoint(&known.discovery.authorization_endpoint)?;
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &client.provider.client_id)
            .append_pair("redirect_uri", redirect_uri)
            .append_pair("scope", "openid")
            .append_pair("state", &flow.state)
            .append_pair("nonce", &flow.nonce)
            .append_pair("code_challenge", &flow.code_challenge())
            .append_pair("code_challenge_method", "S256");
        Ok(url.into())
    }

    /// Redeems a code: who signed in there.
    pub(crate) async fn redeem(
        &self,
        client: &OidcClient,
        redirect_uri: &str,
        flow: &Flow,
        code: &str,
    ) -> Result<OutsideIdentity, OidcError> {
        let known = self.know(&client.provider.issuer).await?;
        let token = self
            .exchange(&known.discovery, client, redirect_uri, flow, code)
            .await?;
        if token.len() > TOKEN_BYTES_MAX {
            return Err(OidcError::Refused("the token is too long"));
        }
        let claims = match known.keys.verify(&token) {
            Err(keys::KeyError::Unknown) => self
                .keys_again(&client.provider.issuer, &known)
                .await?
                .verify(&token),
            verified => verified,
        };
        let claims = claims.map_err(|error| OidcError::Refused(error.as_str()))?;
        let expected = Expected {
            issuer: &client.provider.issuer,
            client_id: &client.provider.client_id,
            nonce: &flow.nonce,
            second_factor: &client.provider.second_factor,
        };
        claims
            .accept(&expected, OffsetDateTime::now_utc())
            .map_err(|fault| OidcError::Refused(fault.as_str()))
    }

    async fn exchange(
        &self,
        discovery: &Discovery,
        client: &OidcClient,
        redirect_uri: &str,
        flow: &Flow,
        code: &str,
    ) -> Result<String, OidcError> {
        let url = self.endpoint(&discovery.token_endpoint)?;
        let secret = std::str::from_utf8(&client.secret).map_err(|_| OidcError::Refused("the secret"))?;
        let id = &client.provider.client_id;
        let methods = discovery.token_endpoint_auth_methods_supported.as_deref();
        // Absent means basic (OpenID Connect Discovery 1.0 section 3).
        let basic =
            methods.is_none_or(|methods| methods.iter().any(|method| method == "client_secret_basic"));
        let mut form = Url::parse("form:").expect("a scheme is a URL");
        form.query_pairs_mut()
            .append_pair("grant_type", "authorization_code")
            .append_pair("code", code)
            .append_pair("redirect_uri", redirect_uri)
            .append_pair("code_verifier", &flow.verifier);
        if !basic {
            form.query_pairs_mut()
                .append_pair("client_id", id)
                .append_pair("client_secret", secret);
        }
        // Both halves are form-encoded first (RFC 6749 section 2.3.1).
        let authorization = basic.then(|| {
            let pair = format!("{}:{}", form_encoded(id), form_encoded(secret));
            format!("Basic {}", BASE64_STANDARD.encode(pair))
        });
        let body = form.query().unwrap_or_default().to_owned();
        let answer = self.http.post_form(url, authorization, body).await?;
        let tokens: Tokens = serde_json::from_slice(&answer).map_err(|_| OidcError::Refused("no token"))?;
        Ok(tokens.id_token)
    }

    /// What is known of a provider, asked anew when it is old.
    async fn know(&self, issuer: &str) -> Result<Known, OidcError> {
        let known = self.known.lock().get(issuer).cloned();
        if let Some(known) = known.filter(|known| known.discovered.elapsed() < KNOWN_FOR) {
            return Ok(known);
        }
        let text = format!(
            "{}/.well-known/openid-configuration",
            issuer.trim_end_matches('/')
        );
        let answer = self.http.get(self.endpoint(&text)?).await?;
        let discovery: Discovery =
            serde_json::from_slice(&answer).map_err(|_| OidcError::Unavailable("no discovery document"))?;
        // Letter for letter (section 4.3), or one tenant could speak for another.
        if discovery.issuer != issuer {
            return Err(OidcError::Unavailable("it says that it is another issuer"));
        }
        let keys = self.keys(&discovery).await?;
        let known = Known {
            discovery,
            keys,
            discovered: Instant::now(),
            keyed_again: None,
        };
        self.remember(issuer, known.clone());
        Ok(known)
    }

    /// The keys, when a token was signed with one that is not known: the provider changed them.
    async fn keys_again(&self, issuer: &str, known: &Known) -> Result<KeySet, OidcError> {
        if known
            .keyed_again
            .is_some_and(|at| at.elapsed() < KEYS_AGAIN_AFTER)
        {
            return Ok(known.keys.clone());
        }
        let keys = self.keys(&known.discovery).await?;
        let known = Known {
            keys: keys.clone(),
            keyed_again: Some(Instant::now()),
            ..known.clone()
        };
        self.remember(issuer, known);
        Ok(keys)
    }

    async fn keys(&self, discovery: &Discovery) -> Result<KeySet, OidcError> {
        let answer = self.http.get(self.endpoint(&discovery.jwks_uri)?).await?;
        KeySet::read(&answer).ok_or(OidcError::Unavailable("no keys"))
    }

    fn remember(&self, issuer: &str, fresh: Known) {
        let mut known = self.known.lock();
        if known.len() >= PROVIDERS_MAX && !known.contains_key(issuer) {
            let oldest = known.iter().min_by_key(|(_, known)| known.discovered);
            if let Some(oldest) = oldest.map(|(issuer, _)| issuer.clone()) {
                known.remove(&oldest);
            }
        }
        known.insert(issuer.to_owned(), fresh);
    }

    fn endpoint(&self, text: &str) -> Result<Url, OidcError> {
        provider_url(text, self.allow_loopback)
            .ok_or(OidcError::Unavailable("it names an address that is not allowed"))
    }
}

/// As `application/x-www-form-urlencoded` has it.
fn form_encoded(text: &str) -> String {
    let mut url = Url::parse("form:").expect("a scheme is a URL");
    url.query_pairs_mut().append_pair("", text);
    url.query().unwrap_or_default().trim_start_matches('=').to_owned()
}

#[cfg(test)]
mod tests {
    use super::form_encoded;

    #[test]
    fn a_secret_is_form_encoded() {
        assert_eq!(form_encoded("a b:c%+é="), "a+b%3Ac%25%2B%C3%A9%3D");
    }
}
