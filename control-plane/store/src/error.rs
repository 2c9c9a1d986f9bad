//! Why an operation failed, without a word of what was in the rows.

use medmesh_base::ProblemCode;
use medmesh_clinic::authz::{Action, Denial, Reason};
use medmesh_clinic::{Invalid, Refusal, Version};

/// What went wrong below: enough to find the cause, nothing of a row's content.
///
/// PostgreSQL puts values into an error's message and detail ("Key (email)=(…)
/// already exists"), so neither is kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// PostgreSQL refused a statement.
    #[error("database refused: SQLSTATE {code}, constraint {constraint:?}, table {table:?}")]
    Database {
        /// The five characters of the SQL standard.
        code: String,
        /// The constraint, when one was violated.
        constraint: Option<String>,
        /// The table, when it is known.
        table: Option<String>,
    },
    /// The connection or the pool failed.
    #[error("database connection: {0}")]
    Connection(String),
    /// A row holds what the code does not know; the schema is newer, or broken.
    #[error("unexpected content in column {0}")]
    Corrupt(&'static str),
    /// The keys of sealed columns cannot be had: the KMS is away, or refuses.
    #[error("keys: {0}")]
    Keys(String),
    /// A sealed value does not open in its place: it was moved, altered or put back.
    #[error("sealed value in column {0} does not open")]
    Sealed(&'static str),
    /// A request was to be committed whose action nobody decided on.
    #[error("the action {0} was not decided on")]
    Undecided(Action),
    /// The driver and the code disagree about types.
    #[error("driver: {0}")]
    Driver(String),
}

/// Why an operation of the store failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// It does not exist, or the actor may not know that it does.
    #[error("not found")]
    NotFound,
    /// The policy says no.
    #[error("denied")]
    Denied(Denial),
    /// A value breaks a rule of its type.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The domain says no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Someone else wrote in between.
    #[error("version mismatch")]
    VersionMismatch {
        /// What a new attempt has to name.
        current: Version,
    },
    /// Patient or clinician are busy in that time.
    #[error("slot taken")]
    SlotTaken,
    /// The address is in use.
    #[error("address in use")]
    EmailTaken,
    /// The passkey belongs to somebody already.
    #[error("passkey known")]
    PasskeyKnown,
    /// That key is being rotated already.
    #[error("rotation under way")]
    RotationUnderWay,
    /// The same idempotency key came with another request.
    #[error("idempotency key reused")]
    IdempotencyKeyReused,
    /// As much waits already as may wait.
    #[error("too much waits")]
    Crowded,
    /// A request with the same idempotency key is still running.
    #[error("request in flight")]
    RequestInFlight,
    /// The text is not a cursor of this listing.
    #[error("not a cursor of this listing")]
    CursorInvalid,
    /// Others held the rows for too long; nothing happened and a retry may succeed.
    #[error("contention: {0}")]
    Contention(Fault),
    /// The database is away or full.
    #[error("database unavailable: {0}")]
    Unavailable(Fault),
    /// A defect of ours.
    #[error("database misused: {0}")]
    Internal(Fault),
}

impl StoreError {
    /// The public code this error is answered with.
    #[must_use]
    pub const fn problem(&self) -> ProblemCode {
        match self {
            Self::NotFound | Self::Denied(Denial { hidden: true, .. }) => ProblemCode::NotFound,
            Self::Denied(denial) => match denial.reason {
                Reason::SecondFactor => ProblemCode::MfaRequired,
                Reason::StepUp => ProblemCode::StepUpRequired,
                Reason::Credential => ProblemCode::CredentialRequired,
                Reason::Role
                | Reason::Scope
                | Reason::Purpose
                | Reason::Unknown
                | Reason::Relation
                | Reason::Consent
                | Reason::Restricted => ProblemCode::Forbidden,
            },
            Self::Invalid(_) | Self::CursorInvalid => ProblemCode::InvalidRequest,
            Self::Refused(refusal) => refusal.problem(),
            Self::VersionMismatch { .. } => ProblemCode::VersionMismatch,
            Self::SlotTaken => ProblemCode::SlotTaken,
            Self::EmailTaken | Self::PasskeyKnown | Self::RotationUnderWay => ProblemCode::StateConflict,
            Self::IdempotencyKeyReused => ProblemCode::IdempotencyKeyReused,
            Self::RequestInFlight => ProblemCode::RequestInFlight,
            Self::Contention(_) | Self::Unavailable(_) | Self::Crowded => ProblemCode::Unavailable,
            Self::Internal(_) => ProblemCode::Internal,
        }
    }

    pub(crate) const fn corrupt(column: &'static str) -> Self {
        Self::Internal(Fault::Corrupt(column))
    }
}

