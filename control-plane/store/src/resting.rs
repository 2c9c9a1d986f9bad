//! Records that rest stay out of lists of people, as the policy keeps them out of everything else:
//! those who meet the patient see them there, whoever looks after privacy, and whoever opened the
//! record in an emergency; and an emergency finds everybody.

use std::collections::HashSet;

use medmesh_clinic::audit::Purpose;
use uuid::Uuid;

use crate::{Result, Tx};

impl Tx {
    /// Who of these lets their record rest and is out of the actor's reach. What is asked for in an
    /// emergency leaves nobody out.
    pub(crate) async fn resting_among(&mut self, people: &[Uuid]) -> Result<HashSet<Uuid>> {
        let is_emergency = self
            .grant
            .is_some_and(|grant| grant.purpose == Purpose::Emergency);
        if is_emergency || people.is_empty() {
            return Ok(HashSet::new());
        }
        let (me, now) = (self.actor_person(), self.now());
        let resting: Vec<Uuid> = sqlx::query_scalar(
            "SELECT r.patient_id FROM record_rights r
             WHERE r.patient_id = ANY ($1) AND r.restricted_at IS NOT NULL AND r.erased_at IS NULL
                 AND r.patient_id IS DISTINCT FROM $2
                 AND NOT EXISTS (SELECT FROM appointment a
                     WHERE a.patient_id = r.patient_id AND a.clinician_id = $2 AND a.status = 'booked')
                 AND NOT EXISTS (SELECT FROM visit_participant mine
                     JOIN visit v ON v.clinic_id = mine.clinic_id AND v.id = mine.visit_id AND v.state <> 'ended'
                     JOIN appointment a ON a.clinic_id = v.clinic_id AND a.id = v.appointment_id
                     WHERE mine.person_id = $2 AND a.patient_id = r.patient_id)
                 AND NOT EXISTS (SELECT FROM break_glass g
                     WHERE g.patient_id = r.patient_id AND g.person_id = $2 AND g.opened_at <= $3 AND g.until_at > $3)
                 AND NOT EXISTS (SELECT FROM privacy_officer o WHERE o.person_id = $2)",
        )
        .bind(people)
        .bind(me)
        .bind(now)
        .fetch_all(self.db())
        .await?;
        Ok(resting.into_iter().collect())
    }
}
