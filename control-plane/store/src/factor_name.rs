//! What people call their second factors: sealed, for people write what they like.

use medmesh_base::{PersonId, Phi};
use medmesh_clinic::Version;
use medmesh_clinic::audit::{Action, Object, ObjectKind};
use medmesh_clinic::identity::FactorName;
use uuid::Uuid;

use crate::error::matching;
use crate::factor::TotpEntry;
use crate::keys::{Column, Opener, Owner, Sealed};
use crate::person::patient_of;
use crate::{PasskeyEntry, Result, StoreError, Tx};

/// A name beside a factor's row, as a `LEFT JOIN` finds it.
#[derive(Clone, Debug, Default, sqlx::FromRow)]
pub(crate) struct NameRow {
    name: Option<Vec<u8>>,
    name_seal_version: Option<i64>,
    name_version: Option<i64>,
}

/// The columns of [`NameRow`] of a factor `k`, and the join that finds them.
macro_rules! name_columns {
    () => {
        "n.name, n.seal_version AS name_seal_version, n.version AS name_version "
    };
}
macro_rules! name_join {
    () => {
        " LEFT JOIN factor_name n ON n.clinic_id = k.clinic_id AND n.id = k.id "
    };
}
pub(crate) use {name_columns, name_join};

impl NameRow {
    pub(crate) fn sealed(&self, factor: Uuid, person: PersonId) -> Option<Sealed<'_>> {
        Some(Sealed {
            column: Column::FactorName,
            row: factor,
            version: self.name_seal_version?,
            patient: Some(person),
            bytes: self.name.as_deref()?,
        })
    }

    /// The name, if there is one, and its version: 0 before the first.
    pub(crate) fn read(
        &self,
        factor: Uuid,
        person: PersonId,
        opener: &Opener,
    ) -> Result<(Option<Phi<String>>, Version)> {
        let sealed = self.sealed(factor, person);
        let name = sealed.map(|sealed| opener.text(&sealed)).transpose()?;
        Ok((name, Version(self.name_version.unwrap_or(0))))
    }
}

impl Tx {
    /// Names one of the caller's passkeys.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::VersionMismatch`].
    pub async fn passkey_rename(
        &mut self,
        id: Uuid,
        if_match: Version,
        name: &FactorName,
    ) -> Result<PasskeyEntry> {
        let person = self.own_person()?;
        sqlx::query("SELECT FROM passkey WHERE person_id = $1 AND id = $2 FOR UPDATE")
            .bind(person.as_uuid())
            .bind(id)
            .fetch_optional(self.db())
            .await?
            .ok_or(StoreError::NotFound)?;
        self.factor_rename(id, if_match, name).await?;
        let all = self.passkey_list().await?;
        all.into_iter()
            .find(|one| one.id == id)
            .ok_or(StoreError::NotFound)
    }

    /// Names the caller's authenticator app.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when there is none; [`StoreError::VersionMismatch`].
    pub async fn totp_rename(&mut self, if_match: Version, name: &FactorName) -> Result<TotpEntry> {
        let person = self.own_person()?;
        let id: Uuid = sqlx::query_scalar(
            "SELECT id FROM totp_factor WHERE person_id = $1 AND confirmed_at IS NOT NULL FOR UPDATE",
        )
        .bind(person.as_uuid())
        .fetch_optional(self.db())
        .await?
        .ok_or(StoreError::NotFound)?;
        self.factor_rename(id, if_match, name).await?;
        self.factors().await?.totp.ok_or(StoreError::NotFound)
    }

    /// The factor's row is locked: two namings at once queue there.
    async fn factor_rename(&mut self, id: Uuid, if_match: Version, name: &FactorName) -> Result<()> {
        let caller = *self.actor().caller().ok_or(StoreError::NotFound)?;
        let (clinic, person) = (self.clinic(), caller.person_id);
        let known: Option<(i64, i64)> =
            sqlx::query_as("SELECT version, seal_version FROM factor_name WHERE id = $1 FOR UPDATE")
                .bind(id)
                .fetch_optional(self.db())
                .await?;
        let (version, seal_version) = known.unwrap_or((0, 0));
        matching(if_match, version)?;
        let owner = Owner::of(patient_of(person, caller.roles));
        let text = name.expose().as_bytes();
        let sealed = self
            .seal(Column::FactorName, id, seal_version + 1, owner, text)
            .await?;
        sqlx::query(
            "INSERT INTO factor_name (clinic_id, id, person_id, name, seal_version, version)
             VALUES ($1, $2, $3, $4, $5, $6)
             ON CONFLICT (clinic_id, id) DO UPDATE SET name = excluded.name,
                 seal_version = excluded.seal_version, version = excluded.version",
        )
        .bind(clinic)
        .bind(id)
        .bind(person.as_uuid())
        .bind(sealed)
        .bind(seal_version + 1)
        .bind(version + 1)
        .execute(self.db())
        .await?;
        self.audit(Action::FactorRename, Object::of(ObjectKind::Factor, id), None)
            .await
    }

    /// With the factor goes its name.
    pub(crate) async fn factor_name_forget(&mut self, id: Uuid) -> Result<()> {
        sqlx::query("DELETE FROM factor_name WHERE id = $1")
            .bind(id)
            .execute(self.db())
            .await?;
        Ok(())
    }
}
