//! Who is on a patient's care team.

use medmesh_base::{CareTeamMemberId, PersonId};
use medmesh_clinic::audit::Action;
use medmesh_clinic::authz;
use medmesh_clinic::{CareTeamMember, Refusal, Role, Version, carer};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::error::matching;
use crate::person::PersonRefs;
use crate::relationship::Target;
use crate::{Cursor, Page, PageRequest, Result, StoreError, Tx};

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    patient_id: Uuid,
    person_id: Uuid,
    role: String,
    from_at: OffsetDateTime,
    until_at: Option<OffsetDateTime>,
    version: i64,
}

fn member_from(row: &Row, people: &PersonRefs) -> Result<CareTeamMember> {
    Ok(CareTeamMember {
        id: CareTeamMemberId::from_uuid(row.id),
        patient_id: PersonId::from_uuid(row.patient_id),
        person: people.of(row.person_id)?,
        role: row
            .role
            .parse()
            .map_err(|_| StoreError::corrupt("care_team.role"))?,
        from_at: row.from_at,
        until_at: row.until_at,
        version: Version(row.version),
    })
}

impl Tx {
    /// Who cares for a patient, the latest first; also those who no longer do, if `past`.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Denied`].
    pub async fn care_team_list(
        &mut self,
        patient: PersonId,
        past: bool,
        page: PageRequest,
    ) -> Result<Page<CareTeamMember>> {
        self.authorise(authz::Action::CareTeamList, Target::Patient(patient))
            .await?;
        let now = self.now();
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT id, patient_id, person_id, role, from_at, until_at, version FROM care_team
             WHERE patient_id = $1 AND ($2 OR until_at IS NULL OR until_at > $3)
                 AND ($4::uuid IS NULL OR id < $4)
             ORDER BY id DESC LIMIT $5",
        )
        .bind(patient.as_uuid())
        .bind(past)
        .bind(now)
        .bind(page.id())
        .bind(page.fetch())
        .fetch_all(self.db())
        .await?;
        let page = Page::of(rows, page, |row| Cursor::by_id(row.id));
        let people = self
            .person_refs(page.items.iter().map(|row| row.person_id))
            .await?;
        self.audit(Action::CareTeamRead, patient, Some(patient)).await?;
        page.try_map(|row| member_from(&row, &people))
    }

    /// Puts somebody on a patient's care team, from now on.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Denied`]; [`Refusal::CarerUnsuitable`],
    /// [`Refusal::AlreadyOnTeam`], [`Refusal::NotThemselves`], [`Refusal::PeriodUnsuitable`].
    pub async fn care_team_add(
        &mut self,
        patient: PersonId,
        person: PersonId,
        role: Role,
        until_at: Option<OffsetDateTime>,
    ) -> Result<CareTeamMember> {
        self.authorise(authz::Action::CareTeamAdd, Target::Patient(patient))
            .await?;
        if person == patient {
            return Err(Refusal::NotThemselves.into());
        }
        let (clinic, now, by) = (self.clinic(), self.now(), self.person()?);
        if until_at.is_some_and(|until| until <= now) {
            return Err(Refusal::PeriodUnsuitable.into());
        }
        let found = self.bookable(person).await?.ok_or(Refusal::CarerUnsuitable)?;
        carer(found.roles, role)?;
        let id = CareTeamMemberId::generate();
        sqlx::query(
            "INSERT INTO care_team (clinic_id, id, patient_id, person_id, role, from_at, until_at, added_by)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(clinic)
        .bind(id.as_uuid())
        .bind(patient.as_uuid())
        .bind(person.as_uuid())
        .bind(role.as_str())
        .bind(now)
        .bind(until_at)
        .bind(by.as_uuid())
        .execute(self.db())
        .await?;
        self.audit(Action::CareTeamAdd, id, Some(patient)).await?;
        Ok(CareTeamMember {
            id,
            patient_id: patient,
            person: found.person,
            role,
            from_at: now,
            until_at,
            version: Version(1),
        })
    }

    /// Takes somebody off a care team, now.
    ///
    /// # Errors
    /// [`StoreError::VersionMismatch`], [`StoreError::NotFound`], [`StoreError::Denied`];
    /// [`Refusal::AlreadyEnded`].
    pub async fn care_team_end(&mut self, id: CareTeamMemberId, if_match: Version) -> Result<CareTeamMember> {
        self.authorise(authz::Action::CareTeamEnd, Target::CareTeamMember(id))
            .await?;
        let row: Row = sqlx::query_as(
            "SELECT id, patient_id, person_id, role, from_at, until_at, version FROM care_team
             WHERE id = $1 FOR UPDATE",
        )
        .bind(id.as_uuid())
        .fetch_optional(self.db())
        .await?
        .ok_or(StoreError::NotFound)?;
        let (now, by) = (self.now(), self.person()?);
        matching(if_match, row.version)?;
        if row.until_at.is_some_and(|until| until <= now) {
            return Err(Refusal::AlreadyEnded.into());
        }
        let people = self.person_refs([row.person_id]).await?;
        // Never before it began, whatever the clocks of two nodes say.
        let until = now.max(row.from_at);
        sqlx::query("UPDATE care_team SET until_at = $2, ended_by = $3, version = version + 1 WHERE id = $1")
            .bind(id.as_uuid())
            .bind(until)
            .bind(by.as_uuid())
            .execute(self.db())
            .await?;
        let patient = PersonId::from_uuid(row.patient_id);
        self.audit(Action::CareTeamEnd, id, Some(patient)).await?;
        let row = Row {
            until_at: Some(until),
            version: row.version + 1,
            ..row
        };
        member_from(&row, &people)
    }
}
