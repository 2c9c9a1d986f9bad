//! Appointments: booked, moved, cancelled, listed.

mod row;

use medmesh_base::{AppointmentId, ParticipantId, PersonId, Phi, RoomId, VisitId};
use medmesh_clinic::audit::{Action, ObjectKind, Purpose};
use medmesh_clinic::authz::{self, Kind};
use medmesh_clinic::{
    Appointment, AppointmentStatus, ParticipantRole, PersonRef, Reason, Refusal, Role, Segment, Slot, Version,
};
use time::OffsetDateTime;
use uuid::Uuid;

use self::row::Row;
use crate::keys::{Column, Owner};
use crate::outbox::EventKind;
use crate::relationship::{Facts, Leave, Target, patients_reached, relation_columns};
use crate::{Cursor, Page, PageRequest, Result, StoreError, Tx};

/// What it takes to book.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewAppointment {
    /// Who receives care.
    pub patient_id: PersonId,
    /// Who gives it.
    pub clinician_id: PersonId,
    /// When.
    pub slot: Slot,
    /// Why.
    pub reason: Option<Reason>,
    /// Which protected part of the record it belongs to.
    pub segment: Segment,
}

/// What of an appointment should change; `None` leaves it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AppointmentChange {
    /// Another start.
    pub starts_at: Option<OffsetDateTime>,
    /// Another end.
    pub ends_at: Option<OffsetDateTime>,
    /// Another reason.
    pub reason: Option<Reason>,
    /// Another part of the record.
    pub segment: Option<Segment>,
}

/// Which appointments are wanted; `None` does not restrict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AppointmentFilter {
    /// Those that end after this instant.
    pub from: Option<OffsetDateTime>,
    /// Those that start before this instant.
    pub to: Option<OffsetDateTime>,
    /// Those of this patient.
    pub patient: Option<PersonId>,
}

#[derive(sqlx::FromRow)]
struct ListedRow {
    #[sqlx(flatten)]
    appointment: Row,
    #[sqlx(flatten)]
    facts: Facts,
}

macro_rules! select {
    ($tail:literal) => {
        concat!(
            "SELECT a.id, v.id AS visit_id, a.patient_id, p.display_name AS patient_name,
                 p.seal_version AS patient_seal, a.clinician_id, c.display_name AS clinician_name,
                 c.seal_version AS clinician_seal,
                 a.starts_at, a.ends_at, a.status, a.reason, a.seal_version, a.segment, a.version
             FROM appointment a
                 JOIN visit v ON v.clinic_id = a.clinic_id AND v.appointment_id = a.id
                 JOIN person p ON p.clinic_id = a.clinic_id AND p.id = a.patient_id
                 JOIN person c ON c.clinic_id = a.clinic_id AND c.id = a.clinician_id ",
            $tail
        )
    };
}

