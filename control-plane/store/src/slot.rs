//! Claims on people's time: the one way an appointment gets or changes its slot.
//!
//! The promise that nobody is in two places at once is the exclusion constraint's
//! alone. What this adds is order: contenders for the same person queue on an
//! advisory lock, taken in one global order, before they write anything. Without
//! it two that swap slots would wait for each other until the deadlock detector
//! picked one, and every loser would have written rows for nothing.

use medmesh_base::{AppointmentId, PersonId};
use medmesh_clinic::Slot;
use sqlx::postgres::types::PgRange;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{Result, StoreError, Tx};

/// The people whose time an appointment takes.
pub(crate) type Party = [PersonId; 2];

impl Tx {
    /// Takes the queue's locks. Before any row of the appointment is written.
    pub(crate) async fn slot_queue(&mut self, party: Party) -> Result<()> {
        let clinic = self.clinic();
        sqlx::query(
            "SELECT pg_advisory_xact_lock(key) FROM (
                 SELECT DISTINCT hashtextextended('slot_claim/' || $1::uuid || '/' || person, 0) AS key
                 FROM unnest($2::uuid[]) AS person ORDER BY key) AS ordered",
        )
        .bind(clinic)
        .bind(ids(party))
        .execute(self.db())
        .await?;
        Ok(())
    }

    /// Whether someone of the party is busy in `slot` with another appointment.
    /// Holds until the end of the transaction for those who queued.
    pub(crate) async fn slot_is_taken(
        &mut self,
        appointment: AppointmentId,
        party: Party,
        slot: &Slot,
    ) -> Result<bool> {
        Ok(sqlx::query_scalar(
            "SELECT EXISTS (SELECT FROM slot_claim
             WHERE person_id = ANY ($1) AND during && $2 AND appointment_id <> $3)",
        )
        .bind(ids(party))
        .bind(range(slot))
        .bind(appointment.as_uuid())
        .fetch_one(self.db())
        .await?)
    }

    /// Gives the appointment `slot` instead of what it had.
    ///
    /// `ON CONFLICT DO NOTHING` and a count rather than a violation: two that
    /// insert at the same instant would otherwise find each other and deadlock.
    pub(crate) async fn slot_claim(
        &mut self,
        appointment: AppointmentId,
        party: Party,
        slot: &Slot,
    ) -> Result<()> {
        self.slot_release(appointment).await?;
        let clinic = self.clinic();
        let claimed = sqlx::query(
            "INSERT INTO slot_claim (clinic_id, appointment_id, person_id, during)
             SELECT $1, $2, person, $3 FROM unnest($4::uuid[]) AS person ORDER BY person
             ON CONFLICT ON CONSTRAINT slot_claim_no_overlap DO NOTHING",
        )
        .bind(clinic)
        .bind(appointment.as_uuid())
        .bind(range(slot))
        .bind(ids(party))
        .execute(self.db())
        .await?
        .rows_affected();
        if claimed == party.len() as u64 {
            Ok(())
        } else {
            Err(StoreError::SlotTaken)
        }
    }

    /// Gives the appointment's time back.
    pub(crate) async fn slot_release(&mut self, appointment: AppointmentId) -> Result<()> {
        sqlx::query("DELETE FROM slot_claim WHERE appointment_id = $1")
            .bind(appointment.as_uuid())
            .execute(self.db())
            .await?;
        Ok(())
    }
}

fn ids(party: Party) -> Vec<Uuid> {
    party.iter().map(PersonId::as_uuid).collect()
}

fn range(slot: &Slot) -> PgRange<OffsetDateTime> {
    PgRange::from(slot.starts_at()..slot.ends_at())
}
