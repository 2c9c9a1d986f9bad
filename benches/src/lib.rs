//! Load generator, peers side by side, limits.
//!
//! A bench measures one server process from outside: its CPU from `/proc`, its work
//! by what its clients got. Peers and limits run under the same load in the same
//! run, interleaved, because a shared machine drifts.

pub mod audit;
pub mod clinic;
pub mod forward;
pub mod join;
pub mod login;
pub mod raft;
pub mod report;
pub mod turn;
