//! Whom a clinic tells about broken glass.

use medmesh_base::PersonId;
use medmesh_clinic::audit::Action;
use medmesh_clinic::authz;
use medmesh_clinic::{PersonRef, Refusal, Role, Roles, Version};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::error::matching;
use crate::relationship::Target;
use crate::{Result, Tx};

/// Who looks after privacy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrivacyOfficer {
    /// Nobody, until somebody is named.
    pub person: Option<PersonRef>,
    /// Since when.
    pub named_at: Option<OffsetDateTime>,
    /// 0 until somebody is named; grows by one with every naming.
    pub version: Version,
}

impl Tx {
    /// Who the privacy officer is.
    ///
    /// # Errors
    /// [`crate::StoreError::Denied`].
    pub async fn privacy_officer_get(&mut self) -> Result<PrivacyOfficer> {
        self.authorise(authz::Action::PrivacyOfficerGet, Target::Clinic)
            .await?;
        let row: Option<(Uuid, OffsetDateTime, i64)> =
            sqlx::query_as("SELECT person_id, named_at, version FROM privacy_officer")
                .fetch_optional(self.db())
                .await?;
        let Some((person, named_at, version)) = row else {
            return Ok(PrivacyOfficer {
                person: None,
                named_at: None,
                version: Version(0),
            });
        };
        let people = self.person_refs([person]).await?;
        Ok(PrivacyOfficer {
            person: Some(people.of(person)?),
            named_at: Some(named_at),
            version: Version(version),
        })
    }

    /// Names the privacy officer, in place of whoever was.
    ///
    /// # Errors
    /// [`crate::StoreError::Denied`], [`crate::StoreError::VersionMismatch`]; [`Refusal::OfficerUnsuitable`]
    /// for whoever does not work here.
    pub async fn privacy_officer_set(
        &mut self,
        person: PersonId,
        if_match: Version,
    ) -> Result<PrivacyOfficer> {
        self.authorise(authz::Action::PrivacyOfficerSet, Target::Clinic)
            .await?;
        let (clinic, now, by) = (self.clinic(), self.now(), self.person()?);
        // The first naming finds no row to lock.
        sqlx::query(
            "SELECT pg_advisory_xact_lock(hashtextextended(concat_ws('/', 'privacy_officer', $1::uuid), 0))",
        )
        .bind(clinic)
        .execute(self.db())
        .await?;
        let current: Option<i64> = sqlx::query_scalar("SELECT version FROM privacy_officer FOR UPDATE")
            .fetch_optional(self.db())
            .await?;
        matching(if_match, current.unwrap_or(0))?;
        let found = self.bookable(person).await?.ok_or(Refusal::OfficerUnsuitable)?;
        let works_here = Role::ALL.iter().filter(|role| **role != Role::Patient);
        if !found.roles.intersects(works_here.copied().collect::<Roles>()) {
            return Err(Refusal::OfficerUnsuitable.into());
        }
        let version: i64 = sqlx::query_scalar(
            "INSERT INTO privacy_officer (clinic_id, person_id, named_at, named_by) VALUES ($1, $2, $3, $4)
             ON CONFLICT (clinic_id) DO UPDATE SET person_id = excluded.person_id,
                 named_at = excluded.named_at, named_by = excluded.named_by,
                 version = privacy_officer.version + 1
             RETURNING version",
        )
        .bind(clinic)
        .bind(person.as_uuid())
        .bind(now)
        .bind(by.as_uuid())
        .fetch_one(self.db())
        .await?;
        self.audit(Action::PrivacyOfficerSet, person, None).await?;
        Ok(PrivacyOfficer {
            person: Some(found.person),
            named_at: Some(now),
            version: Version(version),
        })
    }

    /// Whom to tell when glass is broken: the privacy officer, or the admins while nobody is named.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn privacy_watchers(&mut self) -> Result<Vec<PersonId>> {
        let people: Vec<Uuid> = sqlx::query_scalar(
            "SELECT o.person_id FROM privacy_officer o JOIN person p ON p.id = o.person_id AND p.active
             UNION ALL
             SELECT r.person_id FROM person_role r JOIN person p ON p.id = r.person_id AND p.active
             WHERE r.role = 'admin' AND NOT EXISTS (
                 SELECT FROM privacy_officer o JOIN person q ON q.id = o.person_id AND q.active)
             LIMIT $1",
        )
        .bind(WATCHERS_MAX)
        .fetch_all(self.db())
        .await?;
        Ok(people.into_iter().map(PersonId::from_uuid).collect())
    }
}

impl Tx {
    /// Who administers the clinic and could be written to.
    pub(crate) async fn active_admins(&mut self) -> Result<Vec<PersonId>> {
        let people: Vec<Uuid> = sqlx::query_scalar(
            "SELECT r.person_id FROM person_role r JOIN person p ON p.id = r.person_id AND p.active
             WHERE r.role = 'admin' LIMIT $1",
        )
        .bind(WATCHERS_MAX)
        .fetch_all(self.db())
        .await?;
        Ok(people.into_iter().map(PersonId::from_uuid).collect())
    }
}

/// Most people told at once: a clinic has few admins.
const WATCHERS_MAX: i64 = 20;
