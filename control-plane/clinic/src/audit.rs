//! What the audit log says: who did what to which thing, why, in which request.
//!
//! Words and ids only. A leaf never carries a name, a reason or a message, so
//! that the log can be kept, copied and shown for longer than what it is about.

mod event;

use medmesh_base::{
    AppointmentId, BreakGlassId, CareTeamMemberId, ClientId, ClinicId, ConsentId, CorrectionId, CredentialId,
    DisclosureId, JobId, MessageId, ParticipantId, PersonId, RecordExportId, ReferralId, SessionId, VisitId,
};
use uuid::Uuid;

use crate::word::words;

pub use event::{Event, EventError, RolesHeld, SALT_BYTES};

words! {
    /// What was done. Reads of health data are actions too.
    "audit action" Action {
        /// Signed in.
        Login = "login",
        /// Gave a wrong password for an address that exists here.
        LoginRefused = "login_refused",
        /// Proved themselves with a second factor.
        SecondFactorVerify = "second_factor_verify",
        /// Failed to.
        SecondFactorRefused = "second_factor_refused",
        /// Set up a second factor.
        FactorEnrol = "factor_enrol",
        /// Removed one.
        FactorRemove = "factor_remove",
        /// Named one.
        FactorRename = "factor_rename",
        /// Was given recovery codes.
        RecoveryCodesCreate = "recovery_codes_create",
        /// Was given a link that sets a password.
        LinkIssue = "link_issue",
        /// Set a password.
        PasswordSet = "password_set",
        /// Signed out, or was signed out.
        SessionRevoke = "session_revoke",
        /// Added a person.
        PersonCreate = "person_create",
        /// Changed somebody's roles.
        PersonRolesChange = "person_roles_change",
        /// Ended somebody's membership.
        PersonDeactivate = "person_deactivate",
        /// Took it up again.
        PersonReactivate = "person_reactivate",
        /// Read people's names.
        PersonRead = "person_read",
        /// Linked an identity at an outside provider.
        IdentityLink = "identity_link",
        /// Forgot one.
        IdentityUnlink = "identity_unlink",
        /// Changed which outside provider people may sign in with.
        OidcProviderUpdate = "oidc_provider_update",
        /// Registered a machine of the clinic.
        ClientCreate = "client_create",
        /// Read which machines there are.
        ClientRead = "client_read",
        /// Changed a machine's name, or what it may.
        ClientUpdate = "client_update",
        /// Changed the keys a machine proves itself with.
        ClientKeysUpdate = "client_keys_update",
        /// Shut a machine out.
        ClientDisable = "client_disable",
        /// Let it in again.
        ClientEnable = "client_enable",
        /// A machine proved itself, and was given a token.
        ClientToken = "client_token",
        /// A machine's name was given with a proof that is none.
        ClientRefused = "client_refused",
        /// Stated a credential.
        CredentialSubmit = "credential_submit",
        /// Read credentials.
        CredentialRead = "credential_read",
        /// Found a credential true.
        CredentialVerify = "credential_verify",
        /// Found that it is not, or no longer.
        CredentialReject = "credential_reject",
        /// Took a credential back.
        CredentialWithdraw = "credential_withdraw",
        /// Booked.
        AppointmentCreate = "appointment_create",
        /// Read an appointment.
        AppointmentRead = "appointment_read",
        /// Changed time or reason.
        AppointmentUpdate = "appointment_update",
        /// Cancelled.
        AppointmentCancel = "appointment_cancel",
        /// Read a visit.
        VisitRead = "visit_read",
        /// Entered the waiting room.
        VisitCheckIn = "visit_check_in",
        /// Opened the visit.
        VisitOpen = "visit_open",
        /// Let somebody in.
        VisitAdmit = "visit_admit",
        /// Ended the visit.
        VisitEnd = "visit_end",
        /// Added a participant.
        ParticipantAdd = "participant_add",
        /// Connected to the room.
        ParticipantConnect = "participant_connect",
        /// Left the room.
        ParticipantDisconnect = "participant_disconnect",
        /// Wrote a message.
        MessageCreate = "message_create",
        /// Read messages.
        MessageRead = "message_read",
        /// Was given the keys to a room.
        SignalingSession = "signaling_session",
        /// Was given the stored answer to a repeated request.
        AnswerReplay = "answer_replay",
        /// Changed how the clinic is set up.
        ClinicUpdate = "clinic_update",
        /// Read who cares for a patient.
        CareTeamRead = "care_team_read",
        /// Put somebody on a care team.
        CareTeamAdd = "care_team_add",
        /// Took somebody off a care team.
        CareTeamEnd = "care_team_end",
        /// Read where a patient was referred.
        ReferralRead = "referral_read",
        /// Referred a patient.
        ReferralCreate = "referral_create",
        /// Took a referral back.
        ReferralEnd = "referral_end",
        /// Read what a patient agreed to.
        ConsentRead = "consent_read",
        /// Recorded what a patient said.
        ConsentRecord = "consent_record",
        /// Broke the glass.
        BreakGlassOpen = "break_glass_open",
        /// Read who broke the glass.
        BreakGlassRead = "break_glass_read",
        /// Settled a broken glass.
        BreakGlassReview = "break_glass_review",
        /// Read what a patient asked of their record.
        RecordRightsRead = "record_rights_read",
        /// Let the record rest.
        RecordRestrict = "record_restrict",
        /// Let it be used again.
        RecordRestrictionLift = "record_restriction_lift",
        /// Asked for the record to go.
        ErasureRequest = "erasure_request",
        /// Took that back.
        ErasureWithdraw = "erasure_withdraw",
        /// Destroyed the key of a record.
        RecordErase = "record_erase",
        /// Put an erasure off whose time had come: the clinic cannot do without them yet.
        RecordEraseHold = "record_erase_hold",
        /// Asked for a copy of their whole record.
        RecordExportCreate = "record_export_create",
        /// Read a whole record to make the copy its patient asked for.
        RecordExportBuild = "record_export_build",
        /// Read which copies there are.
        RecordExportRead = "record_export_read",
        /// Took a copy of a whole record away.
        RecordExport = "record_export",
        /// Asked for a correction.
        CorrectionCreate = "correction_create",
        /// Read what is to be corrected.
        CorrectionRead = "correction_read",
        /// Agreed to a correction.
        CorrectionAccept = "correction_accept",
        /// Declined a correction.
        CorrectionDecline = "correction_decline",
        /// Put on record that they disagree.
        CorrectionDisagree = "correction_disagree",
        /// Named the privacy officer.
        PrivacyOfficerSet = "privacy_officer_set",
        /// Fetched the clinic's key from where keys are kept: what it seals can be read there until it is forgotten.
        KeyOpen = "key_open",
        /// Had a key replaced.
        KeyRotate = "key_rotate",
        /// Ended older versions of a key.
        KeyRetire = "key_retire",
        /// Accepted the keys of a database that was put back.
        KeyRestore = "key_restore",
        /// Let work that was given up be tried again.
        JobRetry = "job_retry",
        /// Read the audit log.
        AuditRead = "audit_read",
        /// Had the whole log verified.
        AuditVerify = "audit_verify",
        /// Had a proof made of one entry.
        AuditProve = "audit_prove",
        /// Had another key sign the log.
        AuditKeyRotate = "audit_key_rotate",
        /// Let the log go on after its database was put back.
        AuditResume = "audit_resume",
        /// Took a copy of the log away.
        AuditExport = "audit_export",
        /// Noted that something of a record was given to somebody outside.
        DisclosureCreate = "disclosure_create",
        /// Read to whom a record was given.
        DisclosureRead = "disclosure_read",
        /// Asked for something and was not given it.
        Denied = "denied",
    }
}