/// Whether the row still is what the caller saw.
pub(crate) fn matching(if_match: Version, current: i64) -> Result<(), StoreError> {
    let current = Version(current);
    if if_match == current {
        Ok(())
    } else {
        Err(StoreError::VersionMismatch { current })
    }
}

macro_rules! constraints {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)+) => {
        /// The named constraints of the schema; a test compares the list with the catalogue.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Constraint { $($(#[$doc])* $variant,)+ }

        impl Constraint {
            /// Every constraint.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Its name in the schema.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }
        }
    };
}

constraints! {
    /// Nobody is in two places at once.
    SlotClaimNoOverlap = "slot_claim_no_overlap",
    /// A claim has two ends.
    SlotClaimBounded = "slot_claim_bounded",
    /// One account per address.
    AccountEmailKey = "account_email_key",
    /// A blind index has 32 bytes.
    AccountEmailIndexLength = "account_email_index_length",
    /// Versions of keys count from 1.
    SystemKeyVersionPositive = "system_key_version_positive",
    /// Versions of keys count from 1.
    ClinicKeyVersionPositive = "clinic_key_version_positive",
    /// Versions of keys count from 1.
    PatientKeyVersionPositive = "patient_key_version_positive",
    /// One person per account and clinic.
    PersonAccountKey = "person_account_key",
    /// Kinds are of the list.
    CredentialKindKnown = "credential_kind_known",
    /// Professions are of the list.
    CredentialProfessionKnown = "credential_profession_known",
    /// Statuses are of the list.
    CredentialStatusKnown = "credential_status_known",
    /// A credential has the parts of its kind.
    CredentialPartsSound = "credential_parts_sound",
    /// Decisions are of the list.
    CredentialDecisionKnown = "credential_decision_known",
    /// Who rejects says why.
    CredentialDecisionReasoned = "credential_decision_reasoned",
    /// One address is waited for once.
    RegistrationEmailKey = "registration_email_key",
    /// Links are told apart.
    RegistrationTokenKey = "registration_token_key",
    /// A keyed digest has 32 bytes.
    RegistrationEmailIndexLength = "registration_email_index_length",
    /// A SHA-256 has 32 bytes.
    RegistrationTokenLength = "registration_token_length",
    /// Settings have a bounded length.
    OidcProviderBounded = "oidc_provider_bounded",
    /// An outside identity is one person's.
    OidcIdentitySubjectKey = "oidc_identity_subject_key",
    /// A keyed digest has 32 bytes.
    OidcIdentitySubjectLength = "oidc_identity_subject_length",
    /// A client's id is its own in all clinics.
    OauthClientIdKey = "oauth_client_id_key",
    /// Names and lists have bounds.
    OauthClientBounded = "oauth_client_bounded",
    /// A client's keys are told apart.
    OauthClientKeyKidKey = "oauth_client_key_kid_key",
    /// Names of keys have bounds.
    OauthClientKeyBounded = "oauth_client_key_bounded",
    /// Tokens are unique.
    OauthTokenKey = "oauth_token_key",
    /// A SHA-256 has 32 bytes.
    OauthTokenLength = "oauth_token_length",
    /// Roles are of the list.
    PersonRoleKnown = "person_role_known",
    /// The zone is one PostgreSQL knows.
    ClinicTimeZoneExists = "clinic_time_zone_exists",
    /// Tokens are unique.
    SessionTokenKey = "session_token_key",
    /// A SHA-256 has 32 bytes.
    SessionTokenLength = "session_token_length",
    /// Links are told apart.
    AccountLinkTokenKey = "account_link_token_key",
    /// A SHA-256 has 32 bytes.
    AccountLinkTokenLength = "account_link_token_length",
    /// Purposes are of the list.
    AccountLinkPurposeKnown = "account_link_purpose_known",
    /// Proofs are of the list.
    SessionAmrKnown = "session_amr_known",
    /// A SHA-256 has 32 bytes.
    SessionPreviousLength = "session_previous_length",
    /// A passkey is one person's.
    PasskeyCredentialKey = "passkey_credential_key",
    /// Credential ids have a bounded length.
    PasskeyCredentialLength = "passkey_credential_length",
    /// A SHA-256 has 32 bytes.
    RecoveryCodeLength = "recovery_code_length",
    /// A SHA-256 has 32 bytes.
    UsedOnceLength = "used_once_length",
    /// Statuses are of the list.
    AppointmentStatusKnown = "appointment_status_known",
    /// Nobody visits themselves.
    AppointmentTwoPeople = "appointment_two_people",
    /// Time runs forward.
    AppointmentForward = "appointment_forward",
    /// One visit per appointment.
    VisitAppointmentKey = "visit_appointment_key",
    /// Rooms are unique.
    VisitRoomKey = "visit_room_key",
    /// A visit's times fit its state.
    VisitStateSound = "visit_state_sound",
    /// Participant ids are unique.
    VisitParticipantKey = "visit_participant_key",
    /// A person takes part once.
    VisitParticipantPersonKey = "visit_participant_person_key",
    /// Participant roles are of the list.
    VisitParticipantRoleKnown = "visit_participant_role_known",
    /// Participant states are of the list.
    VisitParticipantStateKnown = "visit_participant_state_known",
    /// Segments are of the list.
    AppointmentSegmentKnown = "appointment_segment_known",
    /// Only those who give care are on a care team.
    CareTeamRoleKnown = "care_team_role_known",
    /// Nobody is on their own care team.
    CareTeamTwoPeople = "care_team_two_people",
    /// Time runs forward.
    CareTeamForward = "care_team_forward",
    /// A person is on a care team once at a time.
    CareTeamOnce = "care_team_once",
    /// Nobody is referred to themselves, nor by themselves.
    ReferralOtherPeople = "referral_other_people",
    /// Time runs forward.
    ReferralForward = "referral_forward",
    /// Consents are numbered.
    ConsentVersionKey = "consent_version_key",
    /// Purposes are of the list.
    ConsentPurposeKnown = "consent_purpose_known",
    /// Segments are of the list.
    ConsentSegmentKnown = "consent_segment_known",
    /// Decisions are of the list.
    ConsentDecisionKnown = "consent_decision_known",
    /// Ways of signing are of the list.
    ConsentSignedByKnown = "consent_signed_by_known",
    /// A SHA-256 has 32 bytes.
    ConsentProofLength = "consent_proof_length",
    /// A SHA-256 has 32 bytes.
    ConsentTextLength = "consent_text_length",
    /// Who signs on a screen was signed in, under a text.
    ConsentSignatureSound = "consent_signature_sound",
    /// Time runs forward.
    BreakGlassForward = "break_glass_forward",
    /// A review is whole.
    BreakGlassReviewSound = "break_glass_review_sound",
    /// The ways a disclosure may be allowed are of the list.
    DisclosureBasisKnown = "disclosure_basis_known",
    /// A disclosure was made before it was noted.
    DisclosureForward = "disclosure_forward",
    /// What is to be erased rests, and has a date.
    RecordRightsErasureSound = "record_rights_erasure_sound",
    /// A retention has bounds.
    ClinicRetentionSound = "clinic_retention_sound",
    /// A denial says what was asked and what was missing.
    AuditDenialSound = "audit_denial_sound",
    /// A copy that is ready is signed, and has an end.
    RecordExportStateSound = "record_export_state_sound",
    /// What was answered says by whom, and what was declined why.
    CorrectionStateSound = "correction_state_sound",
    /// A statement has a time.
    CorrectionDisagreementSound = "correction_disagreement_sound",
    /// Nobody answers themselves.
    CorrectionTwoPeople = "correction_two_people",
    /// A document's name is there once, sealed or from before.
    ConsentDocumentOnce = "consent_document_once",
    /// Messages of a visit are numbered.
    MessageSequenceKey = "message_sequence_key",
    /// Keys have 8 to 64 characters.
    IdempotencyKeyLength = "idempotency_key_length",
    /// No effect without a replayable answer.
    IdempotencyAnswered = "idempotency_answered",
}

