//! The audit leaf beside every write and every read of health data.
//!
//! A leaf is written in the transaction of the act, and gets its place in the clinic's
//! tree later ([`tree`]): acts of a clinic do not queue behind one another.

mod cosigned;
mod evidence;
mod months;
mod promise;
mod read;
mod seal;
mod tree;
mod view;

use std::time::Instant;

use medmesh_base::{AuditId, PersonId};
use medmesh_clinic::Actor;
use medmesh_clinic::audit::{Action, Event, Object, ObjectKind, Purpose, RolesHeld};
use medmesh_clinic::authz::{self, Grant};
use uuid::Uuid;

use crate::{Result, Tx};

pub use cosigned::{AuditCosigned, AuditLogState};
pub use months::LostMonth;
pub use promise::Promise;
pub(crate) use promise::Promises;
pub use read::{AUDIT_READ_MAX, AuditContent, AuditLeaf, LeafFault};
pub use tree::{AUDIT_BATCH_MAX, AuditBacklog, AuditLead, AuditTree, Kept};
pub use view::{AUDIT_EXPORT_MAX, AuditFilter, AuditView};

/// What one leaf is about: the object, the patient whose record it is, and the leave it was
/// seen under where that is not the transaction's.
pub(crate) type Leaf = (Object, Option<PersonId>, Option<Grant>);

/// What a leaf says beside who did what to which thing.
#[derive(Default)]
struct Beside {
    /// What was asked for and what was missing.
    denial: Option<(authz::Action, authz::Reason)>,
    /// What somebody was to the clinic, and is.
    roles: Option<RolesHeld>,
}

/// What a leaf calls a machine of the clinic that acted.
pub(crate) const CLIENT_ACTOR: &str = "client";

impl Tx {
    /// Writes one leaf.
    pub(crate) async fn audit(
        &mut self,
        action: Action,
        object: impl Into<Object>,
        patient: Option<PersonId>,
    ) -> Result<()> {
        let leaf = (object.into(), patient, None);
        self.audit_each(action, &[leaf], Beside::default()).await
    }

    /// Writes the leaf of an act that made or changed what somebody is to the clinic: one of
    /// [`Action::OF_ROLES`].
    pub(crate) async fn audit_roles(
        &mut self,
        action: Action,
        person: PersonId,
        patient: Option<PersonId>,
        roles: RolesHeld,
    ) -> Result<()> {
        let beside = Beside {
            roles: Some(roles),
            ..Beside::default()
        };
        self.audit_each(action, &[(person.into(), patient, None)], beside)
            .await
    }

    /// Writes the leaf of something that was asked for and not given.
    pub(crate) async fn audit_denied(
        &mut self,
        asked: authz::Action,
        object: Object,
        patient: Option<PersonId>,
        reason: authz::Reason,
    ) -> Result<()> {
        let beside = Beside {
            denial: Some((asked, reason)),
            ..Beside::default()
        };
        self.audit_each(Action::Denied, &[(object, patient, None)], beside)
            .await
    }

    /// Writes a leaf for each of the rows a listing gave, or one that says it gave none.
    pub(crate) async fn audit_each_or_none(
        &mut self,
        action: Action,
        kind: ObjectKind,
        leaves: &[Leaf],
    ) -> Result<()> {
        if leaves.is_empty() {
            return self.audit(action, Object::none_of(kind), None).await;
        }
        self.audit_each(action, leaves, Beside::default()).await
    }

