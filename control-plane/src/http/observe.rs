//! What every answer has in common: an id, a log line, counters, security
//! headers, and a problem document where it is an error.

use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use http::{HeaderMap, Method};
use medmesh_api_types::problem::{PROBLEM_JSON, Problem, ProblemDetails};
use medmesh_base::RequestId;
use tracing::Instrument as _;

use super::error::{ApiError, code_for};
use super::metrics::Metrics;

/// Names a request in its answer and in every log line about it.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Marks an answer that is no problem though its status is an error's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AsIs;

/// Stands in metrics and logs for paths that no route has.
const UNMATCHED: &str = "unmatched";

/// The outermost layer: gives the request its id, and the answer its form.
pub(super) async fn observe(State(metrics): State<Metrics>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = request_id(request.headers());
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or(UNMATCHED, MatchedPath::as_str)
        .to_owned();
    let method = method_label(request.method());
    let version = request.version();
    request.extensions_mut().insert(id);
    let span = tracing::info_span!("request", request_id = %id);
    let in_flight = InFlight::enter(&metrics);
    let response = next.run(request).instrument(span.clone()).await;
    drop(in_flight);

    let _entered = span.enter();
    let mut response = finish(&metrics, response, id);
    secure(response.headers_mut());
    let status = response.status();
    let elapsed = started.elapsed();
    metrics
        .requests
        .with_label_values(&[&route, method, status.as_str()])
        .inc();
    metrics
        .duration
        .with_label_values(&[&route, method])
        .observe(elapsed.as_secs_f64());
    tracing::info!(
        method,
        route,
        status = status.as_u16(),
        version = ?version,
        duration_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
        "request answered"
    );
    response
}

/// Counts a request while it runs, also when its connection goes away.
struct InFlight(prometheus::IntGauge);

impl InFlight {
    fn enter(metrics: &Metrics) -> Self {
        metrics.in_flight.inc();
        Self(metrics.in_flight.clone())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// The caller's id if it is a UUID, so that a chain of services shares one; else a new one.
pub(super) fn request_id(headers: &HeaderMap) -> RequestId {
    headers
        .get(REQUEST_ID)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(RequestId::generate)
}

/// Methods are a closed set in metrics, whatever a client sends.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PATCH => "PATCH",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

/// Turns every error into a problem document and logs what it was, once.
fn finish(metrics: &Metrics, mut response: Response, id: RequestId) -> Response {
    let status = response.status();
    let error = response.extensions_mut().remove::<ApiError>();
    let is_error = status.is_client_error() || status.is_server_error();
    let is_finished = is_problem(&response) || response.extensions().get::<AsIs>().is_some();
    if is_error && !is_finished {
        let error = error.unwrap_or_else(|| ApiError::new(code_for(status)));
        log(&error);
        metrics.problems.with_label_values(&[error.code.code()]).inc();
        response = render(&response, error, id);
    }
    let value = HeaderValue::from_str(&id.to_string()).expect("a UUID is a header value");
    response.headers_mut().insert(REQUEST_ID, value);
    response
}

fn is_problem(response: &Response) -> bool {
    let kind = response.headers().get(CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(PROBLEM_JSON.as_bytes()))
}

fn log(error: &ApiError) {
    let cause = error.cause.as_ref().map(|cause| chain(cause.as_ref()));
    let (code, cause) = (error.code.code(), cause.as_deref());
    if error.code.status() >= 500 {
        tracing::error!(code, cause, "request failed");
    } else {
        tracing::debug!(code, cause, "request refused");
    }
}

/// An error and what it came from, as one line.
fn chain(error: &(dyn std::error::Error + Send + Sync)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        source = inner.source();
    }
    text
}

fn render(response: &Response, error: ApiError, id: RequestId) -> Response {
    let mut problem = Problem::new(error.code, id);
    if let Some(message) = error.message {
        problem.message = message;
    }
    problem.details = ProblemDetails {
        fields: error.fields,
        retry_after_seconds: error.retry_after_seconds,
    };
    let body = serde_json::to_vec(&problem).expect("a problem is plain JSON");
    // What a library said with its own status stays, as `Allow` with 405.
    let mut rendered = (response.status(), body).into_response();
    for (name, value) in response.headers() {
        if name != http::header::CONTENT_LENGTH {
            rendered.headers_mut().insert(name, value.clone());
        }
    }
    let headers = rendered.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(seconds) = error.retry_after_seconds {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    rendered
}

/// Headers that hold for every answer, a portal's page or an API's.
fn secure(headers: &mut HeaderMap) {
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
        ("strict-transport-security", "max-age=63072000; includeSubDomains"),
        (
            "permissions-policy",
            "camera=(self), microphone=(self), display-capture=(self), geolocation=(), payment=(), usb=()",
        ),
    ] {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    // A page brings its own policy; everything else may do nothing at all.
    headers
        .entry("content-security-policy")
        .or_insert(HeaderValue::from_static(
            "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
        ));
    headers
        .entry(CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
}
