//! Metrics and health, for machines that watch this one.

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use medmesh_base::drain::Drain;
use medmesh_base::telemetry;
use medmesh_store::Keyring;
use prometheus::Registry;
use serde::Serialize;

use crate::database::Database;
use crate::ephemeral::Ephemeral;
use crate::fleet::Fleet;
use crate::http::{Metrics, layered};

/// What readiness is made of.
#[derive(Clone)]
pub(super) struct Health {
    pub(super) registry: Registry,
    pub(super) metrics: Metrics,
    pub(super) database: Database,
    pub(super) keyring: Keyring,
    pub(super) ephemeral: Ephemeral,
    pub(super) fleet: Fleet,
    pub(super) limits_shared: bool,
    pub(super) front: Drain,
}

pub(super) fn router(health: Health) -> Router {
    let metrics = health.metrics.clone();
    let router = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(scrape))
        .with_state(health);
    layered(router, metrics)
}

/// Each part, and whether it can do its work at this moment.
#[derive(Serialize)]
struct Readiness {
    ready: bool,
    database: bool,
    redis: bool,
    /// All control nodes count limits together, if Redis is there.
    limits_shared: bool,
    /// It was heard whose keys are destroyed: until then nobody's record opens here.
    erasures: bool,
    /// The KMS did what it was asked for the last time.
    keys: bool,
    /// This node has taken its part in the cluster since it started.
    joined: bool,
    /// The cluster can decide: place people, take edges in.
    leader: bool,
    accepting: bool,
}

async fn readyz(State(health): State<Health>) -> Response {
    let (database, redis) = tokio::join!(health.database.is_ready(), health.ephemeral.is_ready());
    let accepting = !health.front.is_stopping();
    // Without Redis the node still serves; it is told, but takes nobody out of rotation. So it does
    // without its KMS: keys in memory work on, and to other nodes the KMS is as far away.
    // Neither does it without a leader: bookings and open visits go on. But a node that has just
    // started waits until it has found the cluster.
    let keys = health.keyring.has_kms();
    let (joined, leader) = (health.fleet.has_joined(), health.fleet.has_leader());
    let erasures = health.keyring.is_open();
    let ready = database && erasures && joined && accepting;
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let mut response = (
        status,
        Json(Readiness {
            ready,
            database,
            redis,
            limits_shared: health.limits_shared,
            erasures,
            keys,
            joined,
            leader,
            accepting,
        }),
    )
        .into_response();
    response.extensions_mut().insert(crate::http::AsIs);
    response
}

async fn scrape(State(health): State<Health>) -> Response {
    let (text, kind) = telemetry::render(&health.registry);
    ([(CONTENT_TYPE, kind)], text).into_response()
}