impl Tx {
    /// Books, and prepares the visit it leads to.
    ///
    /// # Errors
    /// [`StoreError::SlotTaken`], [`StoreError::Denied`]; a [`Refusal`] when the time is past
    /// or too far, or the people cannot be booked.
    pub async fn appointment_create(&mut self, new: &NewAppointment) -> Result<Appointment> {
        if new.patient_id == new.clinician_id {
            return Err(Refusal::SamePerson.into());
        }
        let booking = Target::Booking {
            patient: new.patient_id,
            clinician: new.clinician_id,
        };
        let leave = self.authorise(authz::Action::AppointmentCreate, booking).await?;
        if new.segment != Segment::General && leave.grant.purpose == Purpose::PatientRequest {
            // Which records are protected is for those to say who keep them.
            self.authorise(authz::Action::AppointmentLabel, booking).await?;
        }
        new.slot.bookable(self.now())?;
        let patient = self
            .suitable(new.patient_id, Role::Patient, Refusal::PatientUnsuitable)
            .await?;
        let clinician = self
            .suitable(new.clinician_id, Role::Clinician, Refusal::ClinicianUnsuitable)
            .await?;
        let (id, visit_id) = (AppointmentId::generate(), VisitId::generate());
        let party = [new.patient_id, new.clinician_id];
        self.slot_queue(party).await?;
        if self.slot_is_taken(id, party, &new.slot).await? {
            return Err(StoreError::SlotTaken);
        }
        let (clinic, now) = (self.clinic(), self.now());
        let reason = new.reason.as_ref().map(Reason::expose);
        let reason = self
            .seal_text(
                Column::AppointmentReason,
                id.as_uuid(),
                1,
                Owner::Patient(new.patient_id),
                reason,
            )
            .await?;
        sqlx::query(
            "INSERT INTO appointment (clinic_id, id, patient_id, clinician_id, starts_at, ends_at, status, reason, segment,
                 created_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        )
        .bind(clinic)
        .bind(id.as_uuid())
        .bind(new.patient_id.as_uuid())
        .bind(new.clinician_id.as_uuid())
        .bind(new.slot.starts_at())
        .bind(new.slot.ends_at())
        .bind(AppointmentStatus::Booked.as_str())
        .bind(reason)
        .bind(new.segment.as_str())
        .bind(now)
        .execute(self.db())
        .await?;
        self.slot_claim(id, party, &new.slot).await?;
        self.visit_prepare(id, visit_id, new).await?;
        self.audit(Action::AppointmentCreate, id, Some(new.patient_id))
            .await?;
        self.publish(EventKind::VisitChanged { visit_id }).await?;
        self.publish(EventKind::AppointmentChanged { appointment_id: id })
            .await?;
        let appointment = Appointment {
            id,
            visit_id,
            patient,
            clinician,
            slot: new.slot,
            status: AppointmentStatus::Booked,
            reason: new
                .reason
                .as_ref()
                .map(|reason| Phi::new(reason.expose().to_owned())),
            segment: Some(new.segment),
            version: Version(1),
        };
        Ok(appointment.seen(leave.grant.sees))
    }

    /// One appointment, as much of it as the actor may see.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Denied`].
    pub async fn appointment_get(&mut self, id: AppointmentId) -> Result<Appointment> {
        let leave = self
            .authorise(authz::Action::AppointmentGet, Target::Appointment(id))
            .await?;
        let row: Row = sqlx::query_as(select!("WHERE a.id = $1"))
            .bind(id.as_uuid())
            .fetch_optional(self.db())
            .await?
            .ok_or(StoreError::NotFound)?;
        let appointment = self.appointment_from(row).await?;
        self.audit(Action::AppointmentRead, id, Some(appointment.patient.id))
            .await?;
        Ok(appointment.seen(leave.grant.sees))
    }

