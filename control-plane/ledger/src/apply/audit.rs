//! The audit logs' heads: what the voters witnessed, and can never be told otherwise.

use std::sync::Arc;

use medmesh_base::ClinicId;
use medmesh_tlog::notice::Notice;
use medmesh_tlog::proof::{PROOF_HASHES_MAX, verify_consistency};
use medmesh_tlog::{Checkpoint, Hash};

use super::Outcome;
use crate::command::LeafPromise;
use crate::event::Event;
use crate::limits::{
    AUDIT_ALARMS_MAX, AUDIT_HEADS_KEPT, AUDIT_LOGS_MAX, AUDIT_NOTICES_MAX, CHECKPOINT_BYTES_MAX,
};
use crate::response::{Limit, Refused, Response};
use crate::state::{AuditAlarm, AuditHead, AuditLog, AuditNotice, State};

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
        let (key_epoch, notices) = self
            .audit_logs
            .get(&clinic)
            .map_or_else(Default::default, |log| (log.key_epoch, log.notices.clone()));
        let log = AuditLog {
            origin: checkpoint.origin,
            note: note.to_owned(),
            newest,
            earlier,
            key_epoch,
            notices,
        };
        self.audit_logs.insert(clinic, Arc::new(log));
        events.push(Event::AuditHeadChanged(clinic));
        Ok(Response::Done)
    }

    /// Keeps that another key signs the log from now on.
    pub(super) fn audit_key_rotate(
        &mut self,
        clinic: ClinicId,
        epoch: u32,
        notice: &str,
        now: u64,
        events: &mut Vec<Event>,
    ) -> Outcome {
        let mut log = self.audit_noticed(clinic, notice)?;
        if log.notices.last().is_some_and(|last| last.note == notice) {
            return Ok(Response::Done);
        }
        if Some(epoch) != log.key_epoch.checked_add(1) {
            return Err(Refused::Invalid("audit key epoch".to_owned()));
        }
        let at = self.tick(now);
        log.key_epoch = epoch;
        log.notices.push(AuditNotice {
            note: notice.to_owned(),
            at,
            left: None,
        });
        self.audit_logs.insert(clinic, Arc::new(log));
        events.push(Event::AuditHeadChanged(clinic));
        Ok(Response::Done)
    }

    /// Lets a log go on from a head that the held one extends: every node checks that itself, so that
    /// what goes on is a beginning of what was witnessed and nothing else.
    pub(super) fn audit_resume(
        &mut self,
        clinic: ClinicId,
        (note, proof): (&str, &[Hash]),
        notice: &str,
        now: u64,
        events: &mut Vec<Event>,
    ) -> Outcome {
        let invalid = || Refused::Invalid("audit head".to_owned());
        if note.len() > CHECKPOINT_BYTES_MAX || proof.len() > PROOF_HASHES_MAX {
            return Err(invalid());
        }
        let mut log = self.audit_noticed(clinic, notice)?;
        let checkpoint = Checkpoint::parse(note).map_err(|_| invalid())?;
        let newest = log.newest;
        // Names count upwards, so that none comes twice.
        let first = log
            .origin
            .rsplit_once('#')
            .map_or(&*log.origin, |(first, _)| first);
        if checkpoint.origin != format!("{first}#{}", log.generation() + 1) {
            return Err(invalid());
        }
        verify_consistency(
            checkpoint.size,
            &checkpoint.root,
            newest.size,
            &newest.root,
            proof,
        )
        .map_err(|_| Refused::AuditNotExtended { size: newest.size })?;
        let at = self.tick(now);
        log.origin = checkpoint.origin;
        log.note = note.to_owned();
        // Heads of what is still there remain heads.
        log.earlier.retain(|head| head.size < checkpoint.size);
        log.newest = AuditHead {
            size: checkpoint.size,
            root: checkpoint.root,
            at,
        };
        log.notices.push(AuditNotice {
            note: notice.to_owned(),
            at,
            left: Some(newest),
        });
        self.audit_logs.insert(clinic, Arc::new(log));
        events.push(Event::AuditHeadChanged(clinic));
        Ok(Response::Done)
    }

    /// The log a notice is about, if there is one and room for it.
    fn audit_noticed(&self, clinic: ClinicId, notice: &str) -> Result<AuditLog, Refused> {
        let invalid = || Refused::Invalid("audit notice".to_owned());
        if notice.len() > CHECKPOINT_BYTES_MAX || Notice::parse(notice).is_err() {
            return Err(invalid());
        }
        let log = self.audit_logs.get(&clinic).ok_or_else(invalid)?;
        if log.notices.len() >= AUDIT_NOTICES_MAX {
            return Err(Refused::LimitReached(Limit::AuditNotices));
        }
        Ok(AuditLog::clone(log))
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
