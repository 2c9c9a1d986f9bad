//! The edge: one process per host between the browsers and the mesh.
//!
//! It admits people with tokens it verifies offline ([`admission`]), negotiates one
//! WebRTC connection each (`signalling`), forwards their media on shards (`shard`, one
//! thread and one UDP socket each), and relays it to other edges over QUIC (`mesh`).
//! [`Edge::start`] builds it, [`Edge::drain`] stops it in order.
//!
//! It never decrypts, stores or names what it forwards, and it never needs the control
//! plane to keep a visit going: what that last said is on disk ([`settings`]).

#![allow(
    unexpected_cfgs,
    reason = "`fuzzing` is set by the fuzzer's build, which is no part of this workspace"
)]

mod admin;
pub mod admission;
mod app;
pub mod config;
mod control;
mod files;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod journal;
mod mesh;
mod metrics;
mod problem;
mod relay;
pub mod settings;
mod shard;
mod signalling;

pub use app::{Addresses, Edge, StartError};
pub use config::Config;
pub use control::{IdentityFiles, ObtainError};
pub use files::check_open_files;
pub use signalling::ListenError;
