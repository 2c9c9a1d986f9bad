//! A real PostgreSQL for tests.
//!
//! One private cluster per test process, started by the first test that asks and
//! gone with the process; one database per test, cloned from a migrated template.
//! For a cluster of one's own (processes to kill and restart, data to keep):
//! [`Cluster::start`].

pub use medmesh_store::embedded::scratch::Scratch;
pub use medmesh_store::embedded::{Cluster, Durability, EmbeddedError, Settings};
