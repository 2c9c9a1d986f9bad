//! Months of the log that were taken off: what the schema's owner can still do.

use medmesh_base::AuditId;
use time::{Date, Month, OffsetDateTime};
use uuid::Uuid;

use super::tree::{made_at, unsigned};
use super::view::id_at;
use crate::{Result, Tx};

/// Months looked for at most: a century.
const MONTHS_MAX: usize = 1_200;

/// A month whose leaves have places, and whose table is no part of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostMonth {
    /// Its table: `audit_YYYY_MM`.
    pub table: String,
    /// The first place of a leaf that was in it.
    pub first: u64,
    /// That leaf.
    pub leaf: AuditId,
}

impl Tx {
    /// The months that are missing between the log's first leaf and its last, by the time in their ids. A month
    /// that never had a table of its own, its leaves being in the one for the rest, is not missing.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn audit_lost_months(&mut self) -> Result<Vec<LostMonth>> {
        let clinic = self.clinic();
        let ends: (Option<Uuid>, Option<Uuid>) = sqlx::query_as(
            "SELECT (SELECT leaf_id FROM audit_order WHERE clinic_id = $1 ORDER BY leaf_id LIMIT 1),
                 (SELECT leaf_id FROM audit_order WHERE clinic_id = $1 ORDER BY leaf_id DESC LIMIT 1)",
        )
        .bind(clinic)
        .fetch_one(self.db())
        .await?;
        let (Some(first), Some(last)) = (ends.0.and_then(made_at), ends.1.and_then(made_at)) else {
            return Ok(Vec::new());
        };
        let starts = months(first.date(), last.date());
        let begins = |at: &Date| id_at(OffsetDateTime::new_utc(*at, time::Time::MIDNIGHT));
        let names: Vec<String> = starts.iter().map(table).collect();
        let from: Vec<Uuid> = starts.iter().map(begins).collect();
        let until: Vec<Uuid> = starts.iter().map(|start| begins(&following(*start))).collect();
        let rows: Vec<(String, i64, Uuid)> = sqlx::query_as(
            "WITH taken_off AS MATERIALIZED (
                 SELECT m.* FROM unnest($2::text[], $3::uuid[], $4::uuid[]) AS m (name, from_id, until_id)
                 WHERE NOT EXISTS (SELECT FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
                     WHERE i.inhparent = 'audit'::regclass AND c.relname = m.name))
             SELECT m.name, o.tree_index, o.leaf_id FROM taken_off m CROSS JOIN LATERAL (
                 SELECT o.tree_index, o.leaf_id FROM audit_order o
                 WHERE o.clinic_id = $1 AND o.leaf_id >= m.from_id AND o.leaf_id < m.until_id
                 ORDER BY o.tree_index LIMIT 1) o
             WHERE NOT EXISTS (SELECT FROM audit a WHERE a.clinic_id = $1 AND a.id = o.leaf_id)
             ORDER BY o.tree_index",
        )
        .bind(clinic)
        .bind(names)
        .bind(from)
        .bind(until)
        .fetch_all(self.db())
        .await?;
        let lost = rows.into_iter().map(|(table, first, leaf)| {
            Ok(LostMonth {
                table,
                first: unsigned(first)?,
                leaf: AuditId::from_uuid(leaf),
            })
        });
        lost.collect()
    }
}

/// The first days of the months from one day's to another's.
fn months(first: Date, last: Date) -> Vec<Date> {
    let start = |day: Date| day.replace_day(1).expect("every month has a first day");
    let all = std::iter::successors(Some(start(first)), |month| Some(following(*month)));
    all.take_while(|month| *month <= last).take(MONTHS_MAX).collect()
}

/// The first day of the next month.
fn following(month: Date) -> Date {
    let year = month.year() + i32::from(month.month() == Month::December);
    Date::from_calendar_date(year, month.month().next(), 1).unwrap_or(Date::MAX)
}

/// As `audit_months` of the schema calls it.
fn table(month: &Date) -> String {
    format!("audit_{:04}_{:02}", month.year(), u8::from(month.month()))
}
