//! A portal's page, with a policy that allows what this very answer brought and nothing else.
//!
//! The build leaves [`NONCE_MARK`] wherever a tag may carry a nonce (HTML section 3.2.6); each answer
//! puts a fresh one there and names it in its policy (CSP Level 3 section 7.1). Markup that
//! somebody smuggles into the page knows no nonce, and strings never become script:
//! no Trusted Types policy may be made at all.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use aws_lc_rs::rand;
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use http::HeaderMap;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use medmesh_base::ProblemCode;

use crate::http::error::ApiError;

/// Stands in the built page where the nonce goes; the build writes it (`api/portals/scripts/portals.mjs`).
const NONCE_MARK: &str = "__MEDMESH_NONCE__";
/// 128 bits, as CSP Level 3 section 7.1 asks for.
const NONCE_BYTES: usize = 16;
const POLICY: HeaderName = HeaderName::from_static("content-security-policy");
const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// The page of one build.
#[derive(Clone, Debug)]
pub(super) struct Shell {
    file: Arc<PathBuf>,
    /// Further origins the page may speak to, as the policy lists them.
    connect: Arc<str>,
}

impl Shell {
    pub(super) fn new(file: PathBuf, connect: &[String]) -> Self {
        Self {
            file: Arc::new(file),
            connect: connect.join(" ").into(),
        }
    }

    /// The page, as nobody else gets it. 404 where there is no build.
    pub(super) async fn answer(&self) -> Response {
        // Read anew each time: a build may be replaced while the service runs, and its files' names with it.
        match tokio::fs::read_to_string(self.file.as_path()).await {
            Ok(page) => self.with_nonce(&page),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                ApiError::from(ProblemCode::NotFound).into_response()
            }
            Err(error) => ApiError::from(ProblemCode::Internal)
                .because(error)
                .into_response(),
        }
    }

    fn with_nonce(&self, page: &str) -> Response {
        let mut bytes = [0; NONCE_BYTES];
        rand::fill(&mut bytes).expect("the system has random bytes");
        let nonce = BASE64_STANDARD_NO_PAD.encode(bytes);
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HTML);
        headers.insert(CACHE_CONTROL, NO_STORE);
        headers.insert(POLICY, self.policy(&nonce));
        (headers, page.replace(NONCE_MARK, &nonce)).into_response()
    }

    /// What the page may do: its own files, its own API, the edges; no script or style without the nonce.
    fn policy(&self, nonce: &str) -> HeaderValue {
        let connect = &self.connect;
        let text = format!(
            "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; \
             img-src 'self' data: blob:; font-src 'self'; media-src 'self' blob:; worker-src 'self'; \
             manifest-src 'self'; connect-src 'self' {connect}; base-uri 'none'; form-action 'none'; \
             frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
        );
        HeaderValue::from_str(&text).expect("origins are checked with the configuration")
    }
}
