//! What a record holds that no listing shows.

use std::collections::HashMap;

use medmesh_base::{AppointmentId, PersonId, Phi};
use medmesh_clinic::Person;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::factor_name::{NameRow, name_columns, name_join};
use crate::keys::{Column, Sealed};
use crate::person::PersonRow;
use crate::{Result, StoreError, Tx};

/// Devices of a copy at most: ended ones are cleared away within days.
const DEVICES_MAX: i64 = 500;

/// The person, and what they sign in with. No secret, no key.
#[derive(Clone, Debug)]
pub struct WholePerson {
    /// Name, address, roles, language.
    pub person: Person,
    /// Since when they are known here.
    pub created_at: OffsetDateTime,
    /// Where they are signed in, or were of late.
    pub devices: Vec<DeviceRow>,
    /// Their second factors.
    pub factors: Vec<FactorEntry>,
    /// Their identities at outside providers.
    pub identities: Vec<IdentityRow>,
}

/// A device.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct DeviceRow {
    /// `Firefox on Linux`; empty when the client did not say.
    pub device_label: String,
    /// When somebody signed in there.
    pub created_at: OffsetDateTime,
    /// When it was last used.
    pub seen_at: OffsetDateTime,
    /// When it was signed out.
    pub revoked_at: Option<OffsetDateTime>,
}

/// A second factor.
#[derive(Clone, Debug)]
pub struct FactorEntry {
    /// What it is.
    pub row: FactorRow,
    /// What its owner calls it.
    pub name: Option<Phi<String>>,
}

#[derive(sqlx::FromRow)]
struct NamedRow {
    id: Uuid,
    #[sqlx(flatten)]
    row: FactorRow,
    #[sqlx(flatten)]
    name: NameRow,
}

/// What is kept of a second factor beside its name.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct FactorRow {
    /// `totp`, `passkey` or `recovery_code`.
    pub kind: String,
    /// The device a passkey was made on.
    pub device_label: Option<String>,
    /// Since when.
    pub created_at: OffsetDateTime,
    /// When it was last used, where that is kept.
    pub used_at: Option<OffsetDateTime>,
}

/// An identity elsewhere. Who they are there is kept as a digest only.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct IdentityRow {
    /// Whose word is taken.
    pub issuer: String,
    /// Since when.
    pub linked_at: OffsetDateTime,
    /// When they last signed in with it.
    pub used_at: Option<OffsetDateTime>,
}

impl Tx {
    /// The person whose record is copied.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] outside of a copy; when the database or the keys fail.
    pub async fn record_export_person(&mut self) -> Result<WholePerson> {
        let patient = self.copying.ok_or(StoreError::NotFound)?.as_uuid();
        let row: PersonRow = sqlx::query_as(
            "SELECT p.id, p.display_name, p.email, p.seal_version, p.locale, p.active, p.version,
                 (SELECT coalesce(array_agg(role), '{}') FROM person_role r
                  WHERE r.clinic_id = p.clinic_id AND r.person_id = p.id) AS roles
             FROM person p WHERE p.id = $1 AND p.erased_at IS NULL",
        )
        .bind(patient)
        .fetch_optional(self.db())
        .await?
        .ok_or(StoreError::NotFound)?;
        let opener = self.opener(row.sealed()).await?;
        let created_at: OffsetDateTime = sqlx::query_scalar("SELECT created_at FROM person WHERE id = $1")
            .bind(patient)
            .fetch_one(self.db())
            .await?;
        let devices = sqlx::query_as(
            "SELECT device_label, created_at, seen_at, revoked_at FROM session
             WHERE person_id = $1 ORDER BY created_at DESC LIMIT $2",
        )
        .bind(patient)
        .bind(DEVICES_MAX)
        .fetch_all(self.db())
        .await?;
        let factors = self.record_export_factors(patient).await?;
        let identities = sqlx::query_as(
            "SELECT issuer, linked_at, used_at FROM oidc_identity WHERE person_id = $1 ORDER BY id",
        )
        .bind(patient)
        .fetch_all(self.db())
        .await?;
        Ok(WholePerson {
            person: row.into_person(&opener)?,
            created_at,
            devices,
            factors,
            identities,
        })
    }

    async fn record_export_factors(&mut self, patient: Uuid) -> Result<Vec<FactorEntry>> {
        let rows: Vec<NamedRow> = sqlx::query_as(concat!(
            "SELECT k.*, ",
            name_columns!(),
            "FROM (SELECT clinic_id, id, 'totp' AS kind, NULL::text AS device_label, created_at,
                     NULL::timestamptz AS used_at
                 FROM totp_factor WHERE person_id = $1 AND confirmed_at IS NOT NULL
                 UNION ALL SELECT clinic_id, id, 'passkey', device_label, created_at, used_at
                 FROM passkey WHERE person_id = $1
                 UNION ALL SELECT clinic_id, '00000000-0000-0000-0000-000000000000', 'recovery_code', NULL, created_at, used_at
                 FROM recovery_code WHERE person_id = $1) k",
            name_join!(),
            "ORDER BY k.created_at, k.id"
        ))
        .bind(patient)
        .fetch_all(self.db())
        .await?;
        let person = PersonId::from_uuid(patient);
        let opener = self
            .opener(rows.iter().filter_map(|row| row.name.sealed(row.id, person)))
            .await?;
        rows.into_iter()
            .map(|row| {
                let (name, _) = row.name.read(row.id, person, &opener)?;
                Ok(FactorEntry { row: row.row, name })
            })
            .collect()
    }

    /// Why appointments of the record that is copied were cancelled, of those among these that were.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] outside of a copy; when the database or the keys fail.
    pub async fn record_export_cancellations(
        &mut self,
        appointments: &[AppointmentId],
    ) -> Result<HashMap<AppointmentId, Phi<String>>> {
        let patient: PersonId = self.copying.ok_or(StoreError::NotFound)?;
        let ids: Vec<Uuid> = appointments.iter().map(AppointmentId::as_uuid).collect();
        let rows: Vec<(Uuid, Vec<u8>, i64)> = sqlx::query_as(
            "SELECT id, cancel_reason, seal_version FROM appointment
             WHERE patient_id = $1 AND id = ANY ($2) AND cancel_reason IS NOT NULL",
        )
        .bind(patient.as_uuid())
        .bind(ids)
        .fetch_all(self.db())
        .await?;
        let place = |row: Uuid, version: i64, bytes| Sealed {
            column: Column::AppointmentCancelReason,
            row,
            version,
            patient: Some(patient),
            bytes,
        };
        let opener = self
            .opener(
                rows.iter()
                    .map(|(id, bytes, version)| place(*id, *version, bytes)),
            )
            .await?;
        rows.iter()
            .map(|(id, bytes, version)| {
                let reason = opener.text(&place(*id, *version, bytes))?;
                Ok((AppointmentId::from_uuid(*id), reason))
            })
            .collect()
    }
}
