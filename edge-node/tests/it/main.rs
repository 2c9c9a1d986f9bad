//! Edges as processes see them: real sockets, real QUIC, real WebRTC, hand-made tokens.

#![allow(
    clippy::unwrap_used,
    reason = "this is all test; clippy's own exception covers #[test] functions only"
)]

mod browser;
mod failure;
mod fleet;
mod issuer;
mod media;
mod open_files;
mod refusals;
mod relayed;
