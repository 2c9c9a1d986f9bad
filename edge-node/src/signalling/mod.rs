//! What browsers call: WHIP-shaped signalling (RFC 9725) and the RTT probe.
//!
//! Every refusal is a problem document, is counted with its reason, and changes nothing.

mod listen;
mod rate;
mod whip;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{ConnectInfo, DefaultBodyLimit, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use medmesh_base::ProblemCode;
use tokio::sync::watch;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{AllowOrigin, CorsLayer};
use tower_http::timeout::TimeoutLayer;

use crate::admission::Admission;
use crate::config::SignallingSection;
use crate::metrics::Metrics;
use crate::problem::Problem;
use crate::settings::Settings;
use crate::shard::Shards;
pub use listen::ListenError;
pub(crate) use listen::Listener;
use rate::Rates;

/// Largest body: Chromium's offer with 16 sections is some 30 kB; the shard has its own limit.
const BODY_BYTES_MAX: usize = 128 * 1024;
/// A request that takes longer has lost its browser.
const REQUEST_SECONDS_MAX: u64 = 10;
/// How long a browser may remember that it may call us.
const PREFLIGHT_SECONDS: u64 = 600;

/// What the handlers share.
pub(crate) struct Signalling {
    pub(crate) admission: Admission,
    pub(crate) shards: Shards,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) settings: watch::Receiver<Arc<Settings>>,
    /// Base URL browsers use, without a slash at the end: what proofs name.
    pub(crate) public_url: String,
    /// Up while this edge sends people away.
    pub(crate) draining: watch::Receiver<bool>,
    pub(crate) rates: Rates,
}

impl Signalling {
    /// Rates as configured.
    pub(crate) fn rates(config: &SignallingSection) -> Rates {
        Rates::new(config.burst, config.rate_per_second)
    }

    fn is_draining(&self) -> bool {
        *self.draining.borrow() || self.settings.borrow().draining
    }
}

/// The routes.
pub(crate) fn router(signalling: &Arc<Signalling>, config: &SignallingSection) -> Router {
    let whip = Router::new()
        .route("/v1/whip", post(whip::join).fallback(not_offered))
        .route(
            "/v1/whip/{resource}",
            axum::routing::patch(whip::restart)
                .delete(whip::leave)
                .fallback(not_offered),
        )
        .layer(cors(signalling, config))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX));
    Router::new()
        .route("/v1/probe", get(probe).fallback(not_offered))
        .merge(whip)
        .fallback(|| async { Problem::from(ProblemCode::NotFound) })
        .layer(from_fn_with_state(Arc::clone(signalling), limit_rate))
        .layer(TimeoutLayer::with_status_code(
            StatusCode::SERVICE_UNAVAILABLE,
            std::time::Duration::from_secs(REQUEST_SECONDS_MAX),
        ))
        .layer(CatchPanicLayer::custom(|_: Box<dyn std::any::Any + Send>| {
            Problem::from(ProblemCode::Internal).into_response()
        }))
        .with_state(Arc::clone(signalling))
}

/// Browsers may call from the portals' origins: those pushed, and those configured.
fn cors(signalling: &Arc<Signalling>, config: &SignallingSection) -> CorsLayer {
    let settings = signalling.settings.clone();
    let configured = config.allowed_origins.clone();
    CorsLayer::new()
        .allow_origin(AllowOrigin::predicate(move |origin: &HeaderValue, _| {
            origin.to_str().is_ok_and(|origin| {
                configured.iter().any(|allowed| allowed == origin)
                    || settings.borrow().origins.contains(origin)
            })
        }))
        .allow_methods([Method::POST, Method::PATCH, Method::DELETE])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::IF_MATCH,
            HeaderName::from_static("dpop"),
        ])
        .expose_headers([header::LOCATION, header::ETAG, header::RETRY_AFTER])
        .max_age(std::time::Duration::from_secs(PREFLIGHT_SECONDS))
}

/// What browsers time to learn the round trip. Open to all: it says nothing.
async fn probe() -> Response {
    let headers = [
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (HeaderName::from_static("timing-allow-origin"), "*"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (StatusCode::NO_CONTENT, headers).into_response()
}

async fn not_offered() -> Problem {
    ProblemCode::MethodNotAllowed.into()
}

async fn limit_rate(
    State(signalling): State<Arc<Signalling>>,
    ConnectInfo(address): ConnectInfo<SocketAddr>,
    request: Request,
    next: Next,
) -> Response {
    if signalling.rates.admit(address.ip(), std::time::Instant::now()) {
        next.run(request).await
    } else {
        signalling.metrics.rate_limited();
        Problem::from(ProblemCode::RateLimited).into_response()
    }
}
