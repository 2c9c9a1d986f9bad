//! Changing what somebody is to a clinic, and all that hangs on it: sessions, links, the patient's
//! key, the mail that tells them.

use medmesh_base::{PersonId, SessionId};
use medmesh_clinic::audit::{Action, RolesHeld};
use medmesh_clinic::authz;
use medmesh_clinic::identity::{Member, MemberChange, MemberContext, MemberNews};
use medmesh_clinic::{Invalid, Person, Role, Roles, Version};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::matching;
use crate::keys::{Column, Owner};
use crate::person::{PersonRow, patient_of, roles_from};
use crate::relationship::Target;
use crate::{JobKind, JobOptions, Result, StoreError, Tx};

/// The job that tells somebody that what they are to the clinic has changed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MemberTell {
    /// Whom.
    pub person_id: PersonId,
    /// What.
    pub news: MemberNews,
}

impl JobKind for MemberTell {
    const KIND: &'static str = "member_tell";
}

/// Which other admins a clinic can count on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admins {
    /// Those who could sign in today.
    WhoCouldSignIn,
    /// Those of them who did not ask to be erased themselves.
    WhoStay,
}

impl Tx {
    /// Gives and takes roles, ends a membership or takes it up again. Whoever has something taken
    /// away is signed out everywhere; of a membership that ends no link is good any more.
    ///
    /// # Errors
    /// [`StoreError::Denied`], [`StoreError::NotFound`], [`StoreError::VersionMismatch`];
    /// [`Invalid::Roles`] without any role; the refusals of [`Member::changed`].
    pub async fn person_update(
        &mut self,
        id: PersonId,
        if_match: Version,
        change: MemberChange,
    ) -> Result<Person> {
        self.authorise(authz::Action::PersonUpdate, Target::Clinic)
            .await?;
        let by = self.own_person()?;
        if change.roles.is_some_and(Roles::is_empty) {
            return Err(Invalid::Roles.into());
        }
        self.membership_lock().await?;
        // Waits for sign-ins and namings under way, which refer to this row.
        sqlx::query("SELECT FROM person WHERE id = $1 FOR UPDATE")
            .bind(id.as_uuid())
            .fetch_optional(self.db())
            .await?
            .ok_or(StoreError::NotFound)?;
        let was = self.person_get(id).await?;
        matching(if_match, was.version.0)?;
        let context = self.member_context(id, Admins::WhoCouldSignIn).await?;
        let before = Member {
            id,
            roles: was.roles,
            active: was.active,
        };
        let after = before.changed(by, change, context)?;
        let Some(news) = after.news(before) else {
            self.audit(Action::PersonRead, id, patient_of(id, was.roles))
                .await?;
            return Ok(was);
        };
        self.member_save(&was, before, after).await?;
        self.job_add(&MemberTell { person_id: id, news }, JobOptions::default())
            .await?;
        self.person_get(id).await
    }

    async fn member_save(&mut self, was: &Person, before: Member, after: Member) -> Result<()> {
        let id = before.id;
        let patient = patient_of(id, after.roles);
        if before.roles != after.roles {
            self.roles_write(id, before.roles, after.roles).await?;
            if after.roles.without(before.roles).contains(Role::Patient) {
                self.becomes_patient(was).await?;
            }
            let held = RolesHeld::new(before.roles, after.roles);
            self.audit_roles(Action::PersonRolesChange, id, patient, held)
                .await?;
        }
        if before.active != after.active {
            let action = if after.active {
                Action::PersonReactivate
            } else {
                Action::PersonDeactivate
            };
            let held = RolesHeld::new(after.roles, after.roles);
            self.audit_roles(action, id, patient, held).await?;
        }
        if !after.active {
            sqlx::query("DELETE FROM account_link WHERE person_id = $1 AND used_at IS NULL")
                .bind(id.as_uuid())
                .execute(self.db())
                .await?;
        }
        if after.ends_sessions(before) {
            self.sessions_end_of(id, patient).await?;
        }
        sqlx::query("UPDATE person SET active = $2, version = version + 1 WHERE id = $1")
            .bind(id.as_uuid())
            .bind(after.active)
            .execute(self.db())
            .await?;
        Ok(())
    }

    async fn roles_write(&mut self, id: PersonId, before: Roles, after: Roles) -> Result<()> {
        let (clinic, now) = (self.clinic(), self.now());
        let words = |roles: Roles| roles.iter().map(Role::as_str).collect::<Vec<_>>();
        sqlx::query("DELETE FROM person_role WHERE person_id = $1 AND role = ANY ($2)")
            .bind(id.as_uuid())
            .bind(words(before.without(after)))
            .execute(self.db())
            .await?;
        sqlx::query(
            "INSERT INTO person_role (clinic_id, person_id, role, granted_at)
             SELECT $1, $2, role, $3 FROM unnest($4::text[]) AS role",
        )
        .bind(clinic)
        .bind(id.as_uuid())
        .bind(now)
        .bind(words(after.without(before)))
        .execute(self.db())
        .await?;
        Ok(())
    }

