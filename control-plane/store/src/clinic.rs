//! The clinic itself, and its days.

use medmesh_base::{ClinicId, Region};
use medmesh_clinic::Clinic;
use time::{Date, OffsetDateTime};
use uuid::Uuid;

use crate::{Result, StoreError, Tx};

impl Tx {
    /// The clinic of this transaction.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when there is no such clinic.
    pub async fn clinic_get(&mut self) -> Result<Clinic> {
        let (id, name, time_zone, home_region): (Uuid, String, String, String) =
            sqlx::query_as("SELECT id, name, time_zone, home_region FROM clinic")
                .fetch_optional(self.db())
                .await?
                .ok_or(StoreError::NotFound)?;
        clinic_from(id, name, &time_zone, &home_region)
    }

    /// A day of the clinic (today without `day`) and the instants it begins and
    /// ends at: 23 to 25 hours, as its zone has it.
    pub(crate) async fn day_bounds(
        &mut self,
        day: Option<Date>,
    ) -> Result<(Date, OffsetDateTime, OffsetDateTime)> {
        let now = self.now();
        sqlx::query_as(
            "SELECT day, day::timestamp AT TIME ZONE time_zone, (day + 1)::timestamp AT TIME ZONE time_zone
             FROM (SELECT time_zone, coalesce($1, ($2 AT TIME ZONE time_zone)::date) AS day FROM clinic) c",
        )
        .bind(day)
        .bind(now)
        .fetch_optional(self.db())
        .await?
        .ok_or(StoreError::NotFound)
    }
}

pub(crate) fn clinic_from(id: Uuid, name: String, time_zone: &str, home_region: &str) -> Result<Clinic> {
    Ok(Clinic {
        id: ClinicId::from_uuid(id),
        name,
        time_zone: time_zone
            .parse()
            .map_err(|_| StoreError::corrupt("clinic.time_zone"))?,
        home_region: home_region
            .parse::<Region>()
            .map_err(|_| StoreError::corrupt("clinic.home_region"))?,
    })
}
