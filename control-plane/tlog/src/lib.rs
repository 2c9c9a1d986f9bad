//! A log whose past cannot be changed without everyone noticing.
//!
//! - [`Hash`], [`Frontier`]: the Merkle tree of RFC 9162 section 2.1 (SHA-256,
//!   leaves prefixed with 0, nodes with 1), grown leaf by leaf in O(log n) memory.
//! - [`proof`]: inclusion and consistency, made from stored nodes and verified
//!   from nothing but hashes.
//! - [`tile`]: where nodes are stored (C2SP tlog-tiles, tiles of height 8).
//! - [`note`], [`Checkpoint`]: signed heads (C2SP signed-note, tlog-checkpoint)
//!   and the cosignatures of outside witnesses (cosignature/v1).
//! - [`notice`]: what a log says about itself when its key or its name changes.
//!
//! Pure: it reads no clock, no file and no random number; the caller brings the
//! tiles that [`proof`] asks for. What comes from outside is checked, never
//! trusted, and refused with a typed error.

mod checkpoint;
mod frontier;
mod hash;
pub mod note;
pub mod notice;
pub mod proof;
pub mod tile;

pub use checkpoint::{Checkpoint, CheckpointError};
pub use frontier::{Frontier, FrontierError};
pub use hash::{Hash, leaf_hash, node_hash};

/// Largest tree: indexes and sizes stay within `i64`, which databases and JSON carry.
pub const SIZE_MAX: u64 = 1 << 62;

#[cfg(test)]
mod tests;