impl Action {
    /// The acts whose event says what somebody was to the clinic and is from then on.
    pub const OF_ROLES: [Self; 4] = [
        Self::PersonCreate,
        Self::PersonRolesChange,
        Self::PersonDeactivate,
        Self::PersonReactivate,
    ];
}

words! {
    /// Why health data was touched (the purpose-of-use that regulations ask for).
    "audit purpose" Purpose {
        /// Care of the patient.
        Treatment = "treatment",
        /// The patient's own access.
        PatientRequest = "patient_request",
        /// Running the clinic.
        Operations = "operations",
        /// Signing in and out, guarding the system.
        Security = "security",
        /// An emergency that broke the glass.
        Emergency = "emergency",
        /// Being paid for care.
        Payment = "payment",
    }
}

words! {
    /// Which table of things an id points into.
    "audit object" ObjectKind {
        /// The clinic itself.
        Clinic = "clinic",
        /// A person.
        Person = "person",
        /// A session.
        Session = "session",
        /// An authenticator app or a passkey.
        Factor = "factor",
        /// A machine of the clinic.
        Client = "client",
        /// A licence, an NPI, a DEA number.
        Credential = "credential",
        /// An appointment.
        Appointment = "appointment",
        /// A visit.
        Visit = "visit",
        /// A participant of a visit.
        Participant = "participant",
        /// A message.
        Message = "message",
        /// A stored answer.
        Answer = "answer",
        /// A key: the patient's who is named, or else the clinic's.
        Key = "key",
        /// The audit log itself.
        Audit = "audit",
        /// A place on a care team.
        CareTeamMember = "care_team_member",
        /// A referral.
        Referral = "referral",
        /// What a patient agreed to.
        Consent = "consent",
        /// A broken glass.
        BreakGlass = "break_glass",
        /// Something that was given to somebody outside.
        Disclosure = "disclosure",
        /// A copy of a whole record.
        RecordExport = "record_export",
        /// What a patient wants corrected.
        Correction = "correction",
        /// Work that is done later.
        Job = "job",
    }
}

