//! Everything that is kept about clinics, in PostgreSQL 15 or later.
//!
//! All SQL of the control plane is here, one file per aggregate, as methods of
//! [`Tx`]: a transaction of one clinic, one actor and one request.
//!
//! ```text
//! let store = Store::connect(url, 16, keyring).await?;
//! let mut tx = store.begin(session.clinic.id, Actor::Person(session.caller()), request_id).await?;
//! let visit = tx.visit_open(visit_id).await?;
//! tx.commit().await?;                       // effect, audit leaf and outbox row, or none of them
//! ```
//!
//! A read of health data writes an audit leaf too, so a transaction that only
//! read must be committed before its result is answered.
//!
//! What it never does: let a row cross clinics (row-level security is forced and
//! [`Store::connect`] refuses a role that could pass it), tell of things the actor
//! may not know (they are [`StoreError::NotFound`]), write an effect without its
//! leaf, or put health data into an error: what PostgreSQL says about a row's
//! content stops at [`Fault`].
//!
//! Columns that hold health data are sealed ([`Column`] lists them): each value is bound to
//! its clinic, row, column and version, under the key of the patient it is about, or
//! of the clinic. There is no way to write one in plain text.

mod account_link;
mod appointment;
mod audit;
mod break_glass;
mod bulk;
mod care_team;
mod client;
mod clinic;
mod consent;
mod correction;
mod credential;
mod disclosure;
#[cfg(feature = "embedded")]
pub mod embedded;
mod error;
mod factor;
mod factor_name;
mod idempotency;
mod job;
mod keys;
mod membership;
mod message;
mod object_storage;
mod oidc;
mod opening;
mod outbox;
mod page;
mod passkey;
mod person;
mod privacy_officer;
mod record_export;
mod referral;
mod registration;
mod relationship;
mod resting;
mod rights;
mod search;
pub mod seed;
mod session;
mod sessions;
mod slot;
mod store;
mod tx;
mod upkeep;
mod visit;

pub use account_link::{InvitationSend, Link, LinkToken, MailTo, ResetSend};
pub use appointment::{AppointmentChange, AppointmentFilter, NewAppointment};
pub use audit::{
    AUDIT_BATCH_MAX, AUDIT_EXPORT_MAX, AUDIT_READ_MAX, AuditBacklog, AuditContent, AuditCosigned,
    AuditFilter, AuditLead, AuditLeaf, AuditLogState, AuditTree, AuditView, Kept, LeafFault, LostMonth,
    Promise,
};
pub use break_glass::{BreakGlassAlert, NewBreakGlass};
pub use bulk::BULK_MAX;
pub use client::{AccessToken, CLIENTS_MAX, ClientAccess, TOKENS_MAX};
pub use consent::{NewConsent, consent_text_digest};
pub use credential::CredentialFilter;
pub use error::{Constraint, Fault, SetupError, StoreError};
pub use factor::{Factors, TOTP_PENDING_FOR, TotpEntry};
pub use idempotency::{Claim, IdempotencyKey, RequestDigest, StoredResponse, Ticket};
pub use job::{JOB_BATCH_MAX, JOB_LEASE, JOBS_PER_LIST_MAX, Job, JobCounts, JobKind, JobOptions, JobSummary};
pub use keys::{
    Column, KeySummary, Keyring, KeyringSettings, Owner, ROTATION_STEP_MAX, Rotation, RotationStep,
    RotationSubject,
};
pub use membership::MemberTell;
pub use message::MESSAGES_PER_LIST_MAX;
pub use oidc::{IDENTITIES_MAX, IdentityEntry, OidcClient, OidcProvider};
pub use opening::FirstAdmin;
pub use outbox::{Event, EventKind, Listener, OUTBOX_BATCH_MAX, OutboxCounts, Relay};
pub use page::{Cursor, PAGE_DEFAULT, PAGE_MAX, Page, PageRequest};
pub use passkey::{PASSKEYS_MAX, PasskeyEntry};
pub use person::Named;
pub use privacy_officer::PrivacyOfficer;
pub use record_export::{
    CopyForm, DeviceRow, FactorEntry, FactorRow, IdentityRow, RecordExportBuild, RecordExportRemove,
    RightsMail, WholePerson,
};
pub use registration::{ProvedRegistration, REGISTRATIONS_OPEN_MAX, Registration, RegistrationSend};
pub use relationship::{Leave, Target};
pub use rights::{Erased, ErasureHeld, RecordErase};
pub use search::{SEARCH_DEFAULT, SEARCH_MAX};
pub use session::{
    Login, Membership, PasswordHash, ROTATE_AGAIN, ROTATE_EVERY, ROTATION_OVERLAP, SESSION_IDLE,
    SESSION_LIFETIME, Session, SessionToken, TOUCH_EVERY,
};
pub use sessions::SessionEntry;
pub use store::{Reach, Store};
pub use tx::Tx;
pub use upkeep::{IDEMPOTENCY_KEPT, Upkeep};
pub use visit::{DayOfVisits, RoomLocation, VISITS_PER_DAY_MAX, VisitPulse};

/// What every operation of this crate gives back.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;
