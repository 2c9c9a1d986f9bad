//! How a command changes the state.

mod audit;
mod edges;
mod rooms;
mod trust;

use crate::command::Command;
use crate::event::Event;
use crate::limits::{BATCH_COMMANDS_MAX, EXPIRE_MAX, NAME_BYTES_MAX, URL_BYTES_MAX};
use crate::response::{Limit, Refused, Response};
use crate::state::{Applied, State};

type Outcome = Result<Response, Refused>;

impl State {
    /// Applies one command. A refused one changes nothing and says why.
    pub fn apply(&mut self, command: &Command) -> Applied {
        let mut events = Vec::new();
        let response = self.apply_any(command, &mut events);
        Applied { response, events }
    }

    fn apply_any(&mut self, command: &Command, events: &mut Vec<Event>) -> Response {
        match command {
            Command::Batch(commands) if commands.len() > BATCH_COMMANDS_MAX => {
                Response::Refused(Refused::LimitReached(Limit::BatchCommands))
            }
            Command::Batch(commands) => Response::Batch(
                commands
                    .iter()
                    .map(|inner| self.apply_one(inner, events))
                    .collect(),
            ),
            single => self.apply_one(single, events),
        }
    }

    fn apply_one(&mut self, command: &Command, events: &mut Vec<Event>) -> Response {
        self.outcome(command, events).unwrap_or_else(Response::Refused)
    }

    fn outcome(&mut self, command: &Command, events: &mut Vec<Event>) -> Outcome {
        match command {
            Command::Batch(_) => Err(Refused::NestedBatch),
            Command::EdgeUpsert {
                edge,
                descriptor,
                now,
            } => self.edge_upsert(*edge, descriptor, *now, events),
            Command::EdgeEnrol {
                token,
                edge,
                descriptor,
                now,
            } => self.edge_enrol(token, *edge, descriptor, *now, events),
            Command::EdgeStatusSet { edge, status, now } => {
                self.edge_change(*edge, *now, events, |it| it.status = *status)
            }
            Command::EdgeCordon { edge, cordoned, now } => {
                self.edge_change(*edge, *now, events, |it| it.cordoned = *cordoned)
            }
            Command::EdgeDrain { edge, draining, now } => {
                self.edge_change(*edge, *now, events, |it| it.draining = *draining)
            }
            Command::EdgeRemove { edge, now } => self.edge_remove(*edge, *now, events),
            Command::RoomAssign { .. } => self.room_assign(command, events),
            Command::RoomClose { room, now } => self.room_close(*room, *now, events),
            Command::Expire { now } => Ok(self.expire(*now, events)),
            Command::ControlUpsert {
                node,
                descriptor,
                now,
            } => self.control_upsert(*node, descriptor, *now, events),
            Command::ControlRemove { node, now } => self.control_remove(*node, *now, events),
            Command::TokenKeyPut { kid, jwk, owner, now } => {
                self.token_key_put(kid, jwk, *owner, *now, events)
            }
            Command::TokenKeyRetire { kid, retires_at, now } => {
                self.token_key_retire(kid, *retires_at, *now, events)
            }
            Command::TurnSecretRotate { expected, now } => self.turn_rotate(*expected, *now, events),
            Command::TurnSecretRetire { previous, now } => self.turn_retire(*previous, *now, events),
            Command::JoinTokenAdd {
                token,
                expires_at,
                now,
            } => self.join_token_add(token, *expires_at, *now, events),
            Command::CheckpointPut { name, bytes, now } => self.checkpoint_put(name, bytes, *now, events),
            Command::TokenRevoke { jti, until, now } => self.token_revoke(jti, *until, *now, events),
            Command::AuditHead {
                clinic,
                note,
                proof,
                now,
            } => self.audit_head(*clinic, note, proof, *now, events),
            Command::AuditKeyRotate {
                clinic,
                epoch,
                notice,
                now,
            } => self.audit_key_rotate(*clinic, *epoch, notice, *now, events),
            Command::AuditResume {
                clinic,
                note,
                proof,
                notice,
                now,
            } => self.audit_resume(*clinic, (note, proof), notice, *now, events),
            Command::AuditAlarm { clinic, leaf, now } => self.audit_alarm(*clinic, *leaf, *now, events),
        }
    }

    /// The ledger's clock: the latest any proposer had, so that it never goes
    /// back when leadership moves to a node whose clock is behind. Called once
    /// a command is known to succeed.
    fn tick(&mut self, now: u64) -> u64 {
        self.now = self.now.max(now);
        self.now
    }

    fn expire(&mut self, now: u64, events: &mut Vec<Event>) -> Response {
        let now = self.tick(now);
        let mut budget = EXPIRE_MAX;
        self.rooms_expire(now, &mut budget, events);
        self.trust_expire(now, &mut budget, events);
        let count = u32::try_from(EXPIRE_MAX - budget).unwrap_or(u32::MAX);
        Response::Expired {
            count,
            more: budget == 0,
        }
    }
}

/// Takes up to `budget` keys whose value `is_over`, in key order.
fn overdue<K: Clone + Ord, V>(
    map: &std::collections::BTreeMap<K, V>,
    budget: &mut usize,
    is_over: impl Fn(&V) -> bool,
) -> Vec<K> {
    let keys: Vec<K> = map
        .iter()
        .filter(|(_, value)| is_over(value))
        .map(|(key, _)| key.clone())
        .take(*budget)
        .collect();
    *budget -= keys.len();
    keys
}

/// A name that may become a label: 1 to [`NAME_BYTES_MAX`] visible ASCII characters.
fn check_name(what: &str, name: &str) -> Result<(), Refused> {
    let fits = (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_graphic());
    if fits {
        Ok(())
    } else {
        Err(Refused::Invalid(what.to_owned()))
    }
}

/// An address or URL: 1 to [`URL_BYTES_MAX`] visible ASCII characters.
fn check_url(what: &str, url: &str) -> Result<(), Refused> {
    let fits = (1..=URL_BYTES_MAX).contains(&url.len()) && url.bytes().all(|b| b.is_ascii_graphic());
    if fits {
        Ok(())
    } else {
        Err(Refused::Invalid(what.to_owned()))
    }
}
