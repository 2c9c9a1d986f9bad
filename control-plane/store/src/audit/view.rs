//! The log as people read it: the clinic's auditor, and the patient whose record it is about.
//!
//! Whoever reads it is on it: every answer leaves its leaves in the same transaction.

use std::collections::{BTreeSet, HashMap};

use medmesh_base::{ClientId, PersonId};
use medmesh_clinic::audit::{Action, Event, Object, ObjectKind, Outcome};
use medmesh_clinic::authz;
use sqlx::FromRow;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::{CLIENT_ACTOR, Leaf};
use crate::person::Named;
use crate::relationship::Target;
use crate::{Cursor, Page, PageRequest, Result, Tx};

/// Entries of one export; the next begins where it ended. Some ten megabytes of FHIR, and a second.
pub const AUDIT_EXPORT_MAX: u32 = 4_000;

/// Entries looked through for one page. A filter no index helps with gives pages with fewer
/// entries then, and never a query that reads six years.
const LOOKED_THROUGH_MAX: i64 = 20_000;

/// How far an id's instant and the recorded one may lie apart: clocks are set, requests wait.
const ID_SLACK: Duration = Duration::hours(1);

/// Which entries are wanted; all of them without.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// What this person did.
    pub actor: Option<PersonId>,
    /// What was done to this patient's record.
    pub patient: Option<PersonId>,
    /// Only this act.
    pub action: Option<Action>,
    /// Only what ended so.
    pub outcome: Option<Outcome>,
    /// Not before.
    pub from: Option<OffsetDateTime>,
    /// Before.
    pub to: Option<OffsetDateTime>,
}

/// Entries, newest first, and how the people in them are called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditView {
    /// The entries.
    pub page: Page<Event>,
    /// Those named by the entries.
    pub people: HashMap<PersonId, Named>,
    /// What the clinic calls those of its machines that acted.
    pub clients: HashMap<ClientId, String>,
    /// The places in the log of those entries that a signed head covers, by entry. Where entries are copied or
    /// shown to a patient, none.
    pub places: HashMap<Uuid, u64>,
}

#[derive(FromRow)]
struct Row {
    clinic_id: Uuid,
    id: Uuid,
    at: OffsetDateTime,
    actor_kind: String,
    actor_id: Option<Uuid>,
    session_id: Option<Uuid>,
    action: String,
    object_kind: String,
    object_id: Option<Uuid>,
    patient_id: Option<Uuid>,
    purpose: String,
    request_id: Uuid,
    break_glass_id: Option<Uuid>,
    denied_action: Option<String>,
    denied_reason: Option<String>,
    /// Of [`Action::OF_ROLES`] alone: what the columns do not say is in there.
    sealed: Option<Vec<u8>>,
    is_match: bool,
}

impl From<Row> for Event {
    fn from(row: Row) -> Self {
        Self {
            clinic_id: row.clinic_id,
            id: row.id,
            at: row.at,
            actor_kind: row.actor_kind,
            actor_id: row.actor_id,
            session_id: row.session_id,
            action: row.action,
            object_kind: row.object_kind,
            object_id: row.object_id,
            patient_id: row.patient_id,
            purpose: row.purpose,
            request_id: row.request_id,
            break_glass_id: row.break_glass_id,
            denied_action: row.denied_action,
            denied_reason: row.denied_reason,
            roles: None,
        }
    }
}

/// What one query is to give.
struct Wanted {
    filter: AuditFilter,
    /// Acts of the patient themselves are left out.
    of_others: bool,
    after: Option<Uuid>,
    rows: usize,
}

impl Wanted {
    /// Entries to look through: as many as are wanted, where the indexes know them all.
    const fn looked_through(&self) -> i64 {
        let AuditFilter {
            action,
            outcome,
            from,
            to,
            ..
        } = self.filter;
        let is_indexed = action.is_none() && outcome.is_none() && from.is_none() && to.is_none();
        if is_indexed && !self.of_others {
            self.rows as i64 + 1
        } else {
            LOOKED_THROUGH_MAX
        }
    }
}

