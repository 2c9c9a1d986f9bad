//! How a clinic is set up, for those who run it.

use garde::Validate;
use medmesh_base::{ClinicId, Region};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Most regions a clinic may name: as many as a room can be confined to.
pub const MEDIA_REGIONS_MAX: usize = 16;

/// A clinic with its settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ClinicSettings {
    /// Which clinic.
    #[schema(value_type = uuid::Uuid)]
    pub id: ClinicId,
    /// What it is called.
    pub name: String,
    /// IANA name of the zone its days are counted in.
    #[schema(example = "Europe/Berlin")]
    pub time_zone: String,
    /// Where its rows, keys and objects live.
    #[schema(value_type = String, example = "eu-central")]
    pub home_region: Region,
    /// Regions whose edges may carry its visits; empty is any.
    #[schema(value_type = Vec<String>)]
    pub media_regions: Vec<Region>,
    /// Whether patients may register themselves.
    #[serde(default)]
    #[schema(required)]
    pub self_registration: bool,
    /// Grows with every change; the `ETag` is this number in quotes.
    pub version: i64,
}

/// Changes of a clinic's settings; what is absent stays.
#[derive(Clone, Debug, Default, Serialize, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ClinicUpdate {
    /// Regions whose edges may carry its visits; empty is any. It holds for visits whose first
    /// participant joins afterwards: whoever is in a visit is not moved out of it.
    #[garde(inner(length(max = MEDIA_REGIONS_MAX)))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>, max_items = 16)]
    pub media_regions: Option<Vec<Region>>,
    /// Whether patients may register themselves. Needs a mail server.
    #[garde(skip)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub self_registration: Option<bool>,
}
