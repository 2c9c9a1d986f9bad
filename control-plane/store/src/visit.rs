//! Visits: loaded whole, stepped by the pure rules, saved where they differ.

mod pulse;
mod row;

use medmesh_base::{ClinicId, ParticipantId, PersonId, RoomId, VisitId};
use medmesh_clinic::audit::{Action, Object, ObjectKind};
use medmesh_clinic::authz;
use medmesh_clinic::{
    AppointmentStatus, JoinWindow, Participant, Phase, Refusal, Version, Visit, VisitState,
};
use time::Date;
use uuid::Uuid;

pub use pulse::VisitPulse;
use row::{ParticipantRow, VisitRow, participant_from, visit_from};

use crate::outbox::EventKind;
use crate::relationship::Target;
use crate::{Result, Store, StoreError, Tx};

/// Most visits of one day's list. A clinician has dozens; more is a defect somewhere.
pub const VISITS_PER_DAY_MAX: usize = 200;

/// The visits of one day of the clinic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DayOfVisits {
    /// The day, in the clinic's zone.
    pub day: Date,
    /// The visits by start, cancelled ones left out, at most [`VISITS_PER_DAY_MAX`].
    pub visits: Vec<Visit>,
}

/// Whose room it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoomLocation {
    /// The clinic.
    pub clinic_id: ClinicId,
    /// The visit.
    pub visit_id: VisitId,
}

macro_rules! select {
    ($tail:literal) => {
        concat!(
            "SELECT v.id, v.appointment_id, v.room_id, v.state, v.opened_at, v.ended_at, v.version,
                 a.starts_at, a.ends_at
             FROM visit v JOIN appointment a ON a.clinic_id = v.clinic_id AND a.id = v.appointment_id ",
            $tail
        )
    };
}

impl Tx {
    /// One visit.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Denied`].
    pub async fn visit_get(&mut self, id: VisitId) -> Result<Visit> {
        self.authorise(authz::Action::VisitGet, Target::Visit(id)).await?;
        let visit = self.visit_load(id).await?;
        self.audit(Action::VisitRead, id, patient_of(&visit)).await?;
        Ok(visit)
    }

    /// The visits the caller takes part in on one day of the clinic; today without `day`.
    ///
    /// # Errors
    /// [`StoreError::Denied`].
    pub async fn visit_list(&mut self, day: Option<Date>) -> Result<DayOfVisits> {
        self.authorise_listing(authz::Action::VisitList).await?;
        let (day, from, to) = self.day_bounds(day).await?;
        let me = self.actor_person();
        let rows: Vec<VisitRow> = sqlx::query_as(select!(
            "WHERE a.starts_at >= $1 AND a.starts_at < $2 AND a.status <> $3
                 AND EXISTS (
                     SELECT FROM visit_participant me
                     WHERE me.clinic_id = v.clinic_id AND me.visit_id = v.id AND me.person_id = $4)
             ORDER BY a.starts_at, v.id LIMIT $5"
        ))
        .bind(from)
        .bind(to)
        .bind(AppointmentStatus::Cancelled.as_str())
        .bind(me)
        .bind(VISITS_PER_DAY_MAX as i64)
        .fetch_all(self.db())
        .await?;
        let visits = self.with_participants(rows).await?;
        let leaves: Vec<_> = visits
            .iter()
            .map(|visit| (visit.id.into(), patient_of(visit), None))
            .collect();
        self.audit_each_or_none(Action::VisitRead, ObjectKind::Visit, &leaves)
            .await?;
        Ok(DayOfVisits { day, visits })
    }

    /// Whether the actor may know where this visit could run.
    ///
    /// # Errors
    /// As [`Tx::visit_get`].
    pub async fn signaling_candidates(&mut self, id: VisitId) -> Result<()> {
        self.authorise(authz::Action::SignalingCandidates, Target::Visit(id))
            .await
            .map(|_| ())
    }

    /// The caller enters the waiting room.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], or a [`Refusal`]: see [`Visit::check_in`].
    pub async fn visit_check_in(&mut self, id: VisitId) -> Result<Visit> {
        let (me, now) = (self.person()?, self.now());
        self.visit_step(
            authz::Action::VisitCheckIn,
            id,
            Action::VisitCheckIn,
            id,
            |visit| visit.check_in(me, now),
        )
        .await
    }

    /// The clinician opens the visit.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], or a [`Refusal`]: see [`Visit::open`].
    pub async fn visit_open(&mut self, id: VisitId) -> Result<Visit> {
        let (me, now) = (self.person()?, self.now());
        self.visit_step(authz::Action::VisitOpen, id, Action::VisitOpen, id, |visit| {
            visit.open(me, now)
        })
        .await
    }

    /// The clinician lets somebody in.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], or a [`Refusal`]: see [`Visit::admit`].
    pub async fn visit_admit(&mut self, id: VisitId, who: ParticipantId) -> Result<Visit> {
        let me = self.person()?;
        self.visit_step(authz::Action::VisitAdmit, id, Action::VisitAdmit, who, |visit| {
            visit.admit(me, who)
        })
        .await
    }

