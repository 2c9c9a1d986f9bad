//! Rows sealed anew, whatever table they are in.
//!
//! A new sealed column is one line in [`TABLES`] (and in [`Column`]); a test compares the two.

use medmesh_base::PersonId;
use medmesh_vault::{Header, KeyKind};
use sqlx::{AssertSqlSafe, Row as _};
use uuid::Uuid;

use super::{Column, Owner, Sealed, WRITTEN_ONCE, failed};
use crate::{Result, Tx};

/// A table with sealed columns.
pub(super) struct SealedTable {
    name: &'static str,
    columns: &'static [Column],
    /// Whether its `seal_version` grows with each writing; `false` where columns are written once.
    is_versioned: bool,
    /// SQL for the patient a row `t` would be of.
    patient: &'static str,
    /// SQL for the rows `t` of the patient `$1`.
    of_patient: &'static str,
}

/// The patient of rows that are the clinic's.
const OF_NOBODY: &str = "NULL::uuid";

/// Where a rotation finds what it seals anew.
pub(super) const TABLES: &[SealedTable] = &[
    SealedTable {
        name: "person",
        columns: &[Column::PersonDisplayName, Column::PersonEmail],
        is_versioned: true,
        patient: "t.id",
        of_patient: "t.id = $1",
    },
    SealedTable {
        name: "appointment",
        columns: &[Column::AppointmentReason, Column::AppointmentCancelReason],
        is_versioned: true,
        patient: "t.patient_id",
        of_patient: "t.patient_id = $1",
    },
    SealedTable {
        name: "message",
        columns: &[Column::MessageBody],
        is_versioned: false,
        patient: "(SELECT p.person_id FROM visit_participant p WHERE p.clinic_id = t.clinic_id
            AND p.visit_id = t.visit_id AND p.role = 'patient' LIMIT 1)",
        of_patient: "t.visit_id IN (SELECT p.visit_id FROM visit_participant p
            WHERE p.person_id = $1 AND p.role = 'patient')",
    },
    SealedTable {
        name: "totp_factor",
        columns: &[Column::TotpFactorSecret],
        is_versioned: false,
        patient: "t.person_id",
        of_patient: "t.person_id = $1",
    },
    SealedTable {
        name: "factor_name",
        columns: &[Column::FactorName],
        is_versioned: true,
        patient: "t.person_id",
        of_patient: "t.person_id = $1",
    },
    SealedTable {
        name: "credential",
        columns: &[Column::CredentialNumber],
        is_versioned: false,
        patient: OF_NOBODY,
        of_patient: "false",
    },
    SealedTable {
        name: "credential_decision",
        columns: &[Column::CredentialReason],
        is_versioned: false,
        patient: OF_NOBODY,
        of_patient: "false",
    },
    SealedTable {
        name: "oidc_provider",
        columns: &[Column::OidcClientSecret],
        is_versioned: true,
        patient: OF_NOBODY,
        of_patient: "false",
    },
    SealedTable {
        name: "referral",
        columns: &[Column::ReferralReason],
        is_versioned: false,
        patient: "t.patient_id",
        of_patient: "t.patient_id = $1",
    },
    SealedTable {
        name: "break_glass",
        columns: &[Column::BreakGlassReason],
        is_versioned: false,
        patient: "t.patient_id",
        of_patient: "t.patient_id = $1",
    },
    SealedTable {
        name: "consent",
        columns: &[Column::ConsentDocument],
        is_versioned: false,
        patient: "t.patient_id",
        of_patient: "t.patient_id = $1",
    },
    SealedTable {
        name: "correction",
        columns: &[
            Column::CorrectionWhat,
            Column::CorrectionWhy,
            Column::CorrectionReason,
            Column::CorrectionStatement,
        ],
        is_versioned: true,
        patient: "t.patient_id",
        of_patient: "t.patient_id = $1",
    },
];

/// What one page of a walk came to.
pub(super) struct Resealed {
    /// Rows sealed anew.
    pub(super) moved: u64,
    /// Where the next page begins; `None` at the end of the table.
    pub(super) last: Option<Uuid>,
}

/// A row that holds something older.
struct Stale {
    id: Uuid,
    version: i64,
    patient: Option<PersonId>,
    values: Vec<Option<Vec<u8>>>,
}

impl SealedTable {
    fn version(&self) -> &'static str {
        if self.is_versioned {
            "t.seal_version"
        } else {
            "1::bigint"
        }
    }

    fn column_names(&self) -> impl Iterator<Item = &'static str> {
        self.columns.iter().map(|column| column.names().1)
    }

    /// SQL: some column is under an older key of the kind; `$2` and `$3` are its first and last header.
    fn stale(&self) -> String {
        let each = self.column_names().map(|name| {
            format!("(substring(t.{name} FROM 1 FOR 6) >= $2 AND substring(t.{name} FROM 1 FOR 6) < $3)")
        });
        each.collect::<Vec<_>>().join(" OR ")
    }

    fn selected(&self) -> String {
        let columns = self.column_names().map(|name| format!(", t.{name}"));
        let (version, patient) = (self.version(), self.patient);
        format!(
            "t.id, {version} AS seal_version, {patient} AS patient{}",
            columns.collect::<String>()
        )
    }

    fn update(&self) -> String {
        let sets = self.column_names().enumerate();
        let sets = sets.map(|(at, name)| format!("{name} = coalesce(${}, {name})", at + 2));
        let sets: Vec<String> = sets.collect();
        format!("UPDATE {} SET {} WHERE id = $1", self.name, sets.join(", "))
    }
}

