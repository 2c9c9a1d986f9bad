//! Sockets and threads around [`crate::server`].

mod config;
mod handle;
mod metrics;
mod mmsg;
mod outbox;
mod ports;
mod relays;
mod socket;
mod worker;

pub use config::{RelayAddress, RelayConfig, RelayError};
pub use handle::{Relay, RelayHandle, RelayStats};
