//! The edge: one process per host between the browsers and the mesh.
//!
//! It admits people with tokens it verifies offline ([`admission`]), negotiates one
//! WebRTC connection each (`signalling`), forwards their media on shards, and relays
//! it to other edges over QUIC. It never decrypts, stores or names what it forwards, and
//! it never needs the control plane to keep a visit going.

pub mod admission;
pub mod config;
mod files;
pub mod settings;
