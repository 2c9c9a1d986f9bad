//! How far visits are, without reading anything about anyone: no leaf is owed for it, so that pages
//! which look again and again do not bury the reads of people in the audit log.

use medmesh_base::VisitId;
use medmesh_clinic::authz;
use medmesh_clinic::{AppointmentStatus, Attendance, Version};
use time::Date;
use uuid::Uuid;

use super::VISITS_PER_DAY_MAX;
use crate::relationship::Target;
use crate::{Result, StoreError, Tx};

/// What of a visit moves: cheap to ask again and again, and no health data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VisitPulse {
    /// Grows with every change of the visit.
    pub version: Version,
    /// The place of its last message; 0 without any.
    pub message_sequence: i64,
}

impl Tx {
    /// How far a visit is, without reading anything about anyone.
    ///
    /// # Errors
    /// As [`Tx::visit_get`].
    pub async fn visit_pulse(&mut self, id: VisitId) -> Result<VisitPulse> {
        self.authorise(authz::Action::VisitEvents, Target::Visit(id))
            .await?;
        let (version, message_sequence): (i64, i64) =
            sqlx::query_as("SELECT v.version, v.message_sequence FROM visit v WHERE v.id = $1")
                .bind(id.as_uuid())
                .fetch_optional(self.db())
                .await?
                .ok_or(StoreError::NotFound)?;
        Ok(VisitPulse {
            version: Version(version),
            message_sequence,
        })
    }

    /// Whether the caller attends the visit. Nothing of it is told to anybody, so that it leaves no leaf.
    ///
    /// # Errors
    /// As [`Tx::visit_get`].
    pub async fn visit_attendance(&mut self, id: VisitId) -> Result<Attendance> {
        self.authorise(authz::Action::VisitEvents, Target::Visit(id))
            .await?;
        let me = self.person()?;
        Ok(self.visit_load(id).await?.attendance(me))
    }

    /// How far each visit is that [`Tx::visit_list`] would give, in its order: a number that grows
    /// with whatever of the visit the list shows.
    ///
    /// # Errors
    /// [`StoreError::Denied`].
    pub async fn visit_pulses(&mut self, day: Option<Date>) -> Result<Vec<(VisitId, i64)>> {
        self.authorise_listing(authz::Action::VisitPulses).await?;
        let (_, from, to) = self.day_bounds(day).await?;
        let me = self.actor_person();
        // Each part only grows, and whoever takes part stays in: so the sum grows with any of them.
        let rows: Vec<(Uuid, i64)> = sqlx::query_as(
            "SELECT v.id, v.version + a.version + (
                 SELECT coalesce(sum(p.seal_version), 0)::bigint
                 FROM visit_participant vp JOIN person p ON p.clinic_id = vp.clinic_id AND p.id = vp.person_id
                 WHERE vp.clinic_id = v.clinic_id AND vp.visit_id = v.id)
             FROM visit v JOIN appointment a ON a.clinic_id = v.clinic_id AND a.id = v.appointment_id
             WHERE a.starts_at >= $1 AND a.starts_at < $2 AND a.status <> $3
                 AND EXISTS (
                     SELECT FROM visit_participant me
                     WHERE me.clinic_id = v.clinic_id AND me.visit_id = v.id AND me.person_id = $4)
             ORDER BY a.starts_at, v.id LIMIT $5",
        )
        .bind(from)
        .bind(to)
        .bind(AppointmentStatus::Cancelled.as_str())
        .bind(me)
        .bind(VISITS_PER_DAY_MAX as i64)
        .fetch_all(self.db())
        .await?;
        let pulse = |(id, pulse)| (VisitId::from_uuid(id), pulse);
        Ok(rows.into_iter().map(pulse).collect())
    }
}
