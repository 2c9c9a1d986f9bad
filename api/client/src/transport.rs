//! Sending a request and reading its answer.

use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Certificate, Method, RequestBuilder, Response, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::ClientError;

/// Longest a call may take: a commit waits for an election at worst.
const TIMEOUT: Duration = Duration::from_secs(15);
/// For answers that are known to take long: reading a log of many million leaves again.
const PATIENCE: Duration = Duration::from_secs(3600);

/// Largest answer read: a thousand rooms are half a megabyte.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// One server and how to prove who is calling.
#[derive(Clone, Debug)]
pub(crate) struct Transport {
    http: reqwest::Client,
    base: Url,
}

impl Transport {
    /// With `bearer` every request carries it.
    pub(crate) fn new(base: &str, bearer: Option<&str>, ca_pem: Option<&[u8]>) -> Result<Self, ClientError> {
        // Another part of the process may have installed it already; it is the only one there is.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let mut base: Url = base.parse().map_err(|_| ClientError::Configuration("base URL"))?;
        if base.cannot_be_a_base() {
            return Err(ClientError::Configuration("base URL"));
        }
        base.set_path("/");
        let mut headers = HeaderMap::new();
        if let Some(bearer) = bearer {
            let mut authorization = HeaderValue::from_str(&format!("Bearer {bearer}"))
                .map_err(|_| ClientError::Configuration("token"))?;
            authorization.set_sensitive(true);
            headers.insert(AUTHORIZATION, authorization);
        }
        let mut builder = reqwest::Client::builder().default_headers(headers);
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

    pub(crate) async fn delete(&self, path: &str) -> Result<(), ClientError> {
        self.call(Method::DELETE, path, None::<&()>).await
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<T, ClientError> {
        let body = body.map(encode).transpose()?;
        self.send(method, path, HeaderMap::new(), body).await?.json()
    }

    /// Sends JSON and reads the whole answer; an error answer is the error.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: Option<Vec<u8>>,
    ) -> Result<Answer, ClientError> {
        let mut request = self.request(method, path)?.timeout(TIMEOUT).headers(headers);
        if let Some(body) = body {
            request = request.header(CONTENT_TYPE, "application/json").body(body);
        }
        accepted(request.send().await?).await
    }

    /// Posts the members of a flat value as a form, to an endpoint of RFC 6749.
    pub(crate) async fn post_form<T: DeserializeOwned>(
        &self,
        path: &str,
        form: &impl Serialize,
    ) -> Result<T, ClientError> {
        let body = crate::clinic::with_query("", form)?;
        let request = self.request(Method::POST, path)?.timeout(TIMEOUT);
        let request = request
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(body.trim_start_matches('?').to_owned());
        let response = request.send().await?;
        let (status, headers) = (response.status(), response.headers().clone());
        let answer = Answer {
            status: status.as_u16(),
            headers,
            bytes: read(response).await?,
        };
        if status.is_success() {
            return answer.json();
        }
        if let Ok(refusal) = serde_json::from_slice(&answer.bytes) {
            return Err(ClientError::NoToken(refusal));
        }
        let problem = serde_json::from_slice(&answer.bytes).map_err(|_| answer.unexpected())?;
        Err(ClientError::Problem(Box::new(problem)))
    }

    /// Posts nothing and reads an answer that may take an hour.
    pub(crate) async fn post_patiently<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let request = self.request(Method::POST, path)?.timeout(PATIENCE);
        accepted(request.send().await?).await?.json()
    }

    /// Opens an answer that has no end.
    pub(crate) async fn stream(&self, path: &str, headers: HeaderMap) -> Result<Response, ClientError> {
        let response = self.request(Method::GET, path)?.headers(headers).send().await?;
        if response.status().is_success() {
            return Ok(response);
        }
        match accepted(response).await {
            Ok(answer) => Err(answer.unexpected()),
            Err(error) => Err(error),
        }
    }

    fn request(&self, method: Method, path: &str) -> Result<RequestBuilder, ClientError> {
        let url = self
            .base
            .join(path)
            .map_err(|_| ClientError::Configuration("path"))?;
        Ok(self.http.request(method, url))
    }
}

/// An answer that said yes.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) bytes: Vec<u8>,
}

impl Answer {
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, ClientError> {
        // Answers without content decode as `()`.
        let content: &[u8] = if self.bytes.is_empty() {
            b"null"
        } else {
            &self.bytes
        };
        serde_json::from_slice(content).map_err(|_| self.unexpected())
    }

    pub(crate) fn unexpected(&self) -> ClientError {
        ClientError::Unexpected { status: self.status }
    }
}

pub(crate) fn encode(body: &impl Serialize) -> Result<Vec<u8>, ClientError> {
    serde_json::to_vec(body).map_err(|_| ClientError::Configuration("request"))
}

async fn accepted(response: Response) -> Result<Answer, ClientError> {
    let (status, headers) = (response.status(), response.headers().clone());
    let answer = Answer {
        status: status.as_u16(),
        headers,
        bytes: read(response).await?,
    };
    if status.is_success() {
        return Ok(answer);
    }
    let problem = serde_json::from_slice(&answer.bytes).map_err(|_| answer.unexpected())?;
    Err(ClientError::Problem(Box::new(problem)))
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
