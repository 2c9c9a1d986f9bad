//! The audit logs' heads: what the voters witnessed, and can never be told otherwise.

use std::sync::Arc;

use medmesh_base::ClinicId;
use medmesh_tlog::proof::{PROOF_HASHES_MAX, verify_consistency};
use medmesh_tlog::{Checkpoint, Hash};

use super::Outcome;
use crate::command::LeafPromise;
use crate::event::Event;
use crate::limits::{AUDIT_ALARMS_MAX, AUDIT_HEADS_KEPT, AUDIT_LOGS_MAX, CHECKPOINT_BYTES_MAX};
use crate::response::{Limit, Refused, Response};
use crate::state::{AuditAlarm, AuditHead, AuditLog, State};

impl State {
    /// Takes a clinic's next head if it extends the one held: every node checks the proof
    /// itself, so that no proposer can fork a log or roll it back.
    pub(super) fn audit_head(
        &mut self,
        clinic: ClinicId,
        note: &str,
        proof: &[Hash],
        now: u64,
        events: &mut Vec<Event>,
    ) -> Outcome {
        let invalid = || Refused::Invalid("audit head".to_owned());
        if note.len() > CHECKPOINT_BYTES_MAX || proof.len() > PROOF_HASHES_MAX {
            return Err(invalid());
        }
        let checkpoint = Checkpoint::parse(note).map_err(|_| invalid())?;
        let held = self.audit_logs.get(&clinic);
        if let Some(held) = held {
            let newest = &held.newest;
            if checkpoint.origin != held.origin || checkpoint.size < newest.size {
                return Err(Refused::AuditNotExtended { size: newest.size });
            }
            verify_consistency(
                newest.size,
                &newest.root,
                checkpoint.size,
                &checkpoint.root,
                proof,
            )
            .map_err(|_| Refused::AuditNotExtended { size: newest.size })?;
            if checkpoint.size == newest.size {
                return Ok(Response::Done);
            }
        } else if self.audit_logs.len() >= AUDIT_LOGS_MAX {
            return Err(Refused::LimitReached(Limit::AuditLogs));
        } else if checkpoint.size == 0 {
            return Err(invalid());
        }
        let before = held.cloned();
        let at = self.tick(now);
        let newest = AuditHead {
            size: checkpoint.size,
            root: checkpoint.root,
            at,
        };
        let mut earlier = before.map_or_else(Vec::new, |log| {
            let mut earlier = log.earlier.clone();
            earlier.push(log.newest);
            earlier
        });
        // The first one stays: with it the thinned rest still spans the log's life.
        if earlier.len() > AUDIT_HEADS_KEPT {
            earlier.remove(1);
        }
        let log = AuditLog {
            origin: checkpoint.origin,
            note: note.to_owned(),
            newest,
            earlier,
        };
        self.audit_logs.insert(clinic, Arc::new(log));
        events.push(Event::AuditHeadChanged(clinic));
        Ok(Response::Done)
    }

    /// Keeps for good that a leaf a node had committed did not come into its log as it was.
    pub(super) fn audit_alarm(
        &mut self,
        clinic: ClinicId,
        leaf: LeafPromise,
        now: u64,
        events: &mut Vec<Event>,
    ) -> Outcome {
        let known = |alarm: &AuditAlarm| alarm.clinic == clinic && alarm.leaf == leaf;
        if self.audit_alarms.iter().any(known) {
            return Ok(Response::Done);
        }
        if self.audit_alarms.len() >= AUDIT_ALARMS_MAX {
            return Err(Refused::LimitReached(Limit::AuditAlarms));
        }
        let at = self.tick(now);
        self.audit_alarms.push(AuditAlarm { clinic, leaf, at });
        events.push(Event::AuditHeadChanged(clinic));
        Ok(Response::Done)
    }
}
