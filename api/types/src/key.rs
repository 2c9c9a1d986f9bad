//! Keys, as an operator sees them: versions and counts, no key.

use garde::Validate;
use medmesh_base::{ClinicId, PersonId};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

/// Every key there is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KeyList {
    /// Which driver holds the root: `file`, `transit` or `aws`.
    pub kms: String,
    /// The version of the root that wraps now; `null` while the KMS is away.
    #[schema(required)]
    pub root: Option<String>,
    /// Most messages one version may seal.
    pub seals_max: u64,
    /// The system's versions, then each clinic's, oldest first.
    pub keys: Vec<KeyVersion>,
}

/// One version of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KeyVersion {
    /// Whose; `null` for the system's.
    #[schema(required, value_type = Option<uuid::Uuid>)]
    pub clinic_id: Option<ClinicId>,
    /// Which version.
    pub version: u32,
    /// The version of the root that wraps it.
    pub root: String,
    /// Messages sealed under it.
    pub sealed: u64,
    /// Patients' keys wrapped by it.
    pub patients: u64,
    /// Version of the key patients are found by.
    pub index_version: u32,
    /// It opens nothing any more but audit events and stored answers.
    pub has_ended: bool,
    /// Since when.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
}

/// Which key to replace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "level", rename_all = "snake_case")]
pub enum KeySubject {
    /// The root, in the KMS.
    Root,
    /// The system's.
    System,
    /// A clinic's.
    Clinic {
        /// Whose.
        #[schema(value_type = uuid::Uuid)]
        clinic_id: ClinicId,
    },
    /// The key a clinic's patients are found by, and the clinic's own with it.
    Index {
        /// Whose.
        #[schema(value_type = uuid::Uuid)]
        clinic_id: ClinicId,
    },
    /// A patient's.
    Patient {
        /// Of which clinic.
        #[schema(value_type = uuid::Uuid)]
        clinic_id: ClinicId,
        /// Whose.
        #[schema(value_type = uuid::Uuid)]
        patient_id: PersonId,
    },
}

/// A rotation that is wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema, Validate)]
#[garde(allow_unvalidated)]
pub struct KeyRotationCreate {
    /// Which key.
    pub subject: KeySubject,
    /// Of the root: only make the new version, for a KMS whose file has to be copied first.
    #[serde(default)]
    pub without_rewrap: bool,
    /// Of the root: only wrap anew by the version there is.
    #[serde(default)]
    pub only_rewrap: bool,
}

/// A rotation that has begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KeyRotation {
    /// The version that seals from now on; 0 for the root.
    pub version: u32,
    /// Of the root: its version.
    #[schema(required)]
    pub root: Option<String>,
}

/// A clinic whose database was put back on purpose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
#[garde(allow_unvalidated)]
pub struct KeyRestored {
    /// Which.
    #[schema(value_type = uuid::Uuid)]
    pub clinic_id: ClinicId,
}

/// What holding the register of the erased against the database came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ErasuresHeld {
    /// Who is in the register.
    pub listed: u64,
    /// Who had come back, and was erased again.
    pub erased_again: u64,
    /// Who was erased and was not in it yet.
    pub added: u64,
    /// Objects in its place that this cluster did not write.
    pub unknown: u64,
    /// Entries somebody hid behind a delete marker: they count as if nobody had.
    pub hidden: u64,
}
