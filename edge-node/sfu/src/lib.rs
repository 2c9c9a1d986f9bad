//! The selective forwarding core of one shard of an edge.
//!
//! [`Sfu`] holds every room of a shard: the WebRTC connections of its local
//! participants (str0m in RTP mode), the tracks they publish, the slots they
//! receive on, and the tracks other edges share over the mesh. Time and bytes
//! come in through `handle_*`, everything that has to happen comes out of
//! [`Sfu::poll_output`].
//!
//! The one rule of driving it: after any number of `handle_*` calls, poll until
//! [`Output::Timeout`], then wait for input or for that instant. Feeding a whole
//! received batch before polling is what makes sends leave in runs.
//!
//! It never opens a socket, reads a clock, spawns, blocks or decrypts what
//! people say (payloads stay as the browser sealed them), and input never
//! panics it: a panic inside one participant's connection ends that participant.

mod allocate;
mod codec;
mod config;
mod connection;
mod control;
mod event;
mod forward;
mod join;
mod keyframe;
mod mesh;
mod packet;
mod plan;
mod room;
mod sfu;
mod speaker;
mod stats;
mod track;

#[cfg(test)]
mod tests;

pub use config::{Limits, SfuConfig, generate_certificate};
pub use event::{Event, LeaveReason, MeshDatagram, Output, SessionView, Transmit};
pub use join::{IceRestarted, Join, JoinError, Joined, ResourceId, RestartError};
pub use medmesh_base::media_token::{Grants, MeshEdge, Source};
pub use mesh::{MeshLayer, MeshMessage, MeshParticipant, MeshTrack, Route, flow_shard};
pub use sfu::Sfu;
#[cfg(any(test, fuzzing))]
pub use sfu::fuzz;
pub use stats::{DropReason, Stats};
pub use str0m::config::DtlsCert;
