//! Requests as somebody makes them, and a handler that panics over one.

use axum::Router;
use axum::extract::{Path, Query};
use axum::routing::post;
use http::{HeaderMap, Method};
use medmesh_api_client::Clinic;
use medmesh_api_types::session::SESSION_COOKIE;
use serde_json::Value;
use uuid::Uuid;

/// Somebody signed in.
pub(super) struct Who {
    pub(super) cookie: String,
    pub(super) csrf: String,
}

impl Who {
    pub(super) async fn of(client: &Clinic) -> Self {
        let csrf = client.session().await.unwrap().csrf_token;
        Self {
            cookie: format!("{SESSION_COOKIE}={}", client.cookie().unwrap().expose()),
            csrf: csrf.expose().to_owned(),
        }
    }
}

/// A request with a canary somewhere in it.
pub(super) struct Call<'a> {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) who: Option<&'a Who>,
    pub(super) headers: Vec<(String, String)>,
    /// In place of the session's.
    pub(super) csrf: Option<String>,
    pub(super) body: Vec<u8>,
}

impl<'a> Call<'a> {
    pub(super) fn new(method: Method, path: impl Into<String>, who: Option<&'a Who>) -> Self {
        let key = ("idempotency-key".into(), Uuid::new_v4().to_string());
        Self {
            method,
            path: path.into(),
            who,
            headers: vec![("content-type".into(), "application/json".into()), key],
            csrf: None,
            body: Vec::new(),
        }
    }

    pub(super) fn get(path: impl Into<String>, who: &'a Who) -> Self {
        Self::new(Method::GET, path, Some(who))
    }

    pub(super) fn post(path: impl Into<String>, who: &'a Who, body: &Value) -> Self {
        Self::new(Method::POST, path, Some(who)).json(body)
    }

    pub(super) fn json(mut self, body: &Value) -> Self {
        self.body = serde_json::to_vec(body).unwrap();
        self
    }

    pub(super) fn raw(mut self, body: String) -> Self {
        self.body = body.into_bytes();
        self
    }

    /// Beside what a session brings along, which it is in the way of.
    pub(super) fn header_after(mut self, name: &str, value: String) -> Self {
        if name == "x-csrf-token" {
            self.csrf = Some(value);
            return self;
        }
        self.header(name, value)
    }

    /// In place of what is there by that name.
    pub(super) fn header(mut self, name: &str, value: String) -> Self {
        self.headers.retain(|(known, _)| known != name);
        self.headers.push((name.to_owned(), value));
        self
    }
}

/// Where [`panicking`] is mounted.
pub(super) const PANIC_PATH: &str = "/v1/panics";

/// A handler that reads all there is of a request and panics over it, quoting it.
pub(super) fn panicking() -> Router {
    async fn panics(
        Path(path): Path<String>,
        Query(query): Query<Vec<(String, String)>>,
        headers: HeaderMap,
        body: String,
    ) -> String {
        let text = format!("é{path} {query:?} {headers:?} {body}");
        // In the middle of the é: the message of this panic quotes the text.
        text[1..].to_owned()
    }
    Router::new().route(&format!("{PANIC_PATH}/{{path}}"), post(panics))
}
