//! Passkeys of a person.

use medmesh_base::{AccountId, ClinicId, PersonId, Phi};
use medmesh_clinic::audit::{Action, Object, ObjectKind};
use medmesh_clinic::identity::passkey::{Asserted, Credential};
use medmesh_clinic::{Refusal, Version};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::factor_name::{NameRow, name_columns, name_join};
use crate::{Membership, Result, Store, StoreError, Tx};

/// Passkeys of one person: a phone, a laptop, a key in the drawer, and each of them renewed.
pub const PASSKEYS_MAX: usize = 10;

/// A passkey, as its owner recognises it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PasskeyEntry {
    /// Which.
    pub id: Uuid,
    /// What its owner calls it, if they said.
    pub name: Option<Phi<String>>,
    /// Grows with every naming; 0 before the first.
    pub version: Version,
    /// The device it was made on.
    pub device_label: String,
    /// Whether it exists on several devices.
    pub backed_up: bool,
    /// When it was made.
    pub created_at: OffsetDateTime,
    /// When it last signed in.
    pub used_at: Option<OffsetDateTime>,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    device_label: String,
    backed_up: bool,
    created_at: OffsetDateTime,
    used_at: Option<OffsetDateTime>,
    #[sqlx(flatten)]
    name: NameRow,
}

impl Store {
    /// Whose passkey it is; `None` when nobody active has it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn passkey_lookup(&self, credential_id: &[u8]) -> Result<Option<Membership>> {
        let row: Option<(Uuid, Uuid, Uuid)> =
            sqlx::query_as("SELECT clinic_id, person_id, account_id FROM passkey_lookup($1)")
                .bind(credential_id)
                .fetch_optional(&self.pool)
                .await?;
        Ok(row.map(|(clinic, person, account)| Membership {
            account_id: AccountId::from_uuid(account),
            clinic_id: ClinicId::from_uuid(clinic),
            person_id: PersonId::from_uuid(person),
        }))
    }
}

impl Tx {
    /// The caller's passkeys, oldest first.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when nobody is signed in.
    pub async fn passkey_list(&mut self) -> Result<Vec<PasskeyEntry>> {
        let person = self.own_person()?;
        let rows: Vec<Row> = sqlx::query_as(concat!(
            "SELECT k.id, k.device_label, k.backed_up, k.created_at, k.used_at, ",
            name_columns!(),
            "FROM passkey k",
            name_join!(),
            "WHERE k.person_id = $1 ORDER BY k.id",
        ))
        .bind(person.as_uuid())
        .fetch_all(self.db())
        .await?;
        let names = rows.iter().filter_map(|row| row.name.sealed(row.id, person));
        let opener = self.opener(names).await?;
        let entry = |row: Row| {
            let (name, version) = row.name.read(row.id, person, &opener)?;
            Ok(PasskeyEntry {
                id: row.id,
                name,
                version,
                device_label: row.device_label,
                backed_up: row.backed_up,
                created_at: row.created_at,
                used_at: row.used_at,
            })
        };
        rows.into_iter().map(entry).collect()
    }

    /// The credential ids of the caller's passkeys: what the browser is told not to make again,
    /// or may answer with.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when nobody is signed in.
    pub async fn passkey_ids(&mut self) -> Result<Vec<Vec<u8>>> {
        let person = self.own_person()?;
        Ok(
            sqlx::query_scalar("SELECT credential_id FROM passkey WHERE person_id = $1 ORDER BY id")
                .bind(person.as_uuid())
                .fetch_all(self.db())
                .await?,
        )
    }

    /// Keeps a new passkey of the caller.
    ///
    /// # Errors
    /// [`StoreError::PasskeyKnown`]; [`Refusal::TooManyPasskeys`].
    pub async fn passkey_add(&mut self, new: &Credential, device_label: &str) -> Result<PasskeyEntry> {
        let (person, now) = (self.own_person()?, self.now());
        if self.passkey_ids().await?.len() >= PASSKEYS_MAX {
            return Err(Refusal::TooManyPasskeys.into());
        }
        let id = self.passkey_insert(person, new, device_label).await?;
        self.audit(Action::FactorEnrol, Object::of(ObjectKind::Factor, id), None)
            .await?;
        Ok(PasskeyEntry {
            id,
            name: None,
            version: Version(0),
            device_label: device_label.to_owned(),
            backed_up: new.backed_up,
            created_at: now,
            used_at: None,
        })
    }

    pub(crate) async fn passkey_insert(
        &mut self,
        person: PersonId,
        new: &Credential,
        device_label: &str,
    ) -> Result<Uuid> {
        let (clinic, now) = (self.clinic(), self.now());
        let id = Uuid::now_v7();
        sqlx::query(
            "INSERT INTO passkey (clinic_id, id, person_id, credential_id, public_key, sign_count,
                 backup_eligible, backed_up, aaguid, device_label, created_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        )
        .bind(clinic)
        .bind(id)
        .bind(person.as_uuid())
        .bind(&new.id)
        .bind(&new.public_key)
        .bind(i64::from(new.sign_count))
        .bind(new.backup_eligible)
        .bind(new.backed_up)
        .bind(new.aaguid)
        .bind(device_label)
        .bind(now)
        .execute(self.db())
        .await?;
        Ok(id)
    }

    /// The passkey of this person with this credential id, locked until the transaction ends.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when they have none such.
    pub async fn passkey_get(
        &mut self,
        person: PersonId,
        credential_id: &[u8],
    ) -> Result<(Uuid, Credential)> {
        type Row = (Uuid, Vec<u8>, i64, bool, bool, Uuid);
        let (id, public_key, sign_count, backup_eligible, backed_up, aaguid): Row = sqlx::query_as(
            "SELECT id, public_key, sign_count, backup_eligible, backed_up, aaguid FROM passkey
             WHERE person_id = $1 AND credential_id = $2 FOR UPDATE",
        )
        .bind(person.as_uuid())
        .bind(credential_id)
        .fetch_optional(self.db())
        .await?
        .ok_or(StoreError::NotFound)?;
        let sign_count = u32::try_from(sign_count).map_err(|_| StoreError::corrupt("passkey.sign_count"))?;
        let credential = Credential {
            id: credential_id.to_vec(),
            public_key,
            sign_count,
            backup_eligible,
            backed_up,
            aaguid,
        };
        Ok((id, credential))
    }

    /// Notes what a sign-in said about the passkey.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn passkey_used(&mut self, id: Uuid, asserted: Asserted) -> Result<()> {
        let now = self.now();
        sqlx::query("UPDATE passkey SET sign_count = $2, backed_up = $3, used_at = $4 WHERE id = $1")
            .bind(id)
            .bind(i64::from(asserted.sign_count))
            .bind(asserted.backed_up)
            .bind(now)
            .execute(self.db())
            .await?;
        Ok(())
    }

    /// Forgets one of the caller's passkeys.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; [`Refusal::LastFactor`] when it is the only second factor of
    /// someone who needs one.
    pub async fn passkey_remove(&mut self, id: Uuid) -> Result<()> {
        let person = self.own_person()?;
        let gone = sqlx::query("DELETE FROM passkey WHERE person_id = $1 AND id = $2")
            .bind(person.as_uuid())
            .bind(id)
            .execute(self.db())
            .await?;
        if gone.rows_affected() == 0 {
            return Err(StoreError::NotFound);
        }
        self.keeps_a_factor().await?;
        self.factor_name_forget(id).await?;
        self.audit(Action::FactorRemove, Object::of(ObjectKind::Factor, id), None)
            .await
    }
}
