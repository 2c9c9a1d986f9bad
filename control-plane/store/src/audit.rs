//! The audit leaf beside every write and every read of health data.

use medmesh_base::{AuditId, PersonId, RequestId};
use medmesh_clinic::Refusal;
use medmesh_clinic::audit::{Action, Object, ObjectKind, Purpose};
use medmesh_clinic::{Actor, Role};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{Cursor, Page, PageRequest, Result, StoreError, Tx};

/// One entry of the audit log: words and ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// The entry.
    pub id: AuditId,
    /// When.
    pub at: OffsetDateTime,
    /// `person`, or the part of the system that acted.
    pub actor_kind: String,
    /// The person who acted.
    pub actor_id: Option<PersonId>,
    /// What was done.
    pub action: Action,
    /// To what kind of thing.
    pub object_kind: ObjectKind,
    /// To which one.
    pub object_id: Option<Uuid>,
    /// Whose record it was.
    pub patient_id: Option<PersonId>,
    /// Why.
    pub purpose: Purpose,
    /// In which request.
    pub request_id: RequestId,
}

type Row = (
    Uuid,
    OffsetDateTime,
    String,
    Option<Uuid>,
    String,
    String,
    Option<Uuid>,
    Option<Uuid>,
    String,
    Uuid,
);

/// What one leaf is about: the object, and the patient whose record it is.
pub(crate) type Leaf = (Object, Option<PersonId>);

impl Tx {
    /// Writes one leaf.
    pub(crate) async fn audit(
        &mut self,
        action: Action,
        object: impl Into<Object>,
        patient: Option<PersonId>,
    ) -> Result<()> {
        self.audit_each(action, &[(object.into(), patient)]).await
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
        self.audit_each(action, leaves).await
    }

    async fn audit_each(&mut self, action: Action, leaves: &[Leaf]) -> Result<()> {
        let (actor_kind, actor_id, session_id) = match self.actor() {
            Actor::Person(caller) => (
                "person",
                Some(caller.person_id.as_uuid()),
                Some(caller.session_id.as_uuid()),
            ),
            Actor::System(part) => (part.as_str(), None, None),
        };
        let purpose = match action {
            Action::Login
            | Action::LoginRefused
            | Action::SecondFactorVerify
            | Action::SecondFactorRefused
            | Action::FactorEnrol
            | Action::FactorRemove
            | Action::RecoveryCodesCreate
            | Action::LinkIssue
            | Action::PasswordSet
            | Action::SessionRevoke => Purpose::Security,
            _ => self.actor().purpose(),
        };
        let ids: Vec<Uuid> = leaves.iter().map(|_| AuditId::generate().as_uuid()).collect();
        let kinds: Vec<&str> = leaves.iter().map(|(object, _)| object.kind.as_str()).collect();
        let objects: Vec<Option<Uuid>> = leaves.iter().map(|(object, _)| object.id).collect();
        let patients: Vec<Option<Uuid>> = leaves
            .iter()
            .map(|(_, patient)| patient.map(|id| id.as_uuid()))
            .collect();
        let (clinic, at, request) = (self.clinic(), self.now(), self.request_id().as_uuid());
        sqlx::query(
            "INSERT INTO audit (clinic_id, id, at, actor_kind, actor_id, session_id, action,
                 object_kind, object_id, patient_id, purpose, request_id)
             SELECT $1, leaf.id, $2, $3, $4, $5, $6, leaf.kind, leaf.object, leaf.patient, $7, $8
             FROM unnest($9::uuid[], $10::text[], $11::uuid[], $12::uuid[])
                 AS leaf (id, kind, object, patient)",
        )
        .bind(clinic)
        .bind(at)
        .bind(actor_kind)
        .bind(actor_id)
        .bind(session_id)
        .bind(action.as_str())
        .bind(purpose.as_str())
        .bind(request)
        .bind(ids)
        .bind(kinds)
        .bind(objects)
        .bind(patients)
        .execute(self.db())
        .await?;
        Ok(())
    }

    /// The log, newest first: of the whole clinic for an admin, of one's own
    /// record for a patient.
    ///
    /// # Errors
    /// [`Refusal::NotYours`] for everybody else.
    pub async fn audit_list(&mut self, page: PageRequest) -> Result<Page<AuditEntry>> {
        let patient = match self.actor() {
            Actor::System(_) => None,
            Actor::Person(caller) if caller.roles.contains(Role::Admin) => None,
            Actor::Person(caller) if caller.roles.contains(Role::Patient) => Some(caller.person_id),
            Actor::Person(_) => return Err(Refusal::NotYours.into()),
        };
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT id, at, actor_kind, actor_id, action, object_kind, object_id, patient_id, purpose, request_id
             FROM audit
             WHERE ($1::uuid IS NULL OR patient_id = $1)
                 AND ($2::uuid IS NULL OR sequence < (SELECT sequence FROM audit WHERE id = $2))
             ORDER BY sequence DESC LIMIT $3",
        )
        .bind(patient.map(|id| id.as_uuid()))
        .bind(page.id())
        .bind(page.fetch())
        .fetch_all(self.db())
        .await?;
        self.audit(Action::AuditRead, Object::none_of(ObjectKind::Audit), patient)
            .await?;
        let entries = rows.into_iter().map(entry_from).collect::<Result<Vec<_>>>()?;
        Ok(Page::of(entries, page, |entry| Cursor {
            at: entry.at,
            id: entry.id.as_uuid(),
        }))
    }
}

fn entry_from(row: Row) -> Result<AuditEntry> {
    let (id, at, actor_kind, actor_id, action, object_kind, object_id, patient_id, purpose, request_id) = row;
    Ok(AuditEntry {
        id: AuditId::from_uuid(id),
        at,
        actor_kind,
        actor_id: actor_id.map(PersonId::from_uuid),
        action: action.parse().map_err(|_| StoreError::corrupt("audit.action"))?,
        object_kind: object_kind
            .parse()
            .map_err(|_| StoreError::corrupt("audit.object_kind"))?,
        object_id,
        patient_id: patient_id.map(PersonId::from_uuid),
        purpose: purpose
            .parse()
            .map_err(|_| StoreError::corrupt("audit.purpose"))?,
        request_id: RequestId::from_uuid(request_id),
    })
}
