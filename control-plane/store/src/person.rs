//! People of a clinic and their roles.

use std::collections::HashMap;

use medmesh_base::{AccountId, PersonId, Phi};
use medmesh_clinic::audit::{Action, ObjectKind, RolesHeld};
use medmesh_clinic::authz::{self, View};
use medmesh_clinic::credential::LICENSED;
use medmesh_clinic::{NewPerson, Person, PersonRef, Role, Roles, Version};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::credential::licensed_from;
use crate::keys::{Column, Opener, Owner, Sealed};
use crate::relationship::Target;
use crate::session::PasswordHash;
use crate::{Cursor, Page, PageRequest, Result, StoreError, Tx};

#[derive(sqlx::FromRow)]
pub(crate) struct PersonRow {
    id: Uuid,
    display_name: Vec<u8>,
    email: Option<Vec<u8>>,
    seal_version: i64,
    roles: Vec<String>,
    locale: String,
    active: bool,
    version: i64,
}

impl PersonRow {
    fn sealed_email(&self) -> Option<Sealed<'_>> {
        let bytes = self.email.as_deref()?;
        let column = Column::PersonEmail;
        Some(Sealed {
            column,
            bytes,
            ..sealed_name(self.id, self.seal_version, &self.display_name)
        })
    }

    /// What is sealed in it, for fetching the keys.
    pub(crate) fn sealed(&self) -> impl Iterator<Item = Sealed<'_>> {
        let name = sealed_name(self.id, self.seal_version, &self.display_name);
        [Some(name), self.sealed_email()].into_iter().flatten()
    }

    pub(crate) fn into_person(self, opener: &Opener) -> Result<Person> {
        let name = sealed_name(self.id, self.seal_version, &self.display_name);
        let email = self.sealed_email();
        Ok(Person {
            id: PersonId::from_uuid(self.id),
            display_name: opener.text(&name)?,
            email: email.map(|email| opener.text(&email)).transpose()?,
            roles: roles_from(&self.roles)?,
            locale: self
                .locale
                .parse()
                .map_err(|_| StoreError::corrupt("person.locale"))?,
            active: self.active,
            version: Version(self.version),
        })
    }
}

/// A person's name where it was found.
pub(crate) fn sealed_name(person: Uuid, version: i64, bytes: &[u8]) -> Sealed<'_> {
    Sealed {
        column: Column::PersonDisplayName,
        row: person,
        version,
        patient: Some(PersonId::from_uuid(person)),
        bytes,
    }
}

pub(crate) fn roles_from(words: &[String]) -> Result<Roles> {
    words
        .iter()
        .map(|word| {
            word.parse::<Role>()
                .map_err(|_| StoreError::corrupt("person_role.role"))
        })
        .collect()
}

/// A person as someone to be booked or invited.
pub(crate) struct Bookable {
    pub(crate) person: PersonRef,
    /// In which they may act: without those whose licence is not verified.
    pub(crate) roles: Roles,
}

/// People by id, as short as others' rows need them.
pub(crate) struct PersonRefs(HashMap<Uuid, PersonRef>);

impl PersonRefs {
    /// One of those this was made for.
    pub(crate) fn of(&self, id: Uuid) -> Result<PersonRef> {
        self.0.get(&id).cloned().ok_or(StoreError::corrupt("person.id"))
    }
}

/// Somebody as a list of others' acts shows them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// How they are called; `None` when that was erased.
    pub display_name: Option<Phi<String>>,
    /// What they are to the clinic.
    pub roles: Roles,
}

impl Tx {
    /// The names of these people, in one query.
    pub(crate) async fn person_refs(&mut self, ids: impl IntoIterator<Item = Uuid>) -> Result<PersonRefs> {
        let mut ids: Vec<Uuid> = ids.into_iter().collect();
        ids.sort_unstable();
        ids.dedup();
        let rows: Vec<(Uuid, Vec<u8>, i64)> =
            sqlx::query_as("SELECT id, display_name, seal_version FROM person WHERE id = ANY ($1)")
                .bind(ids)
                .fetch_all(self.db())
                .await?;
        let opener = self
            .opener(rows.iter().map(|row| sealed_name(row.0, row.2, &row.1)))
            .await?;
        let people = rows.iter().map(|(id, name, version)| {
            let person = PersonRef {
                id: PersonId::from_uuid(*id),
                display_name: opener.text(&sealed_name(*id, *version, name))?,
            };
            Ok((*id, person))
        });
        Ok(PersonRefs(people.collect::<Result<_>>()?))
    }

