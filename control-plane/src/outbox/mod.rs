//! Events on their way: one node of the cluster relays them, every node hears of them.
//!
//! See [`medmesh_store::Relay`] for who relays and why there is one. A sink outside is served by
//! the same relay, in the same order, without holding up what the nodes are told.

mod hear;
mod metrics;
mod rabbit;
mod relay;
#[cfg(test)]
mod tests;

pub use hear::hear;
pub use metrics::OutboxMetrics;
pub use rabbit::{Rabbit, handlers};
pub use relay::relay;
