//! The clinical rules: who people are, when they meet, what a visit goes
//! through, what the audit log says about it.
//!
//! Pure: `now`, ids and the present state come in as arguments; a decision is
//! a value ([`Visit`] after the step) or a typed [`Refusal`]. It never reads a
//! clock, a database or a random number, and never formats health data: names,
//! reasons and message text stay inside [`medmesh_base::Phi`].
//!
//! Times are UTC. A clinic carries the name of its time zone; turning a local
//! day into instants needs the zone's history and is done by the store.

mod access;
mod attendance;
mod audience;
pub mod audit;
pub mod authz;
mod break_glass;
mod care;
pub mod client;
mod consent;
mod correction;
pub mod credential;
mod disclosure;
pub mod identity;
mod message;
mod record_export;
mod refusal;
mod rights;
mod rights_mail;
mod schedule;
pub mod search;
mod settings;
mod visit;
mod word;

pub use access::{Actor, Caller, ClientCaller, SystemActor};
pub use attendance::Attendance;
pub use audience::Audience;
pub use break_glass::{
    BREAK_GLASS_DEFAULT, BREAK_GLASS_MAX, BreakGlass, Finding, Review, alert_mail, reviewable,
};
pub use care::{CARE_TEAM, CareTeamMember, REFERRAL_DEFAULT, REFERRAL_MAX, Referral, carer, ends_at};
pub use consent::{
    CONSENT_PURPOSES, CONSENT_TEXT_LATEST, Consent, ConsentDecision, ConsentText, DOCUMENT_CHARS_MAX,
    Segment, Signature, SignedBy, consent_text,
};
pub use correction::{
    CORRECTION_CHARS_MAX, CORRECTION_DUE, CORRECTIONS_OPEN_MAX, Correction, CorrectionPhase, CorrectionState,
    CorrectionText, Decided, Disagreement, NewCorrection,
};
pub use credential::{Credential, CredentialKind, CredentialStatus};
pub use disclosure::{
    ACCOUNTED_FOR, DISCLOSED_CHARS_MAX, Disclosure, DisclosureBasis, DisclosureText, NewDisclosure,
    RECIPIENT_CHARS_MAX,
};
pub use identity::{
    Clinic, DISPLAY_NAME_CHARS_MAX, DisplayName, EMAIL_BYTES_MAX, Email, Locale, NewPerson, Person,
    PersonRef, Role, Roles, TimeZone,
};
pub use message::{MESSAGE_CHARS_MAX, Message, MessageBody};
pub use record_export::{EXPORT_KEPT, EXPORTS_KEPT_MAX, ExportState, RecordExport, SignedCopy};
pub use refusal::{Invalid, Refusal};
pub use rights::{ERASED_EMAIL, ERASED_NAME, Erasure, RecordRights, RightsChange, held_mail};
pub use rights_mail::{RightsNews, rights_mail};
pub use schedule::{
    Appointment, AppointmentStatus, BOOKING_HORIZON, PAST_GRACE, REASON_CHARS_MAX, Reason, SLOT_MAX,
    SLOT_MIN, Slot, Version,
};
pub use settings::{ClinicSettings, MEDIA_REGIONS_MAX, MediaRegions};
pub use visit::{
    CHECK_IN_LEAD, JOIN_LEAD, JoinWindow, OVERRUN_MAX, PARTICIPANTS_MAX, Participant, ParticipantRole,
    ParticipantState, Phase, SEATS_MAX, Visit, VisitState,
};
pub use word::UnknownWord;

#[cfg(test)]
mod tests;
