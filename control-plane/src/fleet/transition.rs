//! Which state transitions the leader proposes. Telemetry never enters the ledger;
//! that an edge died, came back or was reconfigured does. Pure.

use std::collections::BTreeMap;

use medmesh_base::EdgeId;
use medmesh_ledger::{Command, EdgeDescriptor, EdgeStatus, State};

use super::telemetry::Telemetry;

/// A fresh leader does not declare anybody dead for this long: it may have just
/// started and not been found by the edges yet.
pub(super) const GRACE_MS: u64 = 6_000;

/// When TURN secrets are replaced, Unix milliseconds apart: credentials live for hours, a
/// leaked secret for at most twice this.
const TURN_ROTATION_MS: u64 = 24 * 3_600_000;

/// When the previous TURN secret stops being accepted: credentials of the longest visit have ended.
const TURN_OVERLAP_MS: u64 = 13 * 3_600_000;

/// What a look at ledger and telemetry found wrong, as commands that put it right.
///
/// `refused` holds descriptors the ledger has turned down; they are not proposed again
/// until the edge says something else. `leading_for_ms` is how long this node has led.
#[must_use]
pub(super) fn transitions(
    state: &State,
    telemetry: &Telemetry,
    refused: &BTreeMap<EdgeId, EdgeDescriptor>,
    leading_for_ms: u64,
    now_ms: u64,
    now_unix_ms: u64,
) -> Vec<Command> {
    let mut commands = Vec::new();
    for (edge, known) in &state.edges {
        let fresh = telemetry.fresh(*edge, now_ms);
        let status = match (known.status, fresh) {
            (EdgeStatus::Down, Some(_)) => Some(EdgeStatus::Up),
            (EdgeStatus::Up, None) if leading_for_ms >= GRACE_MS => Some(EdgeStatus::Down),
            _ => None,
        };
        if let Some(status) = status {
            commands.push(Command::EdgeStatusSet {
                edge: *edge,
                status,
                now: now_unix_ms,
            });
        }
        let descriptor = fresh.and_then(|report| report.descriptor.as_ref());
        if let Some(descriptor) = descriptor
            && *descriptor != known.descriptor
            && refused.get(edge) != Some(descriptor)
        {
            commands.push(Command::EdgeUpsert {
                edge: *edge,
                descriptor: descriptor.clone(),
                now: now_unix_ms,
            });
        }
    }
    commands.extend(upkeep(state, now_unix_ms));
    commands
}

/// What time alone makes due: expiry, and the TURN secret's turn.
fn upkeep(state: &State, now: u64) -> Vec<Command> {
    let mut commands = Vec::new();
    let turn = &state.turn;
    if turn.current == 0 || turn.rotated_at + TURN_ROTATION_MS <= now {
        commands.push(Command::TurnSecretRotate {
            expected: turn.current,
            now,
        });
    } else if let Some(previous) = turn.previous.filter(|_| turn.rotated_at + TURN_OVERLAP_MS <= now) {
        commands.push(Command::TurnSecretRetire { previous, now });
    }
    let overdue = state.rooms.values().any(|room| room.expires_at <= now)
        || state
            .join_tokens
            .values()
            .any(|token| token.remembered_until() <= now)
        || state.revocations.values().any(|until| *until <= now)
        || state
            .token_keys
            .values()
            .any(|key| key.retires_at.is_some_and(|at| at <= now));
    if overdue {
        commands.push(Command::Expire { now });
    }
    commands
}
