//! What is done once, by an operator or by `medmesh demo`, before or beside the
//! service: the cluster's keys, and the private PostgreSQL of a single machine.

pub mod cluster;
pub mod database;