    /// Gives a member of the staff a record of their own: from now on their name is a patient's.
    async fn becomes_patient(&mut self, was: &Person) -> Result<()> {
        let (id, row) = (was.id, was.id.as_uuid());
        let secret = self.patient_key_create(id)?;
        let (name, email) = (was.display_name.expose(), was.email.as_ref());
        let email = email.ok_or(StoreError::corrupt("person.email"))?.expose();
        let version: i64 = sqlx::query_scalar("SELECT seal_version + 1 FROM person WHERE id = $1")
            .bind(row)
            .fetch_one(self.db())
            .await?;
        let owner = Owner::Patient(id);
        let sealed_name = self
            .seal(Column::PersonDisplayName, row, version, owner, name.as_bytes())
            .await?;
        let sealed_email = self
            .seal(Column::PersonEmail, row, version, owner, email.as_bytes())
            .await?;
        sqlx::query("UPDATE person SET display_name = $2, email = $3, seal_version = $4 WHERE id = $1")
            .bind(row)
            .bind(sealed_name)
            .bind(sealed_email)
            .bind(version)
            .execute(self.db())
            .await?;
        self.patient_key_insert(id, 1, &secret).await?;
        self.search_index(id, name, email).await
    }

    async fn sessions_end_of(&mut self, person: PersonId, patient: Option<PersonId>) -> Result<()> {
        let now = self.now();
        let ended: Vec<Uuid> = sqlx::query_scalar(
            "UPDATE session SET revoked_at = $2
             WHERE person_id = $1 AND revoked_at IS NULL AND expires_at > $2 RETURNING id",
        )
        .bind(person.as_uuid())
        .bind(now)
        .fetch_all(self.db())
        .await?;
        for session in ended {
            self.audit(Action::SessionRevoke, SessionId::from_uuid(session), patient)
                .await?;
        }
        Ok(())
    }

    /// Changes of who is what to the clinic queue here, erasures among them: two admins could take leave
    /// of each other at once otherwise. Before any person's row is locked.
    pub(crate) async fn membership_lock(&mut self) -> Result<()> {
        let clinic = self.clinic();
        sqlx::query(
            "SELECT pg_advisory_xact_lock(hashtextextended(concat_ws('/', 'membership', $1::uuid), 0))",
        )
        .bind(clinic)
        .execute(self.db())
        .await?;
        Ok(())
    }

    /// Whether the clinic can do without somebody altogether: they are to be erased. Nobody changes that
    /// under [`Tx::membership_lock`].
    ///
    /// # Errors
    /// The refusals of [`Member::erased`].
    pub(crate) async fn member_erasable(&mut self, id: PersonId, others: Admins) -> Result<()> {
        let found: Option<(bool, Vec<String>)> = sqlx::query_as(
            "SELECT p.active, (SELECT coalesce(array_agg(role), '{}') FROM person_role r
                 WHERE r.clinic_id = p.clinic_id AND r.person_id = p.id)
             FROM person p WHERE p.id = $1",
        )
        .bind(id.as_uuid())
        .fetch_optional(self.db())
        .await?;
        let (active, roles) = found.ok_or(StoreError::NotFound)?;
        let member = Member {
            id,
            roles: roles_from(&roles)?,
            active,
        };
        let context = self.member_context(id, others).await?;
        Ok(member.erased(context)?)
    }

    async fn member_context(&mut self, id: PersonId, others: Admins) -> Result<MemberContext> {
        // An admin who has not set up what staff must have could not act today.
        let (other_admins, is_privacy_officer, is_erased): (bool, bool, bool) = sqlx::query_as(
            "SELECT EXISTS (SELECT FROM person_role r
                     JOIN person p ON p.clinic_id = r.clinic_id AND p.id = r.person_id
                 WHERE r.role = 'admin' AND p.active AND p.id <> $1
                     AND NOT ($2 AND EXISTS (SELECT FROM record_rights w
                         WHERE w.patient_id = p.id AND w.erasure_requested_at IS NOT NULL))
                     AND (EXISTS (SELECT FROM passkey f WHERE f.person_id = p.id)
                         OR EXISTS (SELECT FROM oidc_identity f WHERE f.person_id = p.id)
                         OR EXISTS (SELECT FROM totp_factor f
                             WHERE f.person_id = p.id AND f.confirmed_at IS NOT NULL))),
                 EXISTS (SELECT FROM privacy_officer o WHERE o.person_id = $1),
                 EXISTS (SELECT FROM person p WHERE p.id = $1 AND p.erased_at IS NOT NULL)",
        )
        .bind(id.as_uuid())
        .bind(others == Admins::WhoStay)
        .fetch_one(self.db())
        .await?;
        Ok(MemberContext {
            other_admins,
            is_privacy_officer,
            is_erased,
        })
    }

    /// Somebody of the clinic, with their address.
    async fn person_get(&mut self, id: PersonId) -> Result<Person> {
        let row: PersonRow = sqlx::query_as(
            "SELECT p.id, p.display_name, p.email, p.seal_version, p.locale, p.active, p.version,
                 (SELECT coalesce(array_agg(role), '{}') FROM person_role r
                  WHERE r.clinic_id = p.clinic_id AND r.person_id = p.id) AS roles
             FROM person p WHERE p.id = $1",
        )
        .bind(id.as_uuid())
        .fetch_optional(self.db())
        .await?
        .ok_or(StoreError::NotFound)?;
        let opener = self.opener(row.sealed()).await?;
        row.into_person(&opener)
    }
}