impl Constraint {
    fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|constraint| constraint.name() == name)
    }

    /// What its violation means to the caller. What types and locks already rule
    /// out is our defect, if it happens.
    fn violated(self, fault: Fault) -> StoreError {
        match self {
            Self::SlotClaimNoOverlap => StoreError::SlotTaken,
            Self::AccountEmailKey | Self::PersonAccountKey => StoreError::EmailTaken,
            Self::OidcIdentitySubjectKey => StoreError::Refused(Refusal::IdentityTaken),
            Self::PasskeyCredentialKey => StoreError::PasskeyKnown,
            Self::ClinicTimeZoneExists => StoreError::Invalid(Invalid::TimeZone),
            Self::AppointmentTwoPeople => StoreError::Refused(Refusal::SamePerson),
            Self::VisitParticipantPersonKey => StoreError::Refused(Refusal::AlreadyTakesPart),
            Self::CareTeamOnce => StoreError::Refused(Refusal::AlreadyOnTeam),
            Self::CorrectionTwoPeople => StoreError::Refused(Refusal::OwnAct),
            Self::CareTeamTwoPeople | Self::ReferralOtherPeople => {
                StoreError::Refused(Refusal::NotThemselves)
            }
            // Two at once; the later one may be meant otherwise now.
            Self::ConsentVersionKey | Self::RegistrationEmailKey => StoreError::Contention(fault),
            Self::SlotClaimBounded
            | Self::AccountEmailIndexLength
            | Self::SystemKeyVersionPositive
            | Self::ClinicKeyVersionPositive
            | Self::PatientKeyVersionPositive
            | Self::PersonRoleKnown
            | Self::OauthClientIdKey
            | Self::OauthClientBounded
            | Self::OauthClientKeyKidKey
            | Self::OauthClientKeyBounded
            | Self::OauthTokenKey
            | Self::OauthTokenLength
            | Self::OidcProviderBounded
            | Self::OidcIdentitySubjectLength
            | Self::RegistrationTokenKey
            | Self::RegistrationEmailIndexLength
            | Self::RegistrationTokenLength
            | Self::CredentialKindKnown
            | Self::CredentialProfessionKnown
            | Self::CredentialStatusKnown
            | Self::CredentialPartsSound
            | Self::CredentialDecisionKnown
            | Self::CredentialDecisionReasoned
            | Self::SessionTokenKey
            | Self::SessionTokenLength
            | Self::AccountLinkTokenKey
            | Self::AccountLinkTokenLength
            | Self::AccountLinkPurposeKnown
            | Self::SessionAmrKnown
            | Self::SessionPreviousLength
            | Self::PasskeyCredentialLength
            | Self::RecoveryCodeLength
            | Self::UsedOnceLength
            | Self::AppointmentStatusKnown
            | Self::AppointmentForward
            | Self::AppointmentSegmentKnown
            | Self::CareTeamRoleKnown
            | Self::CareTeamForward
            | Self::ReferralForward
            | Self::ConsentPurposeKnown
            | Self::ConsentSegmentKnown
            | Self::ConsentDecisionKnown
            | Self::ConsentSignedByKnown
            | Self::ConsentProofLength
            | Self::ConsentTextLength
            | Self::ConsentSignatureSound
            | Self::BreakGlassForward
            | Self::BreakGlassReviewSound
            | Self::RecordRightsErasureSound
            | Self::ClinicRetentionSound
            | Self::AuditDenialSound
            | Self::RecordExportStateSound
            | Self::CorrectionStateSound
            | Self::CorrectionDisagreementSound
            | Self::ConsentDocumentOnce
            | Self::DisclosureBasisKnown
            | Self::DisclosureForward
            | Self::VisitAppointmentKey
            | Self::VisitRoomKey
            | Self::VisitStateSound
            | Self::VisitParticipantKey
            | Self::VisitParticipantRoleKnown
            | Self::VisitParticipantStateKnown
            | Self::MessageSequenceKey
            | Self::IdempotencyKeyLength
            | Self::IdempotencyAnswered => StoreError::Internal(fault),
        }
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        let sqlx::Error::Database(database) = &error else {
            return from_driver(&error);
        };
        let code = database.code().unwrap_or_default().into_owned();
        let fault = Fault::Database {
            code: code.clone(),
            constraint: database.constraint().map(str::to_owned),
            table: database.table().map(str::to_owned),
        };
        if let Some(constraint) = database.constraint().and_then(Constraint::from_name) {
            return constraint.violated(fault);
        }
        match code.as_str() {
            // serialization_failure, deadlock_detected, lock_not_available
            "40001" | "40P01" | "55P03" => Self::Contention(fault),
            // query_canceled (our statement timeout), admin and crash shutdown, not ready yet,
            // idle_in_transaction_session_timeout
            "57014" | "57P01" | "57P02" | "57P03" | "25P03" => Self::Unavailable(fault),
            // connection_exception, insufficient_resources
            _ if code.starts_with("08") || code.starts_with("53") => Self::Unavailable(fault),
            _ => Self::Internal(fault),
        }
    }
}

fn from_driver(error: &sqlx::Error) -> StoreError {
    match error {
        sqlx::Error::RowNotFound => StoreError::NotFound,
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::BeginFailed => StoreError::Unavailable(Fault::Connection(error.to_string())),
        other => StoreError::Internal(Fault::Driver(other.to_string())),
    }
}

/// Why the store could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The URL does not parse. It may hold a password, so it is not repeated.
    #[error("the database URL is not valid")]
    Url,
    /// The database cannot be reached, or refuses us.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The role could read across clinics.
    #[error("the database role must not be a superuser, have BYPASSRLS, own tables or belong to their owner")]
    UnsafeRole,
    /// Migrations have not been run, or an older control plane meets a newer schema.
    #[error("the schema is at version {found}, this program needs {wanted}; run the migrations as the owner")]
    Schema {
        /// What the database has.
        found: i64,
        /// What this program was built for.
        wanted: i64,
    },
    /// A migration failed, or one that ran has changed since.
    #[error("migration: {0}")]
    Migration(String),
}

impl From<sqlx::Error> for SetupError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}
