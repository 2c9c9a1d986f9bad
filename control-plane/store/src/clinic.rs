//! The clinic itself, and its days.

use medmesh_base::{ClinicId, Region};
use medmesh_clinic::audit::Action;
use medmesh_clinic::authz;
use medmesh_clinic::{Clinic, ClinicSettings, MediaRegions, Version};
use time::{Date, OffsetDateTime};
use uuid::Uuid;

use crate::relationship::Target;
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

    /// The clinic with its settings, for those who run it.
    ///
    /// # Errors
    /// [`StoreError::Denied`].
    pub async fn clinic_settings(&mut self) -> Result<ClinicSettings> {
        self.authorise(authz::Action::ClinicGet, Target::Clinic).await?;
        let clinic = self.clinic_get().await?;
        // Locked, so that a change of it is made to what was read.
        let (regions, self_registration, version): (Vec<String>, bool, i64) =
            sqlx::query_as("SELECT media_regions, self_registration, version FROM clinic FOR UPDATE")
                .fetch_one(self.db())
                .await?;
        Ok(ClinicSettings {
            clinic,
            media_regions: media_regions_from(&regions)?,
            self_registration,
            version: Version(version),
        })
    }

    /// Says where the clinic's visits may run and whether patients register themselves; `None` leaves
    /// it as it is.
    ///
    /// # Errors
    /// [`StoreError::VersionMismatch`], [`StoreError::Denied`].
    pub async fn clinic_update(
        &mut self,
        if_match: Version,
        media_regions: Option<MediaRegions>,
        self_registration: Option<bool>,
    ) -> Result<ClinicSettings> {
        self.authorise(authz::Action::ClinicUpdate, Target::Clinic)
            .await?;
        let before = self.clinic_settings().await?;
        if before.version != if_match {
            return Err(StoreError::VersionMismatch {
                current: before.version,
            });
        }
        let after = ClinicSettings {
            media_regions: media_regions.unwrap_or(before.media_regions),
            self_registration: self_registration.unwrap_or(before.self_registration),
            version: Version(before.version.0 + 1),
            clinic: before.clinic,
        };
        let regions: Vec<&str> = after.media_regions.iter().map(Region::as_str).collect();
        sqlx::query("UPDATE clinic SET media_regions = $1, version = $2, self_registration = $3")
            .bind(regions)
            .bind(after.version.0)
            .bind(after.self_registration)
            .execute(self.db())
            .await?;
        self.audit(Action::ClinicUpdate, self.clinic_id(), None).await?;
        Ok(after)
    }

    /// Where the clinic's visits may run; for whoever takes part in one.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when there is no such clinic.
    pub async fn media_regions(&mut self) -> Result<MediaRegions> {
        let regions: Vec<String> = sqlx::query_scalar("SELECT media_regions FROM clinic")
            .fetch_optional(self.db())
            .await?
            .ok_or(StoreError::NotFound)?;
        media_regions_from(&regions)
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

fn media_regions_from(names: &[String]) -> Result<MediaRegions> {
    let regions = names.iter().map(|name| name.parse());
    regions
        .collect::<Result<Vec<Region>, _>>()
        .ok()
        .and_then(|regions| MediaRegions::new(regions).ok())
        .ok_or(StoreError::corrupt("clinic.media_regions"))
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
