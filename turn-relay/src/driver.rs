//! Sockets and threads around [`crate::server`].

mod config;
mod files;
pub(crate) mod forward;
mod handle;
mod icmp;
mod locals;
mod metrics;
mod mmsg;
mod outbox;
mod ports;
mod relays;
mod socket;
mod stream;
mod token;
mod worker;
mod xdp;

pub use config::{Network, NetworkError, RelayAddress, RelayConfig, RelayError, StreamListener};
pub use files::{file_limit, raise_file_limit};
pub use handle::{Relay, RelayHandle, RelayStats};
#[cfg(fuzzing)]
pub use stream::fuzz_proxy_header;
pub use stream::places::ConnectionLimits;
pub use stream::tls::{CertificateError, TlsFiles};
pub use xdp::{FastPathError, pass_everything};