    /// Adds a person with a login of their own.
    ///
    /// # Errors
    /// [`StoreError::EmailTaken`], [`StoreError::Denied`].
    pub async fn person_create(&mut self, new: &NewPerson, password: &PasswordHash) -> Result<Person> {
        self.authorise(authz::Action::PersonCreate, Target::Clinic)
            .await?;
        self.person_insert(new, password).await
    }

    /// Adds a person, whoever gave leave for it.
    pub(crate) async fn person_insert(&mut self, new: &NewPerson, password: &PasswordHash) -> Result<Person> {
        new.check()?;
        let (account, person) = (AccountId::generate(), PersonId::generate());
        let (clinic, at) = (self.clinic(), self.now());
        let index = self.account_scope(None).await?.email_index(new.email.expose());
        sqlx::query("SELECT account_create($1, $2, $3, $4)")
            .bind(account.as_uuid())
            .bind(index)
            .bind(password.expose())
            .bind(at)
            .execute(self.db())
            .await?;
        let owner = Owner::of(patient_of(person, new.roles));
        let patient_key = match owner {
            Owner::Patient(patient) => Some(self.patient_key_create(patient)?),
            Owner::Clinic | Owner::Account => None,
        };
        let (name, email) = (new.display_name.expose(), new.email.expose());
        let row = person.as_uuid();
        let name = self
            .seal(Column::PersonDisplayName, row, 1, owner, name.as_bytes())
            .await?;
        let email = self
            .seal(Column::PersonEmail, row, 1, owner, email.as_bytes())
            .await?;
        sqlx::query(
            "INSERT INTO person (clinic_id, id, account_id, display_name, email, locale, created_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(clinic)
        .bind(row)
        .bind(account.as_uuid())
        .bind(name)
        .bind(email)
        .bind(new.locale.as_str())
        .bind(at)
        .execute(self.db())
        .await?;
        if let Some(secret) = patient_key {
            self.patient_key_insert(person, 1, &secret).await?;
            self.search_index(person, new.display_name.expose(), new.email.expose())
                .await?;
        }
        sqlx::query(
            "INSERT INTO person_role (clinic_id, person_id, role, granted_at)
             SELECT $1, $2, role, $3 FROM unnest($4::text[]) AS role",
        )
        .bind(clinic)
        .bind(person.as_uuid())
        .bind(at)
        .bind(new.roles.iter().map(Role::as_str).collect::<Vec<_>>())
        .execute(self.db())
        .await?;
        let roles = RolesHeld::new(Roles::default(), new.roles);
        let patient = patient_of(person, new.roles);
        self.audit_roles(Action::PersonCreate, person, patient, roles)
            .await?;
        Ok(Person {
            id: person,
            display_name: Phi::new(new.display_name.expose().to_owned()),
            email: Some(Phi::new(new.email.expose().to_owned())),
            roles: new.roles,
            locale: new.locale,
            active: true,
            version: Version(1),
        })
    }

    /// People of the clinic, oldest first, those with `role` if one is named. Patients whose record rests
    /// are left out where they are out of reach: a page may hold fewer than were asked for then.
    /// Who sees [`View::Names`] only finds those who can meet in a visit, without addresses.
    ///
    /// # Errors
    /// [`StoreError::Denied`].
    pub async fn person_list(&mut self, role: Option<Role>, page: PageRequest) -> Result<Page<Person>> {
        let listing = self.authorise_listing(authz::Action::PersonList).await?;
        let (with_email, only) = match listing.grant.sees {
            View::Clinical | View::Administrative => (true, Vec::new()),
            View::Names => {
                let meeting = authz::roles_for(authz::Action::VisitCheckIn);
                (false, meeting.iter().map(Role::as_str).collect())
            }
        };
        let rows: Vec<PersonRow> = sqlx::query_as(
            "SELECT p.id, p.display_name, CASE WHEN $1 THEN p.email END AS email, p.seal_version,
                 r.roles, p.locale, p.active, p.version
             FROM person p
                 CROSS JOIN LATERAL (
                     SELECT coalesce(array_agg(role), '{}') AS roles FROM person_role r
                     WHERE r.clinic_id = p.clinic_id AND r.person_id = p.id) r
             WHERE (cardinality($2::text[]) = 0 OR r.roles && $2)
                 AND ($3::text IS NULL OR $3 = ANY (r.roles))
                 AND ($4::uuid IS NULL OR p.id > $4)
             ORDER BY p.id LIMIT $5",
        )
        .bind(with_email)
        .bind(only)
        .bind(role.map(Role::as_str))
        .bind(page.id())
        .bind(page.fetch())
        .fetch_all(self.db())
        .await?;
        let opener = self.opener(rows.iter().flat_map(PersonRow::sealed)).await?;
        let people = rows
            .into_iter()
            .map(|row| row.into_person(&opener))
            .collect::<Result<Vec<_>>>()?;
        let mut people = Page::of(people, page, |person| Cursor {
            at: OffsetDateTime::UNIX_EPOCH,
            id: person.id.as_uuid(),
        });
        let ids: Vec<Uuid> = people.items.iter().map(|person| person.id.as_uuid()).collect();
        let resting = self.resting_among(&ids).await?;
        people
            .items
            .retain(|person| !resting.contains(&person.id.as_uuid()));
        let leaves: Vec<_> = people
            .items
            .iter()
            .map(|person| (person.id.into(), patient_of(person.id, person.roles), None))
            .collect();
        self.audit_each_or_none(Action::PersonRead, ObjectKind::Person, &leaves)
            .await?;
        Ok(people)
    }

    /// How these people are called. Those the clinic does not know are left out.
    pub(crate) async fn people_named(&mut self, ids: &[Uuid]) -> Result<HashMap<PersonId, Named>> {
        let rows: Vec<(Uuid, Vec<u8>, i64, Vec<String>)> = sqlx::query_as(
            "SELECT p.id, p.display_name, p.seal_version,
                 (SELECT coalesce(array_agg(role), '{}') FROM person_role r
                  WHERE r.clinic_id = p.clinic_id AND r.person_id = p.id)
             FROM person p WHERE p.id = ANY ($1)",
        )
        .bind(ids)
        .fetch_all(self.db())
        .await?;
        let names = rows
            .iter()
            .map(|(id, name, version, _)| sealed_name(*id, *version, name));
        let opener = self.opener(names).await?;
        rows.iter()
            .map(|(id, name, version, roles)| {
                let named = Named {
                    // An erased person's key is gone; what they did is still on record.
                    display_name: opener.text(&sealed_name(*id, *version, name)).ok(),
                    roles: roles_from(roles)?,
                };
                Ok((PersonId::from_uuid(*id), named))
            })
            .collect()
    }

    /// An active person of this clinic, for booking and inviting; who stays one until the transaction
    /// ends: erasing waits for it, or it for the erasing.
    pub(crate) async fn bookable(&mut self, id: PersonId) -> Result<Option<Bookable>> {
        /// Sealed name and its version, roles, credentials held.
        type Row = (Vec<u8>, i64, Vec<String>, Vec<String>);

        let now = self.now();
        let row: Option<Row> = sqlx::query_as(
            "SELECT p.display_name, p.seal_version,
                 (SELECT coalesce(array_agg(role), '{}') FROM person_role r
                  WHERE r.clinic_id = p.clinic_id AND r.person_id = p.id),
                 credentials_held(p.id, $2)
             FROM person p WHERE p.id = $1 AND p.active FOR KEY SHARE OF p",
        )
        .bind(id.as_uuid())
        .bind(now)
        .fetch_optional(self.db())
        .await?;
        let Some((display_name, version, roles, credentials)) = row else {
            return Ok(None);
        };
        let name = sealed_name(id.as_uuid(), version, &display_name);
        let display_name = self.opener([name]).await?.text(&name)?;
        let person = PersonRef { id, display_name };
        Ok(Some(Bookable {
            person,
            roles: roles_from(&roles)?.without(LICENSED.without(licensed_from(&credentials)?)),
        }))
    }
}

/// Whose record a person's own data is: theirs, if they are a patient.
pub(crate) const fn patient_of(person: PersonId, roles: Roles) -> Option<PersonId> {
    if roles.contains(Role::Patient) {
        Some(person)
    } else {
        None
    }
}
