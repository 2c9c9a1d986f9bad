//! `/metrics` and `/healthz`.

use std::net::SocketAddr;

use anyhow::Context as _;
use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use medmesh_base::drain::Drain;
use medmesh_base::telemetry::render;
use prometheus::Registry;

/// Serves until the drain stops it.
pub(crate) async fn spawn(listen: SocketAddr, registry: Registry, drain: &Drain) -> anyhow::Result<()> {
    let listener = tokio::net::TcpListener::bind(listen)
        .await
        .with_context(|| format!("cannot listen on {listen} (admin.listen)"))?;
    let metrics = move || async move {
        let (text, content_type) = render(&registry);
        ([(CONTENT_TYPE, content_type)], text)
    };
    let router = Router::new()
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
