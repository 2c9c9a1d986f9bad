//! Booked times.

use medmesh_api_types::appointment::{
    Appointment, AppointmentCancel, AppointmentCreate, AppointmentQuery, AppointmentUpdate,
};
use medmesh_api_types::page::Page;
use medmesh_base::AppointmentId;
use reqwest::Method;

use crate::clinic::{if_match, with_query};
use crate::transport::encode;
use crate::{ClientError, Clinic, IdempotencyKey};

impl Clinic {
    /// Books a time.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn appointment_create(
        &self,
        key: &IdempotencyKey,
        new: &AppointmentCreate,
    ) -> Result<Appointment, ClientError> {
        self.create("/v1/appointments", key, new).await
    }

    /// A page of appointments.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn appointment_list(&self, query: &AppointmentQuery) -> Result<Page<Appointment>, ClientError> {
        self.get(&with_query("/v1/appointments", query)?).await
    }

    /// One appointment.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn appointment_get(&self, id: AppointmentId) -> Result<Appointment, ClientError> {
        self.get(&format!("/v1/appointments/{id}")).await
    }

    /// Changes an appointment that is still at `version`.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn appointment_update(
        &self,
        id: AppointmentId,
        version: i64,
        update: &AppointmentUpdate,
    ) -> Result<Appointment, ClientError> {
        let path = format!("/v1/appointments/{id}");
        self.call(Method::PATCH, &path, if_match(version), Some(encode(update)?))
            .await
    }

    /// Calls an appointment off that is still at `version`.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn appointment_cancel(
        &self,
        id: AppointmentId,
        version: i64,
        cancel: &AppointmentCancel,
    ) -> Result<Appointment, ClientError> {
        let path = format!("/v1/appointments/{id}/cancel");
        self.call(Method::POST, &path, if_match(version), Some(encode(cancel)?))
            .await
    }
}
