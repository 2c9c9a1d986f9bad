//! Between edges: messages, the media datagram codec, flows in and out.

mod message;

pub use message::{MeshLayer, MeshMessage, MeshParticipant, MeshTrack, Route, flow_shard};
