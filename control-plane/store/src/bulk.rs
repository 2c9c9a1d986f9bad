//! Many patients at once: a clinic that moves in from another system.
//!
//! The rows are those of [`Tx::person_create`], sealed the same way under keys of their
//! own, in one statement per table instead of six per person.

use medmesh_base::{AccountId, ClinicId, PersonId, RequestId};
use medmesh_clinic::audit::{Action, ObjectKind};
use medmesh_clinic::{Actor, Invalid, NewPerson, Role, SystemActor};
use uuid::Uuid;

use crate::keys::{Column, Owner};
use crate::session::PasswordHash;
use crate::{Result, Store, StoreError, Tx};

/// Most patients of one call: some seconds of work, and some megabytes of parameters.
pub const BULK_MAX: usize = 5_000;

/// The columns of a batch.
#[derive(Default)]
struct Columns {
    accounts: Vec<Uuid>,
    indexes: Vec<Vec<u8>>,
    people: Vec<Uuid>,
    names: Vec<Vec<u8>>,
    emails: Vec<Vec<u8>>,
    locales: Vec<&'static str>,
    keys: Vec<Vec<u8>>,
    key_version: i32,
    /// Arrays as text: PostgreSQL has no arrays of arrays of different lengths.
    tokens: Vec<String>,
}

impl Store {
    /// Adds patients, at most [`BULK_MAX`], who sign in after a reset of their password. All or none.
    /// Says who they are, in their order.
    ///
    /// # Errors
    /// [`StoreError::EmailTaken`]; [`Invalid::Roles`] for somebody who is not only a patient, and
    /// for too many at once.
    pub async fn patients_import(
        &self,
        clinic: ClinicId,
        people: &[NewPerson],
        password: &PasswordHash,
    ) -> Result<Vec<PersonId>> {
        let is_patient = |new: &NewPerson| new.roles.iter().eq([Role::Patient]);
        if people.len() > BULK_MAX || !people.iter().all(is_patient) {
            return Err(StoreError::Invalid(Invalid::Roles));
        }
        let mut tx = self
            .begin(clinic, Actor::System(SystemActor::Seed), RequestId::generate())
            .await?;
        let columns = tx.bulk_seal(people).await?;
        tx.bulk_insert(&columns, password).await?;
        let ids: Vec<PersonId> = columns.people.iter().copied().map(PersonId::from_uuid).collect();
        let leaves: Vec<_> = ids.iter().map(|id| ((*id).into(), Some(*id), None)).collect();
        tx.audit_each_or_none(Action::PersonCreate, ObjectKind::Person, &leaves)
            .await?;
        tx.commit().await?;
        Ok(ids)
    }
}

impl Tx {
    async fn bulk_seal(&mut self, people: &[NewPerson]) -> Result<Columns> {
        let accounts = self.account_scope(None).await?;
        let mut columns = Columns::default();
        for new in people {
            let person = PersonId::generate();
            let (row, owner) = (person.as_uuid(), Owner::Patient(person));
            let secret = self.patient_key_create(person)?;
            let (name, email) = (new.display_name.expose(), new.email.expose());
            let sealed = self.seal(Column::PersonDisplayName, row, 1, owner, name.as_bytes());
            columns.names.push(sealed.await?);
            let sealed = self.seal(Column::PersonEmail, row, 1, owner, email.as_bytes());
            columns.emails.push(sealed.await?);
            let (version, wrapped) = self.patient_key_wrap(person, 1, &secret)?;
            columns.key_version = version;
            columns.keys.push(wrapped);
            let tokens = self.search_tokens(name, email)?;
            let tokens: Vec<String> = tokens.iter().map(ToString::to_string).collect();
            columns.tokens.push(format!("{{{}}}", tokens.join(",")));
            columns.accounts.push(AccountId::generate().as_uuid());
            columns.indexes.push(accounts.email_index(email));
            columns.people.push(row);
            columns.locales.push(new.locale.as_str());
        }
        Ok(columns)
    }

    async fn bulk_insert(&mut self, columns: &Columns, password: &PasswordHash) -> Result<()> {
        let (clinic, at) = (self.clinic(), self.now());
        let (index_version, _) = self.clinic_scope()?.search();
        sqlx::query("SELECT account_create(a, i, $3, $4) FROM unnest($1::uuid[], $2::bytea[]) AS n (a, i)")
            .bind(&columns.accounts)
            .bind(&columns.indexes)
            .bind(password.expose())
            .bind(at)
            .execute(self.db())
            .await?;
        sqlx::query(
            "INSERT INTO person (clinic_id, id, account_id, display_name, email, locale, created_at)
             SELECT $1, n.id, n.account, n.name, n.email, n.locale, $2
             FROM unnest($3::uuid[], $4::uuid[], $5::bytea[], $6::bytea[], $7::text[])
                 AS n (id, account, name, email, locale)",
        )
        .bind(clinic)
        .bind(at)
        .bind(&columns.people)
        .bind(&columns.accounts)
        .bind(&columns.names)
        .bind(&columns.emails)
        .bind(&columns.locales)
        .execute(self.db())
        .await?;
        sqlx::query(
            "WITH key AS (
                 INSERT INTO patient_key (clinic_id, patient_id, version, clinic_key_version, wrapped, created_at)
                 SELECT $1, n.id, 1, $3, n.wrapped, $2 FROM unnest($4::uuid[], $5::bytea[]) AS n (id, wrapped)),
             search AS (
                 INSERT INTO patient_search (clinic_id, patient_id, tokens, index_version)
                 SELECT $1, n.id, n.tokens::bigint[], $7 FROM unnest($4::uuid[], $6::text[]) AS n (id, tokens))
             INSERT INTO person_role (clinic_id, person_id, role, granted_at)
             SELECT $1, id, 'patient', $2 FROM unnest($4::uuid[]) AS id",
        )
        .bind(clinic)
        .bind(at)
        .bind(columns.key_version)
        .bind(&columns.people)
        .bind(&columns.keys)
        .bind(&columns.tokens)
        .bind(index_version.cast_signed())
        .execute(self.db())
        .await?;
        Ok(())
    }
}
