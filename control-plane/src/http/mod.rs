//! REST, portals, and what every answer has in common.
//!
//! One router serves HTTP/1.1, 2 and 3. From the outside in, a request passes
//! [`observe`] (id, log, counters, headers, problem documents), panics caught, the
//! time limit, the body limit, and then its handler: extract, authorise, call, respond.
//!
//! To add a route:
//! 1. Name the operation: `widget_create` is the handler, the `operationId`, the variant
//!    `WidgetCreate` of [`medmesh_clinic::authz::Action`], and the method of `Tx` that does it.
//! 2. Say in `clinic/src/authz/rules.rs` who may, to whose things, for what purpose. Without a
//!    rule it is nobody's.
//! 3. Begin the store's method with `self.authorise(Action::WidgetCreate, Target::…)` (one thing;
//!    it gives whose record it is and how much may be seen) or `authorise_listing` (many). A new
//!    kind of thing is a new `Target` in `store/src/relationship.rs`. A denial is an error: it
//!    rolls back, leaves its leaf, and answers 403, or 404 for what the caller may not know of.
//! 4. The handler takes [`caller::Signed`], begins with `api.begin(&signed)` and commits. A
//!    transaction whose action was never decided on cannot be committed.
//! 5. `.signed(Action::WidgetCreate, routes!(widget_create))` in its file under `routes/`
//!    ([`access::Routes`]); `.open("why", …)` for what asks nobody who they are.
//! 6. Creating routes go through [`creation`], updates take [`extract`]'s `IfMatch`, lists page.
//! 7. `UPDATE_OPENAPI=1 cargo test -p medmesh-control openapi`.

mod access;
mod audit_copy;
mod caller;
mod challenge;
mod creation;
mod error;
mod extract;
mod form;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod limits;
mod machine;
mod mapping;
mod metrics;
mod negotiate;
mod observe;
pub mod openapi;
mod password;
mod portals;
pub(crate) mod record;
mod routes;
pub mod server;
mod state;
pub(crate) mod statuses;
mod throttle;

use std::path::Path;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use medmesh_base::ProblemCode;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::timeout::TimeoutLayer;

pub(crate) use challenge::Challenges;
pub use error::ApiError;
pub(crate) use extract::{Body, IdempotencyKey};
pub(crate) use limits::Limits;
pub use metrics::Metrics;
use negotiate::Description;
pub(crate) use observe::AsIs;
pub(crate) use password::Passwords;
pub use password::password_hash;
pub use state::{Api, Parts};
pub(crate) use throttle::Throttle;

/// Largest body: a message of 4000 characters of four bytes, escaped, is 48 kB.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// Longest time until the head of an answer; streams then go on.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Where the portals are, and what their pages may speak to.
pub(crate) struct PortalFiles<'a> {
    pub(crate) dir: &'a Path,
    pub(crate) connect_origins: Vec<String>,
}

/// Everything that is served. `more` are routes of other parts (the operator's), under the same layers.
pub(crate) fn router(api: &Api, portals: Option<PortalFiles<'_>>, more: Router) -> Router {
    let (clinic, _) = routes::clinic().into_inner().split_for_parts();
    let clinic = clinic.layer(axum::middleware::from_fn(caller::renew_cookie));
    let described = Description::of([openapi::clinic(), crate::fleet::openapi::fleet()], &api.metrics);
    let mut router = clinic
        .with_state(api.clone())
        .merge(more)
        .route_layer(from_fn_with_state(described, negotiate::negotiate))
        .route_layer(from_fn_with_state(api.clone(), limits::limit));
    if let Some(portals) = portals {
        router = router.merge(portals::routes(portals.dir, &portals.connect_origins));
    }
    layered(router, api.metrics.clone())
}

/// A router in the layers every answer passes.
pub(crate) fn layered(router: Router, metrics: Metrics) -> Router {
    router
        .fallback(|| async { ApiError::from(ProblemCode::NotFound) })
        .method_not_allowed_fallback(|| async { ApiError::from(ProblemCode::MethodNotAllowed) })
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(TimeoutLayer::with_status_code(
            StatusCode::SERVICE_UNAVAILABLE,
            ANSWER_TIMEOUT,
        ))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state(metrics, observe::observe))
}

#[allow(
    clippy::needless_pass_by_value,
    reason = "the signature of tower-http's trait"
)]
fn panicked(_: Box<dyn std::any::Any + Send>) -> Response {
    // The panic hook has logged where; the payload may hold anything and is dropped.
    ApiError::from(ProblemCode::Internal).into_response()
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::routing::get;
    use http::Request;
    use http_body_util::BodyExt as _;
    use tower::ServiceExt as _;

    use super::*;

    async fn answer(router: Router, path: &str) -> (StatusCode, serde_json::Value) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = router.oneshot(request).await.unwrap();
        let status = response.status();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&bytes).unwrap())
    }

    fn metrics() -> Metrics {
        Metrics::new(&prometheus::Registry::new())
    }

    #[tokio::test]
    async fn a_panic_is_a_problem_without_its_text() {
        let router = Router::new().route("/panic", get(|| async { panic!("CANARY") as () }));
        let (status, problem) = answer(layered(router, metrics()), "/panic").await;
        assert_eq!(
            (status, &problem["code"]),
            (StatusCode::INTERNAL_SERVER_ERROR, &"internal".into())
        );
        assert!(!problem.to_string().contains("CANARY"));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_does_not_come_is_a_problem() {
        let router = Router::new().route("/slow", get(std::future::pending::<()>));
        let (status, problem) = answer(layered(router, metrics()), "/slow").await;
        assert_eq!(
            (status, &problem["code"]),
            (StatusCode::SERVICE_UNAVAILABLE, &"unavailable".into())
        );
    }

    #[tokio::test]
    async fn requests_that_end_early_are_no_longer_in_flight() {
        let metrics = metrics();
        let router = layered(
            Router::new().route("/slow", get(std::future::pending::<()>)),
            metrics.clone(),
        );
        let request = Request::get("/slow").body(Body::empty()).unwrap();
        let mut running = Box::pin(router.oneshot(request));
        assert!(futures::poll!(&mut running).is_pending());
        assert_eq!(metrics.in_flight.get(), 1);
        drop(running);
        assert_eq!(metrics.in_flight.get(), 0);
    }
}
