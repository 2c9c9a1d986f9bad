//! medmesh's TURN relay: a pure server, a UDP driver, and the standalone binary around them.
//!
//! # Embedding
//!
//! ```ignore
//! let config = RelayConfig { listen: vec!["192.0.2.1:3478".parse()?], ..RelayConfig::default() };
//! let secrets = Secrets::new(Secret::new(7, &text), None); // or Secrets::none() until they arrive
//! let peers = PeerPolicy::allow_list(vec!["192.0.2.1:10000-10007".parse()?]);
//! let relay = Relay::spawn(config, secrets, peers, &registry)?; // threads of its own, no runtime needed
//! relay.set_secrets(newer);        // rotation: allocations live on
//! relay.set_peer_policy(wider);    // permissions it no longer allows end
//! relay.stats().allocations;       // for load reports; metrics are in the registry
//! relay.drain();                   // no new allocations; done when stats().allocations == 0
//! relay.stop();                    // joins the threads
//! ```
//!
//! [`RelayHandle`] is `Clone + Send + Sync`; every method returns at once except `stop`
//! (milliseconds). Credentials are those of `vault`: user name `expiry:opaque-id`, password
//! `base64(HMAC-SHA1(secret text, user name))`.
//!
//! # What it never does
//!
//! It keeps no state for a sender that has not authenticated, reaches no peer the policy
//! does not allow (the default allows none), and writes no user name into a log or metric.

pub mod codec;
mod credential;
mod driver;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod peers_file;
mod policy;
pub mod probe;
pub mod secrets_file;
pub mod server;
mod watched;

pub use credential::{IntegrityKey, PasswordAlgorithm, Secret, Secrets, ShortTermCredential, long_term_key};
#[doc(hidden)]
pub use driver::forward::{FORWARD_ASK, forward};
#[cfg(fuzzing)]
pub use driver::fuzz_proxy_header;
#[doc(hidden)]
pub use driver::pass_everything;
pub use driver::{
    CertificateError, ConnectionLimits, FastPathError, Network, NetworkError, Relay, RelayAddress,
    RelayConfig, RelayError, RelayHandle, RelayStats, StreamListener, TlsFiles, file_limit, raise_file_limit,
};
pub use policy::{PeerMode, PeerPolicy, PeerRule, PeerRuleError, embedded_ipv4};
pub use server::{Alternate, Limits, Transport};
