//! Edges as processes see them: real sockets, real QUIC, real WebRTC, hand-made tokens.

mod browser;
mod failure;
mod fleet;
mod issuer;
mod media;
mod refusals;
mod relayed;