impl Tx {
    /// The clinic's log, newest first. A page may hold fewer entries than asked for though there is
    /// a next one.
    ///
    /// # Errors
    /// [`crate::StoreError::Denied`] for all but auditors and admins.
    pub async fn audit_list(&mut self, filter: &AuditFilter, page: PageRequest) -> Result<AuditView> {
        self.authorise(authz::Action::AuditList, Target::Clinic).await?;
        let wanted = Wanted {
            filter: *filter,
            of_others: false,
            after: page.id(),
            rows: page.rows(),
        };
        let found = self.audit_find(&wanted).await?;
        let people = self.audit_people(&found.items).await?;
        let clients = self.audit_clients(&found.items).await?;
        let ids: Vec<Uuid> = found.items.iter().map(|event| event.id).collect();
        let places = self.audit_covered(&ids).await?;
        // Patients are named in the answer: each of them can see that they were.
        let patients: BTreeSet<PersonId> = found
            .items
            .iter()
            .filter_map(|event| event.patient_id.map(PersonId::from_uuid))
            .chain(filter.patient)
            .collect();
        let leaves: Vec<Leaf> = patients
            .into_iter()
            .map(|patient| (Object::none_of(ObjectKind::Audit), Some(patient), None))
            .collect();
        self.audit_each_or_none(Action::AuditRead, ObjectKind::Audit, &leaves)
            .await?;
        Ok(AuditView {
            page: found,
            people,
            clients,
            places,
        })
    }

    /// A copy of the log, newest first, at most [`AUDIT_EXPORT_MAX`] entries at once. It names
    /// staff; patients are ids.
    ///
    /// # Errors
    /// [`crate::StoreError::Denied`] for all but auditors and admins who have just proved
    /// themselves again.
    pub async fn audit_export(&mut self, filter: &AuditFilter, after: Option<Cursor>) -> Result<AuditView> {
        self.authorise(authz::Action::AuditExport, Target::Clinic).await?;
        let wanted = Wanted {
            filter: *filter,
            of_others: false,
            after: after.map(|cursor| cursor.id),
            rows: AUDIT_EXPORT_MAX as usize,
        };
        let page = self.audit_find(&wanted).await?;
        let mut people = self.audit_people(&page.items).await?;
        let clients = self.audit_clients(&page.items).await?;
        people.retain(|_, named| named.roles.is_staff());
        let object = Object::none_of(ObjectKind::Audit);
        self.audit(Action::AuditExport, object, filter.patient).await?;
        Ok(AuditView {
            page,
            people,
            clients,
            places: HashMap::new(),
        })
    }

    /// Who saw a patient's record, when and why, newest first; without what the patient did
    /// themselves where `of_others`. Staff are named; whoever else tried is not.
    ///
    /// # Errors
    /// [`crate::StoreError::Denied`] for all but the patient and the privacy officer.
    pub async fn record_access_list(
        &mut self,
        patient: PersonId,
        of_others: bool,
        page: PageRequest,
    ) -> Result<AuditView> {
        self.authorise(authz::Action::RecordAccessList, Target::Patient(patient))
            .await?;
        let filter = AuditFilter {
            patient: Some(patient),
            ..AuditFilter::default()
        };
        let wanted = Wanted {
            filter,
            of_others,
            after: page.id(),
            rows: page.rows(),
        };
        let page = self.audit_find(&wanted).await?;
        let mut people = self.audit_people(&page.items).await?;
        let clients = self.audit_clients(&page.items).await?;
        // Another patient who asked for what is not theirs has a right to their name, too.
        people.retain(|id, named| named.roles.is_staff() || *id == patient);
        let object = Object::none_of(ObjectKind::Audit);
        self.audit(Action::AuditRead, object, Some(patient)).await?;
        Ok(AuditView {
            page,
            people,
            clients,
            places: HashMap::new(),
        })
    }

    async fn audit_people(&mut self, events: &[Event]) -> Result<HashMap<PersonId, Named>> {
        let ids: BTreeSet<Uuid> = events
            .iter()
            .flat_map(|event| [event.actor_id, event.patient_id])
            .flatten()
            .collect();
        self.people_named(&ids.into_iter().collect::<Vec<_>>()).await
    }

    async fn audit_clients(&mut self, events: &[Event]) -> Result<HashMap<ClientId, String>> {
        let acted = events.iter().filter(|event| event.actor_kind == CLIENT_ACTOR);
        let ids: BTreeSet<Uuid> = acted.filter_map(|event| event.actor_id).collect();
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        let named = self.clients_named(&ids.into_iter().collect::<Vec<_>>()).await?;
        Ok(named.into_iter().collect())
    }