/// The headers from the first version of a kind up to, and without, this one.
fn older(kind: KeyKind, version: u32) -> (Vec<u8>, Vec<u8>) {
    let header = |version: u32| [&kind.envelope_prefix()[..], &version.to_be_bytes()].concat();
    (header(0), header(version))
}

impl Tx {
    /// Seals anew what is under older versions of the clinic's key, in one page of a walk over a table
    /// in the order of its ids: each page reads as many rows at most, so that its locks are short.
    pub(super) async fn reseal_page(
        &mut self,
        table: &SealedTable,
        after: Option<Uuid>,
        version: u32,
        most: i64,
    ) -> Result<Resealed> {
        let (first, last) = older(KeyKind::Clinic, version);
        let sql = format!(
            "WITH page AS MATERIALIZED (
                 SELECT id FROM {} WHERE $1::uuid IS NULL OR id > $1 ORDER BY id LIMIT $4)
             SELECT {} FROM {} t WHERE t.id IN (SELECT id FROM page) AND ({}) ORDER BY t.id FOR UPDATE OF t",
            table.name,
            table.selected(),
            table.name,
            table.stale()
        );
        let page = format!(
            "SELECT id FROM {} WHERE $1::uuid IS NULL OR id > $1 ORDER BY id LIMIT 1 OFFSET $2",
            table.name
        );
        // Where the page ends, also when nothing in it is stale.
        let end: Option<Uuid> = sqlx::query_scalar(AssertSqlSafe(page))
            .bind(after)
            .bind(most - 1)
            .fetch_optional(self.db())
            .await?;
        let rows = sqlx::query(AssertSqlSafe(sql))
            .bind(after)
            .bind(first)
            .bind(last)
            .bind(most)
            .fetch_all(self.db())
            .await?;
        let moved = self.reseal_rows(table, &rows).await?;
        Ok(Resealed { moved, last: end })
    }

    /// Seals anew what is under older versions of a patient's key, in one table. Says how many rows.
    pub(super) async fn reseal_patient(
        &mut self,
        table: &SealedTable,
        patient: PersonId,
        version: u32,
        most: i64,
    ) -> Result<u64> {
        let (first, last) = older(KeyKind::Patient, version);
        let sql = format!(
            "SELECT {} FROM {} t WHERE {} AND ({}) ORDER BY t.id LIMIT $4 FOR UPDATE OF t",
            table.selected(),
            table.name,
            table.of_patient,
            table.stale()
        );
        let rows = sqlx::query(AssertSqlSafe(sql))
            .bind(patient.as_uuid())
            .bind(first)
            .bind(last)
            .bind(most)
            .fetch_all(self.db())
            .await?;
        self.reseal_rows(table, &rows).await
    }

    async fn reseal_rows(&mut self, table: &SealedTable, rows: &[sqlx::postgres::PgRow]) -> Result<u64> {
        let update = table.update();
        for row in rows {
            let mut values = Vec::with_capacity(table.columns.len());
            for name in table.column_names() {
                values.push(row.try_get::<Option<Vec<u8>>, _>(name)?);
            }
            let stale = Stale {
                id: row.try_get("id")?,
                version: row.try_get("seal_version")?,
                patient: row
                    .try_get::<Option<Uuid>, _>("patient")?
                    .map(PersonId::from_uuid),
                values,
            };
            let mut query = sqlx::query(AssertSqlSafe(update.clone())).bind(stale.id);
            for (column, bytes) in table.columns.iter().zip(&stale.values) {
                query = query.bind(self.reseal(*column, &stale, bytes.as_deref()).await?);
            }
            query.execute(self.db()).await?;
        }
        Ok(rows.len() as u64)
    }

    /// The value under its owner's latest key, at the same version of its row; `None` when it is
    /// under that already.
    async fn reseal(
        &mut self,
        column: Column,
        stale: &Stale,
        bytes: Option<&[u8]>,
    ) -> Result<Option<Vec<u8>>> {
        let Some(bytes) = bytes else { return Ok(None) };
        let header = Header::read(bytes).map_err(|error| failed(&error, column))?;
        let owner = match (header.kind, stale.patient) {
            (KeyKind::Patient, Some(patient)) => Owner::Patient(patient),
            (KeyKind::Patient | KeyKind::Clinic, _) => Owner::Clinic,
            (KeyKind::System, _) => Owner::Account,
        };
        debug_assert!(stale.version >= WRITTEN_ONCE);
        let sealed = Sealed {
            column,
            row: stale.id,
            version: stale.version,
            patient: stale.patient,
            bytes,
        };
        let plain = self.open(&sealed).await?;
        let fresh = self.seal(column, stale.id, stale.version, owner, &plain).await?;
        // The first six bytes name the key.
        Ok((fresh[..6] != bytes[..6]).then_some(fresh))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rotation_reaches_every_sealed_column() {
        let reached: Vec<Column> = TABLES.iter().flat_map(|table| table.columns).copied().collect();
        for column in Column::ALL {
            let keeps = column.keeps_its_key();
            // Keys are wrapped anew by ways of their own.
            let is_key = matches!(column, Column::PatientKeyWrapped | Column::IndexKey);
            assert_eq!(reached.contains(column), !keeps && !is_key, "{}", column.path());
            for table in TABLES.iter().filter(|table| table.columns.contains(column)) {
                assert_eq!(table.name, column.names().0);
            }
        }
    }
}
