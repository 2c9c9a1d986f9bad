//! One request to a KMS over the network: bounded in time and size.

use std::time::Duration;

use reqwest::Certificate;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use super::KmsError;
use crate::VaultError;

/// Until a connection stands: longer than any retransmission worth waiting for.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Until the whole answer is there; whoever waits for a key holds no row lock, but a person waits.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Largest answer: wrapped keys have some hundred bytes.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// A client that follows no redirects: credentials must not go anywhere else.
#[derive(Clone, Debug)]
pub(super) struct Http(reqwest::Client);

/// What came back.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: zeroize::Zeroizing<Vec<u8>>,
}

impl Http {
    /// `ca_pem` is an authority the system does not know.
    pub(super) fn new(ca_pem: Option<&[u8]>) -> Result<Self, VaultError> {
        // Harmless if the process has chosen already: there is one provider.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let mut builder = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(ANSWER_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy();
        if let Some(pem) = ca_pem {
            builder =
                builder.add_root_certificate(Certificate::from_pem(pem).map_err(|_| VaultError::Crypto)?);
        }
        builder.build().map(Self).map_err(|_| VaultError::Crypto)
    }

    /// Sends and reads the answer, whatever its status.
    pub(super) async fn send(
        &self,
        method: reqwest::Method,
        url: &str,
        headers: &[(&str, String)],
        body: Vec<u8>,
    ) -> Result<Answer, KmsError> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name: HeaderName = name.parse().map_err(|_| refused("header"))?;
            let mut value = HeaderValue::from_str(value).map_err(|_| refused("header"))?;
            value.set_sensitive(true);
            map.insert(name, value);
        }
        let sent = self.0.request(method, url).headers(map).body(body).send().await;
        let mut response = sent.map_err(|error| away(&error))?;
        let status = response.status().as_u16();
        let mut body = zeroize::Zeroizing::new(Vec::new());
        while let Some(part) = response.chunk().await.map_err(|error| away(&error))? {
            if body.len() + part.len() > ANSWER_BYTES_MAX {
                return Err(KmsError::Unavailable("the answer is too long".into()));
            }
            body.extend_from_slice(&part);
        }
        Ok(Answer { status, body })
    }
}

fn away(error: &reqwest::Error) -> KmsError {
    let what = if error.is_timeout() {
        "no answer in time"
    } else {
        "cannot be reached"
    };
    KmsError::Unavailable(what.into())
}

fn refused(what: &str) -> KmsError {
    KmsError::Refused(format!("unusable {what}"))
}