    /// The ids bound the months that are looked at; what no index knows is decided row by row.
    async fn audit_find(&mut self, wanted: &Wanted) -> Result<Page<Event>> {
        let Wanted { filter, after, .. } = wanted;
        let refusals = Outcome::REFUSALS.map(Action::as_str);
        let rows: Vec<Row> = sqlx::query_as(
            "WITH looked AS (
                 SELECT clinic_id, id, at, actor_kind, actor_id, session_id, action, object_kind, object_id,
                     patient_id, purpose, request_id, break_glass_id, denied_action, denied_reason,
                     CASE WHEN action = ANY ($13) THEN sealed END AS sealed
                 FROM audit
                 WHERE id < $1 AND id >= $2
                     AND ($3::uuid IS NULL OR actor_id = $3) AND ($4::uuid IS NULL OR patient_id = $4)
                 ORDER BY id DESC LIMIT $11
             ), matching AS (
                 SELECT * FROM looked
                 WHERE ($5::text IS NULL OR action = $5)
                     AND ($6::boolean IS NULL OR (action = ANY ($7)) = $6)
                     AND ($8::timestamptz IS NULL OR at >= $8) AND ($9::timestamptz IS NULL OR at < $9)
                     AND (NOT $10 OR actor_id IS DISTINCT FROM patient_id)
                 ORDER BY id DESC LIMIT $12
             )
             (SELECT *, true AS is_match FROM matching ORDER BY id DESC)
             UNION ALL
             (SELECT *, false FROM looked ORDER BY id
              LIMIT (SELECT (count(*) = $11)::integer FROM looked))",
        )
        .bind(self.audit_before(filter, *after))
        .bind(filter.from.map_or(Uuid::nil(), |from| id_at(from - ID_SLACK)))
        .bind(filter.actor.map(|id| id.as_uuid()))
        .bind(filter.patient.map(|id| id.as_uuid()))
        .bind(filter.action.map(Action::as_str))
        .bind(filter.outcome.map(|outcome| outcome == Outcome::Refused))
        .bind(refusals.to_vec())
        .bind(filter.from)
        .bind(filter.to)
        .bind(wanted.of_others)
        .bind(wanted.looked_through())
        .bind(wanted.rows as i64 + 1)
        .bind(Action::OF_ROLES.map(Action::as_str).to_vec())
        .fetch_all(self.db())
        .await?;
        let page = page_of(rows, wanted.rows);
        let sealed: Vec<_> = page
            .items
            .iter()
            .filter_map(|row| Some((row.id, row.sealed.as_deref()?)))
            .collect();
        let openers = self.audit_openers(&sealed).await?;
        page.try_map(|row| {
            let sealed = row
                .sealed
                .as_deref()
                .and_then(|bytes| openers.event(row.id, bytes));
            Ok(Event {
                roles: sealed.and_then(|event| event.roles),
                ..Event::from(row)
            })
        })
    }

    fn audit_before(&self, filter: &AuditFilter, after: Option<Uuid>) -> Uuid {
        let end = filter.to.map_or(Uuid::max(), |to| id_at(to + ID_SLACK));
        after.map_or(end, |after| after.min(end))
    }
}

/// At most `wanted` of the matching rows. The next page begins after the last entry given, or, where
/// there were too few among those looked through, after the last one looked at.
fn page_of(rows: Vec<Row>, wanted: usize) -> Page<Row> {
    let cursor = |row: &Row| Cursor {
        at: row.at,
        id: row.id,
    };
    let (mut matching, looked): (Vec<Row>, Vec<Row>) = rows.into_iter().partition(|row| row.is_match);
    let next_cursor = if matching.len() > wanted {
        matching.truncate(wanted);
        matching.last().map(cursor)
    } else {
        looked.first().map(cursor)
    };
    Page {
        items: matching,
        next_cursor,
    }
}

/// The first UUIDv7 of an instant.
pub(super) fn id_at(at: OffsetDateTime) -> Uuid {
    let millis = u64::try_from(at.unix_timestamp_nanos() / 1_000_000).unwrap_or_default();
    Uuid::from_u128(u128::from(millis & 0xffff_ffff_ffff) << 80)
}
