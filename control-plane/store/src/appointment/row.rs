//! Between rows and the domain's appointment.

use medmesh_base::{AppointmentId, PersonId, VisitId};
use medmesh_clinic::{Appointment, PersonRef, Slot, Version};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::keys::{Column, Opener, Sealed};
use crate::person::sealed_name;
use crate::{Result, StoreError};

#[derive(sqlx::FromRow)]
pub(super) struct Row {
    pub(super) id: Uuid,
    pub(super) visit_id: Uuid,
    pub(super) patient_id: Uuid,
    pub(super) patient_name: Vec<u8>,
    pub(super) patient_seal: i64,
    pub(super) clinician_id: Uuid,
    pub(super) clinician_name: Vec<u8>,
    pub(super) clinician_seal: i64,
    pub(super) starts_at: OffsetDateTime,
    pub(super) ends_at: OffsetDateTime,
    pub(super) status: String,
    pub(super) reason: Option<Vec<u8>>,
    pub(super) seal_version: i64,
    pub(super) segment: String,
    pub(super) version: i64,
}

impl Row {
    fn patient_name(&self) -> Sealed<'_> {
        sealed_name(self.patient_id, self.patient_seal, &self.patient_name)
    }

    fn clinician_name(&self) -> Sealed<'_> {
        sealed_name(self.clinician_id, self.clinician_seal, &self.clinician_name)
    }

    fn sealed_reason(&self) -> Option<Sealed<'_>> {
        Some(Sealed {
            column: Column::AppointmentReason,
            row: self.id,
            version: self.seal_version,
            patient: Some(PersonId::from_uuid(self.patient_id)),
            bytes: self.reason.as_deref()?,
        })
    }

    pub(super) fn sealed(&self) -> impl Iterator<Item = Sealed<'_>> {
        let names = [self.patient_name(), self.clinician_name()];
        names.into_iter().chain(self.sealed_reason())
    }

    pub(super) fn appointment(&self, opener: &Opener) -> Result<Appointment> {
        let reason = self.sealed_reason();
        Ok(Appointment {
            id: AppointmentId::from_uuid(self.id),
            visit_id: VisitId::from_uuid(self.visit_id),
            patient: PersonRef {
                id: PersonId::from_uuid(self.patient_id),
                display_name: opener.text(&self.patient_name())?,
            },
            clinician: PersonRef {
                id: PersonId::from_uuid(self.clinician_id),
                display_name: opener.text(&self.clinician_name())?,
            },
            slot: Slot::new(self.starts_at, self.ends_at)
                .map_err(|_| StoreError::corrupt("appointment.starts_at"))?,
            status: self
                .status
                .parse()
                .map_err(|_| StoreError::corrupt("appointment.status"))?,
            reason: reason.map(|reason| opener.text(&reason)).transpose()?,
            segment: Some(
                self.segment
                    .parse()
                    .map_err(|_| StoreError::corrupt("appointment.segment"))?,
            ),
            version: Version(self.version),
        })
    }
}
