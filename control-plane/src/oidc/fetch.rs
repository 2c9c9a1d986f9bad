//! One request to a provider: bounded in time and size, to public addresses, without redirects.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};

use super::OidcError;
use super::address::is_public;

/// Until a connection stands.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Until the whole answer is there: a person waits in front of it.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(8);
/// Largest answer: a key set with certificates.
const ANSWER_BYTES_MAX: usize = 256 * 1024;

/// A client for addresses that strangers name.
pub(super) struct Http(reqwest::Client);

/// Looks names up and leaves out what is not public: the address that was checked is the one that
/// is connected to, so that no second answer of the name's owner can differ.
struct Public {
    allow_loopback: bool,
}

impl Resolve for Public {
    fn resolve(&self, name: Name) -> Resolving {
        let allow_loopback = self.allow_loopback;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let allowed: Vec<SocketAddr> = found
                .filter(|found| is_public(found.ip()) || (allow_loopback && found.ip().is_loopback()))
                .collect();
            if allowed.is_empty() {
                return Err("no public address".into());
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

impl Http {
    pub(super) fn new(allow_loopback: bool) -> Result<Self, reqwest::Error> {
        // Harmless if the process has chosen already: there is one provider.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let client = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(ANSWER_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .dns_resolver(Arc::new(Public { allow_loopback }))
            .no_proxy()
            .build()?;
        Ok(Self(client))
    }

    pub(super) async fn get(&self, url: Url) -> Result<Vec<u8>, OidcError> {
        let request = self.0.get(url);
        let (ok, body) = answer(request.header(ACCEPT, "application/json")).await?;
        if ok {
            Ok(body)
        } else {
            Err(OidcError::Unavailable("it does not answer as it should"))
        }
    }

    /// The token endpoint's answer. A refusal is about the code, and so about who asks.
    pub(super) async fn post_form(
        &self,
        url: Url,
        authorization: Option<String>,
        body: String,
    ) -> Result<Vec<u8>, OidcError> {
        let mut request = self
            .0
            .post(url)
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(body);
        if let Some(authorization) = authorization {
            let mut value =
                HeaderValue::from_str(&authorization).map_err(|_| OidcError::Refused("the secret"))?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        let (ok, body) = answer(request).await?;
        if ok {
            Ok(body)
        } else {
            Err(OidcError::Refused("the code was not taken"))
        }
    }
}

/// Whether it was a success, and the body. Server errors are the provider being away.
async fn answer(request: reqwest::RequestBuilder) -> Result<(bool, Vec<u8>), OidcError> {
    let away = |error: reqwest::Error| {
        OidcError::Unavailable(if error.is_timeout() {
            "no answer in time"
        } else {
            "it cannot be reached"
        })
    };
    let mut response = request.send().await.map_err(away)?;
    if response.status().is_server_error() {
        return Err(OidcError::Unavailable("it reports an error"));
    }
    let ok = response.status().is_success();
    let mut body = Vec::new();
    while let Some(part) = response.chunk().await.map_err(away)? {
        if body.len() + part.len() > ANSWER_BYTES_MAX {
            return Err(OidcError::Unavailable("the answer is too long"));
        }
        body.extend_from_slice(&part);
    }
    Ok((ok, body))
}