    async fn audit_each(&mut self, action: Action, leaves: &[Leaf], beside: Beside) -> Result<()> {
        let Beside { denial, roles } = beside;
        if denial.is_none() && self.is_covered(leaves) {
            return Ok(());
        }
        self.about = leaves.iter().find_map(|(_, patient, _)| *patient).or(self.about);
        let (actor_kind, actor_id, session_id) = match self.actor() {
            Actor::Person(caller) => (
                "person",
                Some(caller.person_id.as_uuid()),
                Some(caller.session_id.as_uuid()),
            ),
            Actor::Client(client) => (
                CLIENT_ACTOR,
                Some(client.client_id.as_uuid()),
                Some(client.token_id.as_uuid()),
            ),
            Actor::System(part) => (part.as_str(), None, None),
        };
        let leave = self.grant;
        let purpose = |own: Option<Grant>| match action {
            Action::Login
            | Action::LoginRefused
            | Action::SecondFactorVerify
            | Action::SecondFactorRefused
            | Action::FactorEnrol
            | Action::FactorRemove
            | Action::RecoveryCodesCreate
            | Action::LinkIssue
            | Action::PasswordSet
            | Action::IdentityLink
            | Action::IdentityUnlink
            | Action::SessionRevoke
            | Action::ClientToken
            | Action::ClientRefused
            | Action::KeyOpen
            | Action::KeyRotate
            | Action::KeyRetire
            | Action::KeyRestore
            | Action::AuditKeyRotate
            | Action::AuditResume
            | Action::Denied => Purpose::Security,
            _ => own.or(leave).map_or(Purpose::Operations, |grant| grant.purpose),
        };
        let events: Vec<Event> = leaves
            .iter()
            .map(|(object, patient, own)| Event {
                clinic_id: self.clinic(),
                id: AuditId::generate().as_uuid(),
                at: self.now(),
                actor_kind: actor_kind.to_owned(),
                actor_id,
                session_id,
                action: action.as_str().to_owned(),
                object_kind: object.kind.as_str().to_owned(),
                object_id: object.id,
                patient_id: patient.map(|id| id.as_uuid()),
                purpose: purpose(*own).as_str().to_owned(),
                request_id: self.request_id().as_uuid(),
                break_glass_id: own
                    .or(leave)
                    .and_then(|grant| grant.break_glass)
                    .map(|id| id.as_uuid()),
                denied_action: denial.map(|(asked, _)| asked.as_str().to_owned()),
                denied_reason: denial.map(|(_, reason)| reason.as_str().to_owned()),
                roles: roles.clone(),
            })
            .collect();
        self.audit_write(&events).await
    }

    /// Writes leaves of one act: same time, actor, session, action and request.
    async fn audit_write(&mut self, events: &[Event]) -> Result<()> {
        let Some(first) = events.first() else {
            return Ok(());
        };
        let (mut sealed, mut commitments, since) = (Vec::new(), Vec::new(), Instant::now());
        for event in events {
            let leaf = self.audit_seal(event).await?;
            sealed.push(leaf.sealed);
            commitments.push(leaf.commitment.0.to_vec());
            self.promises.push(Promise {
                clinic_id: self.clinic_id(),
                id: AuditId::from_uuid(event.id),
                commitment: leaf.commitment,
                since,
            });
        }
        let column = |of: fn(&Event) -> Option<Uuid>| events.iter().map(of).collect::<Vec<_>>();
        let words = |of: fn(&Event) -> &str| events.iter().map(of).collect::<Vec<_>>();
        sqlx::query(
            "WITH leaf AS (
                 INSERT INTO audit (clinic_id, id, at, actor_kind, actor_id, session_id, action, object_kind,
                     object_id, patient_id, purpose, request_id, break_glass_id, denied_action, denied_reason,
                     sealed, commitment)
                 SELECT $1, leaf.id, $2, $3, $4, $5, $6, leaf.kind, leaf.object, leaf.patient, leaf.purpose,
                     $7, leaf.glass, $8, $9, leaf.sealed, leaf.commitment
                 FROM unnest($10::uuid[], $11::text[], $12::uuid[], $13::uuid[], $14::text[], $15::uuid[],
                     $16::bytea[], $17::bytea[])
                     AS leaf (id, kind, object, patient, purpose, glass, sealed, commitment)
                 RETURNING clinic_id, id)
             INSERT INTO audit_pending (clinic_id, leaf_id) SELECT clinic_id, id FROM leaf",
        )
        .bind(first.clinic_id)
        .bind(first.at)
        .bind(&first.actor_kind)
        .bind(first.actor_id)
        .bind(first.session_id)
        .bind(&first.action)
        .bind(first.request_id)
        .bind(&first.denied_action)
        .bind(&first.denied_reason)
        .bind(column(|event| Some(event.id)))
        .bind(words(|event| &event.object_kind))
        .bind(column(|event| event.object_id))
        .bind(column(|event| event.patient_id))
        .bind(words(|event| &event.purpose))
        .bind(column(|event| event.break_glass_id))
        .bind(sealed)
        .bind(commitments)
        .execute(self.db())
        .await?;
        Ok(())
    }

    /// Records that the log was verified.
    ///
    /// # Errors
    /// When the database or the keys fail.
    pub async fn audit_verified(&mut self) -> Result<()> {
        self.audit(Action::AuditVerify, Object::none_of(ObjectKind::Audit), None)
            .await
    }

    /// Records that another key signs the log, or that it went on after its database was put back;
    /// `notice` is the announcement's digest, cut to an id.
    ///
    /// # Errors
    /// When the database or the keys fail.
    pub async fn audit_turned(&mut self, went_on: bool, notice: Uuid) -> Result<()> {
        let action = if went_on {
            Action::AuditResume
        } else {
            Action::AuditKeyRotate
        };
        self.audit(action, Object::of(ObjectKind::Audit, notice), None)
            .await
    }
}
