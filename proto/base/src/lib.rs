//! The vocabulary both planes share.
//!
//! Typed ids, [`Region`], the redacting wrapper [`Phi`], problem codes of the
//! public API, the [`drain`] handle every task hangs on, and how a process
//! starts to speak ([`telemetry`]).
//!
//! It never holds behaviour of either plane, and nothing here knows a
//! database, a socket or a web framework.

pub mod drain;
mod id;
pub mod media_token;
mod phi;
mod prefix;
mod problem;
mod region;
pub mod telemetry;

pub use id::{
    AccountId, AppointmentId, AuditId, BreakGlassId, CareTeamMemberId, ClientId, ClientKeyId, ClientTokenId,
    ClinicId, ConsentId, ControlId, CorrectionId, CredentialId, DisclosureId, EdgeId, IdError, IdentityId,
    JobId, MessageId, ParticipantId, PersonId, RecordExportId, ReferralId, RequestId, RoomId, SessionId,
    StorageId, VisitId,
};
pub use phi::Phi;
pub use prefix::ClientPrefix;
pub use problem::ProblemCode;
pub use region::{Region, RegionError};

#[cfg(test)]
mod tests;