    /// The clinician ends the visit; the appointment is completed.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], or a [`Refusal`]: see [`Visit::end`].
    pub async fn visit_end(&mut self, id: VisitId) -> Result<Visit> {
        let (me, now) = (self.person()?, self.now());
        let mut was_open = false;
        let visit = self
            .visit_step(authz::Action::VisitEnd, id, Action::VisitEnd, id, |visit| {
                was_open = visit.phase.state() == VisitState::Open;
                visit.end(me, now)
            })
            .await?;
        if was_open {
            self.appointment_complete(visit.appointment_id).await?;
        }
        Ok(visit)
    }

    /// The clinician adds a third person of the clinic.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], or a [`Refusal`]: see [`Visit::add_guest`].
    pub async fn participant_add(&mut self, id: VisitId, person: PersonId) -> Result<Visit> {
        let me = self.person()?;
        let participant = ParticipantId::from_uuid(Uuid::new_v4());
        // Somebody without a role that takes part would be inside and see nothing.
        let suits = authz::roles_for(authz::Action::VisitCheckIn);
        let guest = self
            .bookable(person)
            .await?
            .filter(|found| found.roles.intersects(suits))
            .map(|found| found.person);
        let asked = authz::Action::ParticipantAdd;
        self.visit_step(asked, id, Action::ParticipantAdd, participant, |visit| {
            visit.add_guest(me, participant, guest.ok_or(Refusal::ParticipantUnsuitable)?)
        })
        .await
    }

    /// Leave for the caller to join the room now, recorded as the issue of its keys.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], or a [`Refusal`]: see [`Visit::may_join`].
    pub async fn signaling_session(&mut self, id: VisitId) -> Result<JoinWindow> {
        let (me, now) = (self.person()?, self.now());
        self.authorise(authz::Action::SignalingSession, Target::Visit(id))
            .await?;
        let visit = self.visit_load(id).await?;
        let window = visit.may_join(me, now)?;
        self.audit(
            Action::SignalingSession,
            window.participant_id,
            patient_of(&visit),
        )
        .await?;
        Ok(window)
    }

    /// The media plane says that somebody is connected or gone. `None` when that
    /// changes nothing.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for a participant of no such visit.
    pub async fn participant_presence(
        &mut self,
        id: VisitId,
        who: ParticipantId,
        connected: bool,
    ) -> Result<Option<Visit>> {
        self.authorise(authz::Action::ParticipantPresence, Target::Visit(id))
            .await?;
        let before = self.visit_lock(id).await?;
        before.participant(who).ok_or(StoreError::NotFound)?;
        let after = before.presence(who, connected);
        if after == before {
            return Ok(None);
        }
        let after = self.visit_save(&before, &after).await?;
        let action = if connected {
            Action::ParticipantConnect
        } else {
            Action::ParticipantDisconnect
        };
        self.audit(action, who, patient_of(&after)).await?;
        Ok(Some(after))
    }

    async fn visit_step(
        &mut self,
        asked: authz::Action,
        id: VisitId,
        action: Action,
        object: impl Into<Object>,
        step: impl FnOnce(&Visit) -> Result<Visit, Refusal>,
    ) -> Result<Visit> {
        self.authorise(asked, Target::Visit(id)).await?;
        let before = self.visit_lock(id).await?;
        let after = self.visit_save(&before, &step(&before)?).await?;
        self.audit(action, object, patient_of(&after)).await?;
        Ok(after)
    }

    /// Loads under the appointment's lock: see `appointment_lock` for the order.
    async fn visit_lock(&mut self, id: VisitId) -> Result<Visit> {
        sqlx::query(
            "SELECT FROM appointment a JOIN visit v ON v.clinic_id = a.clinic_id AND v.appointment_id = a.id
             WHERE v.id = $1 FOR UPDATE OF a",
        )
        .bind(id.as_uuid())
        .fetch_optional(self.db())
        .await?
        .ok_or(StoreError::NotFound)?;
        self.visit_load(id).await
    }

    pub(crate) async fn visit_load(&mut self, id: VisitId) -> Result<Visit> {
        let row: VisitRow = sqlx::query_as(select!("WHERE v.id = $1"))
            .bind(id.as_uuid())
            .fetch_optional(self.db())
            .await?
            .ok_or(StoreError::NotFound)?;
        self.with_participants(vec![row])
            .await?
            .pop()
            .ok_or(StoreError::NotFound)
    }

