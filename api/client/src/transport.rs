//! Sending a request and reading its answer.

use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Certificate, Method, Response, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::ClientError;

/// Longest a call may take: a commit waits for an election at worst.
const TIMEOUT: Duration = Duration::from_secs(15);

/// Largest answer read: a thousand rooms are half a megabyte.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// One server and how to prove who is calling.
#[derive(Clone, Debug)]
pub(crate) struct Transport {
    http: reqwest::Client,
    base: Url,
}

impl Transport {
    pub(crate) fn new(base: &str, bearer: &str, ca_pem: Option<&[u8]>) -> Result<Self, ClientError> {
        // Another part of the process may have installed it already; it is the only one there is.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let mut base: Url = base.parse().map_err(|_| ClientError::Configuration("base URL"))?;
        if base.cannot_be_a_base() {
            return Err(ClientError::Configuration("base URL"));
        }
        base.set_path("/");
        let mut authorization = HeaderValue::from_str(&format!("Bearer {bearer}"))
            .map_err(|_| ClientError::Configuration("token"))?;
        authorization.set_sensitive(true);
        let mut builder = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .default_headers(HeaderMap::from_iter([(AUTHORIZATION, authorization)]));
        if let Some(pem) = ca_pem {
            builder = builder.tls_certs_only(Certificate::from_pem_bundle(pem)?);
        }
        Ok(Self {
            http: builder.build()?,
            base,
        })
    }

    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.call(Method::GET, path, None::<&()>).await
    }

    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        self.call(Method::POST, path, Some(body)).await
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<T, ClientError> {
        let url = self
            .base
            .join(path)
            .map_err(|_| ClientError::Configuration("path"))?;
        let mut request = self.http.request(method, url);
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await?;
        let status = response.status();
        let bytes = read(response).await?;
        let unexpected = || ClientError::Unexpected {
            status: status.as_u16(),
        };
        if status.is_success() {
            // Answers without content decode as `()`.
            let content: &[u8] = if bytes.is_empty() { b"null" } else { &bytes };
            serde_json::from_slice(content).map_err(|_| unexpected())
        } else {
            let problem = serde_json::from_slice(&bytes).map_err(|_| unexpected())?;
            Err(ClientError::Problem(Box::new(problem)))
        }
    }
}

async fn read(mut response: Response) -> Result<Vec<u8>, ClientError> {
    let status = response.status().as_u16();
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if bytes.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(ClientError::Unexpected { status });
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}
