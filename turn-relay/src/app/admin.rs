//! `/metrics`, `/healthz`, and `/readyz`, which says whether clients should be sent here.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context as _;
use axum::Router;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use medmesh_base::drain::Drain;
use medmesh_base::telemetry::render;
use prometheus::Registry;

/// Serves until the drain stops it. `is_ready` turns false when the relay takes nobody new.
pub(crate) async fn spawn(
    listen: SocketAddr,
    registry: Registry,
    is_ready: Arc<AtomicBool>,
    drain: &Drain,
) -> anyhow::Result<()> {
    let listener = tokio::net::TcpListener::bind(listen)
        .await
        .with_context(|| format!("cannot listen on {listen} (admin.listen)"))?;
    let metrics = move || async move {
        let (text, content_type) = render(&registry);
        ([(CONTENT_TYPE, content_type)], text)
    };
    let ready = move || async move {
        if is_ready.load(Ordering::Relaxed) {
            (StatusCode::OK, "ready\n")
        } else {
            (StatusCode::SERVICE_UNAVAILABLE, "draining\n")
        }
    };
    let router = Router::new()
        .route("/readyz", get(ready))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/metrics", get(metrics));
    let stop = drain.token();
    drain.spawn(async move {
        let serve = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned());
        if let Err(error) = serve.await {
            tracing::error!(%error, "admin listener ended");
        }
    });
    Ok(())
}
