//! The relay without sockets, clock or randomness.

pub(crate) mod counters;
mod limits;

pub use counters::{Counter, Counters};
pub use limits::Limits;
