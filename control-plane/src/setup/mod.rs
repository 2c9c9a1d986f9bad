//! What is done once, by an operator or by `medmesh demo`, before or beside the
//! service: the cluster's keys, a clinic, and the private PostgreSQL of a single machine.

pub mod clinic;
pub mod cluster;
pub mod database;
