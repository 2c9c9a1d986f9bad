//! The fleet: edges enrol, attach and report; the leader keeps the ledger in step
//! with what it hears, and places people.
//!
//! What is agreed lives in the ledger, what is measured in [`Telemetry`], in memory
//! on every control node. Only *transitions* (an edge died, came back, was
//! reconfigured) are proposed, and only by the leader.
//!
//! Driving it:
//!
//! ```ignore
//! let fleet = fleet::start(&config, secret, signer, &registry, &drain).await?;
//! media.adopt(Arc::new(fleet.clone()));     // places for POST /v1/signaling/session
//! router.merge(fleet::operator::router(fleet.clone(), token));
//! fleet.shutdown().await;                   // before the drain ends the link
//! ```

mod attach;
mod clock;
mod edge_config;
mod enrolment;
mod explain;
mod handle;
mod learned;
mod metrics;
mod movement;
pub mod openapi;
mod operate;
pub mod operator;
mod overview;
mod placement;
mod presences;
mod publisher;
mod removal;
mod reservation;
mod serve;
mod start;
mod steward;
mod telemetry;
mod transition;
mod view;

pub use attach::FleetService;
pub use clock::Clock;
pub use edge_config::SharedConfig;
pub use enrolment::EnrolmentService;
pub use handle::{Fleet, Parts};
pub use metrics::FleetMetrics;
pub use operate::OperateError;
pub(crate) use presences::Presences;
pub use reservation::Reservations;
pub use serve::spawn;
pub use start::{StartError, start};
pub use telemetry::{EdgeTelemetry, Load, MalformedReport, STALE_AFTER_MS, Telemetry};

#[cfg(test)]
mod tests;
