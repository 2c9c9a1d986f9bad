//! The control nodes agree: openraft behind one handle.
//!
//! [`Consensus`] keeps a durable log and snapshots of the ledger, talks to its
//! peers over links, and answers reads and proposals on any node. No type of
//! openraft shows in this API.
//!
//! It never interprets what it commits (that is `ledger`), never listens on a
//! socket of its own (mount its services on the link), and never decides
//! anything by a clock: linearizable reads are confirmed by a majority.
//!
//! # Driving it
//!
//! ```ignore
//! let consensus = Consensus::start(Config::new(id, "prod", dir), endpoint.clone(), &registry).await?;
//! drain.spawn(Server::builder()
//!     .add_service(consensus.raft_service())
//!     .add_service(consensus.leader_service(placer))
//!     .serve_with_incoming_shutdown(incoming.grpc, drain.token().cancelled_owned()));
//! consensus.bootstrap(&voters).await?;              // founders, at every start
//! let answer = consensus.propose(command).await?;   // from any node
//! let fleet = consensus.read();                     // shows it
//! let mut changes = consensus.changes();
//! consensus.shutdown().await;                       // hands leadership over first
//! ```
//!
//! A node whose disk was lost comes back under a new id: remove the old one,
//! then [`Consensus::add_learner`] and [`Consensus::promote`].

mod batch;
mod changes;
mod config;
mod consensus;
mod error;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod log;
mod machine;
mod membership;
mod metrics;
mod network;
mod propose;
mod service;
mod snapshot;
mod status;
mod types;

pub use changes::{Change, Changes};
pub use config::{Config, SnapshotEvery, Timers};
pub use consensus::{Committed, Consensus};
pub use error::{MembershipError, ProposeError, ReadError, StartError};
pub use log::record::Damage;
pub use log::replay::LogError;
pub use service::{LeaderService, Placer, RaftService};
pub use status::{MemberStatus, Role, Status};

#[cfg(test)]
mod tests;
