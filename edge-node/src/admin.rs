//! The operator's listener: metrics, health, and on loopback the order to drain.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{ConnectInfo, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use medmesh_base::drain::Drain;
use medmesh_base::{ProblemCode, telemetry};
use prometheus::Registry;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::problem::Problem;

/// What makes an edge ready, and what stops it.
#[derive(Clone)]
pub(crate) struct Admin {
    pub(crate) registry: Registry,
    /// Whether people can be admitted.
    pub(crate) ready: watch::Receiver<bool>,
    /// Raised by `POST /drain`.
    pub(crate) drain_asked: Arc<watch::Sender<bool>>,
}

/// Serves until the drain.
pub(crate) async fn serve(listener: TcpListener, admin: Admin, drain: Drain) {
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/drain", post(drain_asked))
        .with_state(admin)
        .into_make_service_with_connect_info::<SocketAddr>();
    let served = axum::serve(listener, router)
        .with_graceful_shutdown(drain.token().cancelled_owned())
        .await;
    if let Err(error) = served {
        tracing::error!(%error, "admin listener ended");
    }
}

async fn metrics(State(admin): State<Admin>) -> Response {
    let (text, content_type) = telemetry::render(&admin.registry);
    ([(header::CONTENT_TYPE, content_type)], text).into_response()
}

async fn readyz(State(admin): State<Admin>) -> Response {
    if *admin.ready.borrow() {
        "ready\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready\n").into_response()
    }
}

async fn drain_asked(
    State(admin): State<Admin>,
    ConnectInfo(caller): ConnectInfo<SocketAddr>,
) -> Result<StatusCode, Problem> {
    if !caller.ip().to_canonical().is_loopback() {
        return Err(ProblemCode::Forbidden.into());
    }
    admin.drain_asked.send_replace(true);
    Ok(StatusCode::ACCEPTED)
}