/// The thing an action was done to. A listing that found nothing names only the kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Object {
    /// What kind of thing.
    pub kind: ObjectKind,
    /// Which one.
    pub id: Option<Uuid>,
}

impl Object {
    /// A thing whose id has no type of its own.
    #[must_use]
    pub const fn of(kind: ObjectKind, id: Uuid) -> Self {
        Self { kind, id: Some(id) }
    }

    /// A kind of which a listing found none.
    #[must_use]
    pub const fn none_of(kind: ObjectKind) -> Self {
        Self { kind, id: None }
    }
}

words! {
    /// How it went.
    "audit outcome" Outcome {
        /// It was done.
        Done = "done",
        /// It was asked for and not given, or a proof of who one is was wrong.
        Refused = "refused",
    }
}

impl Outcome {
    /// The acts that end in this outcome; all others are [`Outcome::Done`].
    pub const REFUSALS: [Action; 4] = [
        Action::Denied,
        Action::LoginRefused,
        Action::SecondFactorRefused,
        Action::ClientRefused,
    ];

    /// Of an act's word.
    #[must_use]
    pub fn of(action: &str) -> Self {
        if Self::REFUSALS.iter().any(|refusal| refusal.as_str() == action) {
            Self::Refused
        } else {
            Self::Done
        }
    }
}

macro_rules! object_from {
    ($($id:ident => $kind:ident),+ $(,)?) => {$(
        impl From<$id> for Object {
            fn from(id: $id) -> Self {
                Self { kind: ObjectKind::$kind, id: Some(id.as_uuid()) }
            }
        }
    )+};
}

object_from! {
    ClinicId => Clinic,
    PersonId => Person,
    SessionId => Session,
    ClientId => Client,
    CredentialId => Credential,
    AppointmentId => Appointment,
    VisitId => Visit,
    ParticipantId => Participant,
    MessageId => Message,
    CareTeamMemberId => CareTeamMember,
    ReferralId => Referral,
    ConsentId => Consent,
    BreakGlassId => BreakGlass,
    DisclosureId => Disclosure,
    RecordExportId => RecordExport,
    CorrectionId => Correction,
    JobId => Job,
}