    /// Appointments by start: of the clinic, or those in reach, each as much as may be seen.
    /// A page may hold fewer than were asked for though there are more: rows the policy takes
    /// out leave a gap.
    ///
    /// # Errors
    /// [`StoreError::Denied`].
    pub async fn appointment_list(
        &mut self,
        filter: AppointmentFilter,
        page: PageRequest,
    ) -> Result<Page<Appointment>> {
        let listing = self.authorise_listing(authz::Action::AppointmentList).await?;
        let (me, now) = (self.actor_person(), self.now());
        let rows: Vec<ListedRow> = sqlx::query_as(concat!(
            "SELECT r.*, ",
            relation_columns!(),
            "FROM (",
            select!("WHERE ($3 OR a.clinician_id = $1 OR a.patient_id = $1 OR a.patient_id IN "),
            patients_reached!(),
            ") AND ($4::timestamptz IS NULL OR a.ends_at > $4)
                 AND ($5::timestamptz IS NULL OR a.starts_at < $5)
                 AND ($6::timestamptz IS NULL OR (a.starts_at, a.id) > ($6, $7::uuid))
                 AND ($9::uuid IS NULL OR a.patient_id = $9)
             ORDER BY a.starts_at, a.id LIMIT $8) r ORDER BY r.starts_at, r.id"
        ))
        .bind(me)
        .bind(now)
        .bind(listing.reaches_all)
        .bind(filter.from)
        .bind(filter.to)
        .bind(page.at())
        .bind(page.id())
        .bind(page.fetch())
        .bind(filter.patient.map(|patient| patient.as_uuid()))
        .fetch_all(self.db())
        .await?;
        let page = Page::of(rows, page, |row| Cursor {
            at: row.appointment.starts_at,
            id: row.appointment.id,
        });
        let sealed = page.items.iter().flat_map(|row| row.appointment.sealed());
        let opener = self.opener(sealed).await?;
        let (mut items, mut leaves) = (Vec::with_capacity(page.items.len()), Vec::new());
        for row in page.items {
            let judged = self.judge(authz::Action::AppointmentGet, Kind::Appointment, &row.facts)?;
            let Ok(grant) = judged else { continue };
            let appointment = row.appointment.appointment(&opener)?.seen(grant.sees);
            leaves.push((appointment.id.into(), Some(appointment.patient.id), Some(grant)));
            items.push(appointment);
        }
        self.audit_each_or_none(Action::AppointmentRead, ObjectKind::Appointment, &leaves)
            .await?;
        Ok(Page {
            items,
            next_cursor: page.next_cursor,
        })
    }

    /// Changes time or reason.
    ///
    /// # Errors
    /// [`StoreError::VersionMismatch`], [`StoreError::SlotTaken`], [`StoreError::NotFound`],
    /// [`StoreError::Denied`]; a [`Refusal`] when it is closed, has begun, or the time cannot be booked.
    pub async fn appointment_update(
        &mut self,
        id: AppointmentId,
        if_match: Version,
        change: &AppointmentChange,
    ) -> Result<Appointment> {
        if change.segment.is_some() {
            self.authorise(authz::Action::AppointmentLabel, Target::Appointment(id))
                .await?;
        }
        let (before, seal_version, leave) = self
            .appointment_lock(authz::Action::AppointmentUpdate, id, if_match)
            .await?;
        let visit = self.visit_load(before.visit_id).await?;
        before.changeable(&visit.phase)?;
        let slot = Slot::new(
            change.starts_at.unwrap_or(before.slot.starts_at()),
            change.ends_at.unwrap_or(before.slot.ends_at()),
        )?;
        if slot != before.slot {
            slot.bookable(self.now())?;
            let party = [before.patient.id, before.clinician.id];
            self.slot_queue(party).await?;
            self.slot_claim(id, party, &slot).await?;
        }
        let seal_version = seal_version + i64::from(change.reason.is_some());
        let reason = self
            .seal_text(
                Column::AppointmentReason,
                id.as_uuid(),
                seal_version,
                Owner::Patient(before.patient.id),
                change.reason.as_ref().map(Reason::expose),
            )
            .await?;
        sqlx::query(
            "UPDATE appointment SET starts_at = $2, ends_at = $3, reason = coalesce($4, reason),
                 seal_version = $5, segment = coalesce($6, segment), version = version + 1
             WHERE id = $1",
        )
        .bind(id.as_uuid())
        .bind(slot.starts_at())
        .bind(slot.ends_at())
        .bind(reason)
        .bind(seal_version)
        .bind(change.segment.map(Segment::as_str))
        .execute(self.db())
        .await?;
        self.visit_save(&visit, &visit.moved(slot)?).await?;
        self.audit(Action::AppointmentUpdate, id, Some(before.patient.id))
            .await?;
        self.publish(EventKind::AppointmentChanged { appointment_id: id })
            .await?;
        let reason = change
            .reason
            .as_ref()
            .map(|reason| Phi::new(reason.expose().to_owned()));
        let after = Appointment {
            slot,
            reason: reason.or(before.reason),
            segment: change.segment.or(before.segment),
            version: Version(before.version.0 + 1),
            ..before
        };
        Ok(after.seen(leave.grant.sees))
    }

    /// Cancels, and gives the time back.
    ///
    /// # Errors
    /// As [`Tx::appointment_update`].
    pub async fn appointment_cancel(
        &mut self,
        id: AppointmentId,
        if_match: Version,
        reason: Option<&Reason>,
    ) -> Result<Appointment> {
        let (before, seal_version, leave) = self
            .appointment_lock(authz::Action::AppointmentCancel, id, if_match)
            .await?;
        let visit = self.visit_load(before.visit_id).await?;
        before.changeable(&visit.phase)?;
        self.slot_queue([before.patient.id, before.clinician.id]).await?;
        self.slot_release(id).await?;
        // Both together under the next version, so that neither can be put back alone.
        let (owner, version) = (Owner::Patient(before.patient.id), seal_version + 1);
        let why = before.reason.as_ref().map(|reason| reason.expose().as_str());
        let why = self
            .seal_text(Column::AppointmentReason, id.as_uuid(), version, owner, why)
            .await?;
        let reason = self
            .seal_text(
                Column::AppointmentCancelReason,
                id.as_uuid(),
                version,
                owner,
                reason.map(Reason::expose),
            )
            .await?;
        sqlx::query(
            "UPDATE appointment SET status = $2, reason = $3, cancel_reason = $4, seal_version = $5,
                 version = version + 1
             WHERE id = $1",
        )
        .bind(id.as_uuid())
        .bind(AppointmentStatus::Cancelled.as_str())
        .bind(why)
        .bind(reason)
        .bind(version)
        .execute(self.db())
        .await?;
        self.visit_save(&visit, &visit.called_off(self.now())?).await?;
        self.audit(Action::AppointmentCancel, id, Some(before.patient.id))
            .await?;
        self.publish(EventKind::AppointmentChanged { appointment_id: id })
            .await?;
        let after = Appointment {
            status: AppointmentStatus::Cancelled,
            version: Version(before.version.0 + 1),
            ..before
        };
        Ok(after.seen(leave.grant.sees))
    }

    /// The visit took place. Under the appointment's lock.
    pub(crate) async fn appointment_complete(&mut self, id: AppointmentId) -> Result<()> {
        sqlx::query("UPDATE appointment SET status = $2, version = version + 1 WHERE id = $1")
            .bind(id.as_uuid())
            .bind(AppointmentStatus::Completed.as_str())
            .execute(self.db())
            .await?;
        Ok(())
    }

    /// Locks the appointment, which everything that changes it or its visit does
    /// first: one lock order, no deadlocks. Whoever may not does not get to wait for it.
    /// With the version its sealed columns have.
    async fn appointment_lock(
        &mut self,
        action: authz::Action,
        id: AppointmentId,
        if_match: Version,
    ) -> Result<(Appointment, i64, Leave)> {
        let leave = self.authorise(action, Target::Appointment(id)).await?;
        let row: Row = sqlx::query_as(select!("WHERE a.id = $1 FOR UPDATE OF a"))
            .bind(id.as_uuid())
            .fetch_optional(self.db())
            .await?
            .ok_or(StoreError::NotFound)?;
        let seal_version = row.seal_version;
        let appointment = self.appointment_from(row).await?;
        if appointment.version == if_match {
            Ok((appointment, seal_version, leave))
        } else {
            Err(StoreError::VersionMismatch {
                current: appointment.version,
            })
        }
    }

    async fn appointment_from(&mut self, row: Row) -> Result<Appointment> {
        let opener = self.opener(row.sealed()).await?;
        row.appointment(&opener)
    }

    async fn suitable(&mut self, id: PersonId, role: Role, refusal: Refusal) -> Result<PersonRef> {
        match self.bookable(id).await? {
            Some(found) if found.roles.contains(role) => Ok(found.person),
            Some(_) | None => Err(refusal.into()),
        }
    }

    async fn visit_prepare(&mut self, id: AppointmentId, visit: VisitId, new: &NewAppointment) -> Result<()> {
        let (clinic, now) = (self.clinic(), self.now());
        // Random, not time-ordered: the media plane must not learn when a visit was booked.
        let (room, patient, clinician) = (Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4());
        sqlx::query(
            "INSERT INTO visit (clinic_id, id, appointment_id, room_id, state) VALUES ($1, $2, $3, $4, 'scheduled')",
        )
        .bind(clinic)
        .bind(visit.as_uuid())
        .bind(id.as_uuid())
        .bind(RoomId::from_uuid(room).as_uuid())
        .execute(self.db())
        .await?;
        sqlx::query(
            "INSERT INTO visit_participant
                 (clinic_id, visit_id, participant_id, person_id, role, state, position, state_changed_at)
             VALUES ($1, $2, $3, $4, $5, 'expected', 1, $9), ($1, $2, $6, $7, $8, 'expected', 2, $9)",
        )
        .bind(clinic)
        .bind(visit.as_uuid())
        .bind(ParticipantId::from_uuid(patient).as_uuid())
        .bind(new.patient_id.as_uuid())
        .bind(ParticipantRole::Patient.as_str())
        .bind(ParticipantId::from_uuid(clinician).as_uuid())
        .bind(new.clinician_id.as_uuid())
        .bind(ParticipantRole::Clinician.as_str())
        .bind(now)
        .execute(self.db())
        .await?;
        Ok(())
    }
}
