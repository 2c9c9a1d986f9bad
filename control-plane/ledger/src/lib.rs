//! The fleet's *intent*, as a pure Raft state machine.
//!
//! What the control nodes must agree on: which edges there are and whether
//! they may take people, which participant of which room belongs on which
//! edge, who the control nodes are, which public keys and secret *epochs* are
//! in force, which join tokens are unspent, and the audit log's checkpoints.
//!
//! It never holds secrets, PHI or telemetry (round trips, load and rates live
//! in memory), and it has no clock, no randomness and no I/O: `now` and ids
//! come in with each [`Command`], so that every node computes the same
//! [`State`] from the same log.
//!
//! Drive it with [`State::apply`]; it answers with a [`Response`] for the one
//! who asked and [`Event`]s for those who watch. Everything is bounded by
//! [`limits`]; what does not fit or is out of date is [`Refused`], which
//! changes nothing.
//!
//! Versions N and N−1 run side by side: commands and responses are encoded
//! positionally, so their variants are *only appended* and a field is never
//! added to an existing one (a new variant is); the state is encoded by field
//! name, so a new field is `#[serde(default)]`. A command newer than the
//! oldest control node ([`State::version_floor`]) must not be proposed.

mod apply;
mod codec;
mod command;
mod event;
#[cfg(any(test, fuzzing))]
pub mod invariant;
pub mod limits;
mod response;
mod state;

pub use codec::{DecodeError, LEDGER_VERSION};
pub use command::{Command, ControlDescriptor, EdgeDescriptor, LeafPromise, TokenHash};
pub use event::{CloseReason, Event};
pub use response::{Limit, Refused, Response};
pub use state::{
    Applied, AuditAlarm, AuditHead, AuditLog, Checkpoint, ControlNode, Edge, EdgeStatus, JoinToken,
    Placement, Room, State, TokenKey, TurnEpochs,
};

#[cfg(test)]
mod tests;
