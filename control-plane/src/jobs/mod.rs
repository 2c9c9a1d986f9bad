//! What happens by itself: regular upkeep, and work that outlives its request.
//!
//! To add a kind of job see [`medmesh_store::JobKind`]; its handler is registered with
//! [`Handlers::on`] where [`crate::app`] starts the workers.
mod erase;
mod metrics;
mod run;
mod upkeep;
mod worker;

#[cfg(test)]
mod tests;

pub use erase::erase_handlers;
pub use metrics::JobMetrics;
pub use run::{Pace, Run};
pub use upkeep::upkeep;
pub use worker::{Handlers, JobFailure, Turn, work, work_at};
