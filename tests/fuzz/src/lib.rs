//! What the targets and their seeds share.

pub mod fleet;
pub mod input;
pub mod offer;
pub mod passkey;
pub mod shard;
pub mod stun;