    /// Writes what differs, counts the version and tells the watchers; nothing
    /// when nothing differs.
    pub(crate) async fn visit_save(&mut self, before: &Visit, after: &Visit) -> Result<Visit> {
        if before == after {
            return Ok(after.clone());
        }
        let (opened_at, ended_at) = match after.phase {
            Phase::Scheduled | Phase::Waiting => (None, None),
            Phase::Open { opened_at } => (Some(opened_at), None),
            Phase::Ended { opened_at, ended_at } => (opened_at, Some(ended_at)),
        };
        let version: i64 = sqlx::query_scalar(
            "UPDATE visit SET state = $2, opened_at = $3, ended_at = $4, version = version + 1
             WHERE id = $1 RETURNING version",
        )
        .bind(after.id.as_uuid())
        .bind(after.phase.state().as_str())
        .bind(opened_at)
        .bind(ended_at)
        .fetch_one(self.db())
        .await?;
        for (position, participant) in after.participants.iter().enumerate() {
            match before.participant(participant.id) {
                None => {
                    self.participant_insert(after.id, participant, position + 1)
                        .await?;
                }
                Some(known) if known.state != participant.state => {
                    self.participant_update(after.id, participant).await?;
                }
                Some(_) => {}
            }
        }
        self.publish(EventKind::VisitChanged { visit_id: after.id })
            .await?;
        Ok(Visit {
            version: Version(version),
            ..after.clone()
        })
    }

    async fn participant_insert(
        &mut self,
        visit: VisitId,
        participant: &Participant,
        position: usize,
    ) -> Result<()> {
        let (clinic, now) = (self.clinic(), self.now());
        sqlx::query(
            "INSERT INTO visit_participant
                 (clinic_id, visit_id, participant_id, person_id, role, state, position, state_changed_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(clinic)
        .bind(visit.as_uuid())
        .bind(participant.id.as_uuid())
        .bind(participant.person.id.as_uuid())
        .bind(participant.role.as_str())
        .bind(participant.state.as_str())
        .bind(i16::try_from(position).unwrap_or(i16::MAX))
        .bind(now)
        .execute(self.db())
        .await?;
        Ok(())
    }

    async fn participant_update(&mut self, visit: VisitId, participant: &Participant) -> Result<()> {
        let now = self.now();
        sqlx::query(
            "UPDATE visit_participant SET state = $3, state_changed_at = $4
             WHERE visit_id = $1 AND participant_id = $2",
        )
        .bind(visit.as_uuid())
        .bind(participant.id.as_uuid())
        .bind(participant.state.as_str())
        .bind(now)
        .execute(self.db())
        .await?;
        Ok(())
    }

    async fn with_participants(&mut self, rows: Vec<VisitRow>) -> Result<Vec<Visit>> {
        let ids: Vec<Uuid> = rows.iter().map(|row| row.id).collect();
        let people: Vec<ParticipantRow> = sqlx::query_as(
            "SELECT vp.visit_id, vp.participant_id, vp.person_id, p.display_name, p.seal_version, vp.role, vp.state
             FROM visit_participant vp JOIN person p ON p.clinic_id = vp.clinic_id AND p.id = vp.person_id
             WHERE vp.visit_id = ANY ($1) ORDER BY vp.position, vp.participant_id",
        )
        .bind(ids)
        .fetch_all(self.db())
        .await?;
        let opener = self.opener(people.iter().map(ParticipantRow::sealed)).await?;
        let mut visits = rows.iter().map(visit_from).collect::<Result<Vec<_>>>()?;
        for person in people {
            let visit = visits
                .iter_mut()
                .find(|visit| visit.id.as_uuid() == person.visit_id);
            visit
                .ok_or(StoreError::corrupt("visit_participant.visit_id"))?
                .participants
                .push(participant_from(&person, &opener)?);
        }
        Ok(visits)
    }

    /// The person who acts; the system takes no part in visits.
    pub(crate) fn person(&self) -> Result<PersonId> {
        Ok(self.actor().caller().ok_or(Refusal::NotYours)?.person_id)
    }
}

impl Store {
    /// The clinic and visit behind a room of the media plane; `None` for a room nobody knows.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn room_locate(&self, room: RoomId) -> Result<Option<RoomLocation>> {
        let row: Option<(Uuid, Uuid)> = sqlx::query_as("SELECT clinic_id, visit_id FROM room_locate($1)")
            .bind(room.as_uuid())
            .fetch_optional(&self.pool)
            .await?;
        Ok(row.map(|(clinic, visit)| RoomLocation {
            clinic_id: ClinicId::from_uuid(clinic),
            visit_id: VisitId::from_uuid(visit),
        }))
    }
}

impl Store {
    /// The room of a visit, of whatever clinic: for an operator, who is told nothing else of it.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; when the database fails.
    pub async fn visit_room(&self, visit: VisitId) -> Result<RoomId> {
        let room: Option<Uuid> = sqlx::query_scalar("SELECT visit_room($1)")
            .bind(visit.as_uuid())
            .fetch_one(&self.pool)
            .await?;
        room.map(RoomId::from_uuid).ok_or(StoreError::NotFound)
    }
}

/// Whose record a visit belongs to.
pub(crate) fn patient_of(visit: &Visit) -> Option<PersonId> {
    visit.patient().map(|patient| patient.person.id)
}
