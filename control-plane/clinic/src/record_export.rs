//! A copy of everything a record holds, made for its patient (45 CFR 164.524, GDPR articles 15 and 20).

use medmesh_base::{PersonId, RecordExportId};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::word::words;

/// How long a copy can be taken: long enough for whoever is told by mail, short enough that no heap of
/// copies lies about.
pub const EXPORT_KEPT: Duration = Duration::days(7);
/// Copies of one record at once: each is as large as the record.
pub const EXPORTS_KEPT_MAX: i64 = 5;

words! {
    /// How far it is.
    "state of an export" ExportState {
        /// It waits for its turn, or is being made.
        Queued = "queued",
        /// It can be taken.
        Ready = "ready",
        /// Its time is over.
        Gone = "gone",
    }
}

/// One form of a copy, signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedCopy {
    /// Plain bytes.
    pub size_bytes: u64,
    /// Detached JWS over exactly these bytes (RFC 7515 appendix F, RFC 7797).
    pub signature: String,
}

/// A copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordExport {
    /// Which.
    pub id: RecordExportId,
    /// Whose record.
    pub patient_id: PersonId,
    /// How far it is.
    pub state: ExportState,
    /// When it was asked for.
    pub requested_at: OffsetDateTime,
    /// When it was made.
    pub ready_at: Option<OffsetDateTime>,
    /// Until when it can be taken.
    pub expires_at: Option<OffsetDateTime>,
    /// Which making of it was finished first: part of its objects' names.
    pub object_id: Option<Uuid>,
    /// As JSON of this API.
    pub json: Option<SignedCopy>,
    /// As a FHIR R4 bundle.
    pub fhir: Option<SignedCopy>,
}

impl RecordExport {
    /// How far it is at `now`: what has expired is gone, also before it was cleared away.
    #[must_use]
    pub fn state_at(&self, now: OffsetDateTime) -> ExportState {
        match self.expires_at {
            Some(expires_at) if expires_at <= now => ExportState::Gone,
            _ => self.state,
        }
    }
}
