//! What a clinic decides for itself.

use std::collections::BTreeSet;

use medmesh_base::Region;

use crate::{Clinic, Invalid, Version};

/// Most regions a clinic may name: as many as a room can be confined to.
pub const MEDIA_REGIONS_MAX: usize = 16;

/// The regions that may carry a clinic's visits, each once; empty is any.
///
/// Media is neither stored nor decrypted anywhere, but it passes through an edge's memory
/// and its wire, and some laws care where those stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MediaRegions(BTreeSet<Region>);

impl MediaRegions {
    /// A set of at most [`MEDIA_REGIONS_MAX`].
    ///
    /// # Errors
    /// [`Invalid`] when there are more.
    pub fn new(regions: impl IntoIterator<Item = Region>) -> Result<Self, Invalid> {
        let regions: BTreeSet<Region> = regions.into_iter().collect();
        if regions.len() > MEDIA_REGIONS_MAX {
            return Err(Invalid::MediaRegions);
        }
        Ok(Self(regions))
    }

    /// The regions, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Region> {
        self.0.iter()
    }

    /// The regions, in order.
    #[must_use]
    pub fn to_vec(&self) -> Vec<Region> {
        self.0.iter().cloned().collect()
    }
}

/// A clinic with its settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClinicSettings {
    /// The clinic.
    pub clinic: Clinic,
    /// Where its visits may run.
    pub media_regions: MediaRegions,
    /// Whether patients may register themselves.
    pub self_registration: bool,
    /// Rises with each change.
    pub version: Version,
}
