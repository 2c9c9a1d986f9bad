//! The policy.

use super::Action::{self, *};
use super::Relation::{self, *};
use super::{Level, Principal, View};
use crate::audit::Purpose;
use crate::client::Scope;
use crate::{Role, Roles, SystemActor};

/// Whom a rule is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// People with any of these roles.
    Roles(Roles),
    /// Machines of the clinic with this scope.
    Client(Scope),
    /// A part of the system.
    System(SystemActor),
}

impl Who {
    pub(super) const fn is(&self, principal: &Principal) -> bool {
        match (self, principal) {
            (Self::Roles(wanted), Principal::Person { roles, .. }) => wanted.intersects(*roles),
            (Self::System(wanted), Principal::System(part)) => *wanted as u8 == *part as u8,
            (Self::Client(wanted), Principal::Client { scopes, .. }) => scopes.contains(*wanted),
            (Self::Roles(_) | Self::Client(_) | Self::System(_), _) => false,
        }
    }
}

/// One line of the policy: who may do what to whose things.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// The rule as a sentence.
    pub because: &'static str,
    /// Whom it is for.
    pub who: Who,
    /// What it lets them do.
    pub may: &'static [Action],
    /// To which things.
    pub to: Relation,
    /// For what.
    pub purpose: Purpose,
    /// How much of it they see.
    pub sees: View,
    /// Whether the patient must have agreed, as the thing's segment asks.
    pub consent: bool,
    /// How well they must have proved who they are.
    pub level: Level,
    /// Whether a role that needs a licence counts only with it. What people do with their own
    /// account, and to get the licence verified, comes before.
    pub acting: bool,
}

/// Everybody who can sign in.
const ANYONE: &[Role] = Role::ALL;
const PATIENT: &[Role] = &[Role::Patient];
const CLINICIAN: &[Role] = &[Role::Clinician];
/// Those who give care beside the clinician.
const CARE: &[Role] = &[Role::Clinician, Role::Nurse, Role::CareCoordinator];
/// Those who can be asked into a visit.
const CALLED_IN: &[Role] = &[
    Role::Clinician,
    Role::Nurse,
    Role::CareCoordinator,
    Role::Pharmacist,
];
/// Those who may not act before their licence is verified ([`crate::credential::LICENSED`]).
const LICENSED_ROLES: &[Role] = &[Role::Clinician, Role::Nurse, Role::Pharmacist];
/// Those who keep the calendar.
const DESK: &[Role] = &[Role::Admin, Role::Scheduler];
const ADMIN: &[Role] = &[Role::Admin];
/// Everybody who works here.
const STAFF: &[Role] = &[
    Role::Clinician,
    Role::Nurse,
    Role::Scheduler,
    Role::Pharmacist,
    Role::CareCoordinator,
    Role::Admin,
    Role::Support,
    Role::Auditor,
    Role::Sre,
];

/// What people do with their own session and factors.
const ACCOUNT: &[Action] = &[
    AuthSession,
    AuthLogout,
    MfaVerify,
    MfaPasskeyOptions,
    StepUp,
    FactorList,
    TotpBegin,
    TotpConfirm,
    TotpRemove,
    TotpRename,
    PasskeyBegin,
    PasskeyAdd,
    PasskeyRemove,
    PasskeyRename,
    RecoveryCodesReplace,
    PasswordChange,
    SessionList,
    SessionRevoke,
    SessionRevokeOthers,
    OidcLink,
    IdentityList,
    IdentityUnlink,
];
/// What those in a visit do there.
const TAKING_PART: &[Action] = &[
    VisitList,
    VisitPulses,
    VisitGet,
    VisitCheckIn,
    VisitEvents,
    MessageList,
    MessageCreate,
    SignalingCandidates,
    SignalingSession,
];
/// What is read of a patient's record from outside a visit.
const RECORD: &[Action] = &[AppointmentList, AppointmentGet, VisitGet, MessageList];
/// The life of an appointment.
const APPOINTMENT: &[Action] = &[
    AppointmentCreate,
    AppointmentList,
    AppointmentGet,
    AppointmentUpdate,
    AppointmentCancel,
];

/// The audit log, and what it takes to believe it without believing us.
const AUDIT: &[Action] = &[AuditList, AuditProve, AuditHeadGet, AuditConsistencyGet];

/// What is done about a patient's wish for a correction (45 CFR 164.526).
const CORRECTIONS: &[Action] = &[
    CorrectionList,
    CorrectionQueue,
    CorrectionAccept,
    CorrectionDecline,
];

/// Everything a record holds that has a listing of its own.
const WHOLE_RECORD: &[Action] = &[
    AppointmentList,
    AppointmentGet,
    VisitGet,
    MessageList,
    CareTeamList,
    ReferralList,
    ConsentList,
    BreakGlassList,
    DisclosureList,
    RecordAccessList,
    RecordRightsGet,
    RecordExportList,
    CorrectionList,
];

const fn rule(
    because: &'static str,
    who: &[Role],
    may: &'static [Action],
    to: Relation,
    purpose: Purpose,
) -> Rule {
    Rule {
        because,
        who: Who::Roles(Roles::of(who)),
        may,
        to,
        purpose,
        sees: View::Clinical,
        consent: false,
        level: Level::Session,
        acting: true,
    }
}

const fn system(because: &'static str, part: SystemActor, may: &'static [Action]) -> Rule {
    Rule {
        who: Who::System(part),
        ..rule(because, &[], may, Clinic, Purpose::Operations)
    }
}

const fn machine(because: &'static str, scope: Scope, may: &'static [Action], sees: View) -> Rule {
    Rule {
        who: Who::Client(scope),
        sees,
        ..rule(because, &[], may, Clinic, Purpose::Operations)
    }
}

impl Rule {
    const fn seeing(self, sees: View) -> Self {
        Self { sees, ..self }
    }

    const fn at(self, level: Level) -> Self {
        Self { level, ..self }
    }

    const fn before_licence(self) -> Self {
        Self {
            acting: false,
            ..self
        }
    }

    const fn with_consent(self) -> Self {
        Self {
            consent: true,
            ..self
        }
    }
}

/// Every rule there is. The first that fits is the one that goes into the audit log, so those
/// that say most about why come first, and broken glass comes after all of them.
#[rustfmt::skip]
pub const RULES: &[Rule] = &[
    // Oneself.
    rule("everybody has their own account", ANYONE, ACCOUNT, Oneself, Purpose::Security).before_licence(),
    rule("patients act on their own appointments", PATIENT, APPOINTMENT, Own, Purpose::PatientRequest),
    rule("patients take part in their visits", PATIENT, TAKING_PART, Participant, Purpose::PatientRequest),
    rule("patients see who may see their record, and decide on it", PATIENT,
        &[CareTeamList, ReferralList, ConsentList, ConsentRecord, BreakGlassList, RecordAccessList,
            DisclosureList, RecordRightsGet, RecordRightsSet], Own, Purpose::PatientRequest),
    rule("patients take a copy of their whole record", PATIENT,
        &[RecordExportCreate, RecordExportList, RecordExportGet, RecordExportDownload], Own, Purpose::PatientRequest),
    rule("patients ask for corrections, and may disagree", PATIENT,
        &[CorrectionCreate, CorrectionList, CorrectionDisagree], Own, Purpose::PatientRequest),

    // Treatment.
    rule("clinicians keep the appointments they are the clinician of", CLINICIAN, APPOINTMENT, Host, Purpose::Treatment),
    rule("clinicians label what they treat", CLINICIAN, &[AppointmentLabel], Host, Purpose::Treatment),
    rule("clinicians run their visits", CLINICIAN, &[VisitOpen, VisitAdmit, VisitEnd, ParticipantAdd], Host, Purpose::Treatment),
    rule("those called in take part", CALLED_IN, TAKING_PART, Participant, Purpose::Treatment),
    rule("the care team reads the record", CARE, RECORD, CareTeam, Purpose::Treatment).with_consent(),
    rule("care coordinators book for their patients", &[Role::CareCoordinator],
        &[AppointmentCreate, AppointmentUpdate, AppointmentCancel], CareTeam, Purpose::Treatment).with_consent(),
    rule("whom a patient was referred to reads the record", CLINICIAN, RECORD, Referral, Purpose::Treatment).with_consent(),
    rule("the care team knows who else is on it", CARE, &[CareTeamList, ReferralList, ConsentList], CareTeam, Purpose::Treatment),
    rule("who treats a patient knows who else does", CLINICIAN, &[CareTeamList, ReferralList, ConsentList], Treating, Purpose::Treatment),
    rule("who treats a patient refers them and asks others in", CLINICIAN,
        &[CareTeamAdd, CareTeamEnd, ReferralCreate, ReferralEnd, ConsentRecord], Treating, Purpose::Treatment),
    rule("clinicians of the care team refer and ask others in", CLINICIAN,
        &[CareTeamAdd, CareTeamEnd, ReferralCreate, ReferralEnd, ConsentRecord], CareTeam, Purpose::Treatment),
    rule("clinicians answer what those they treat want corrected", CLINICIAN, CORRECTIONS, Treating, Purpose::Treatment),
    rule("clinicians of the care team answer what is to be corrected", CLINICIAN, CORRECTIONS, CareTeam, Purpose::Treatment),

    // Running the clinic: who and when, not why.
    rule("admins know everybody, support helps with their accounts", &[Role::Admin, Role::Support],
        &[PersonList, PatientSearch], Clinic, Purpose::Operations).seeing(View::Administrative),
    rule("admins set the clinic up", ADMIN, &[ClinicGet, ClinicUpdate, OidcProviderGet, OidcProviderSet], Clinic, Purpose::Operations)
        .seeing(View::Administrative),
    rule("admins add people", ADMIN, &[PersonCreate, InvitationCreate], Clinic, Purpose::Operations).seeing(View::Administrative),
    rule("admins say what people are here, once they have proved themselves again", ADMIN, &[PersonUpdate], Clinic, Purpose::Operations)
        .seeing(View::Administrative).at(Level::StepUp),
    rule("who needs a licence states it", LICENSED_ROLES, &[CredentialSubmit, CredentialMine, CredentialWithdraw],
        Oneself, Purpose::Operations).before_licence(),
    rule("admins verify who may act as what", ADMIN, &[CredentialList, CredentialVerify, CredentialReject],
        Clinic, Purpose::Operations).seeing(View::Administrative),
    rule("who treats or books finds people by name",
        &[Role::Clinician, Role::Nurse, Role::CareCoordinator, Role::Pharmacist, Role::Scheduler],
        &[PersonList, PatientSearch], Clinic, Purpose::Operations).seeing(View::Names),
    rule("the desk keeps the calendar", DESK, APPOINTMENT, Clinic, Purpose::Operations).seeing(View::Administrative),
    rule("admins assign care teams", ADMIN, &[CareTeamList, CareTeamAdd, CareTeamEnd], Clinic, Purpose::Operations)
        .seeing(View::Administrative),
    rule("admins name the privacy officer", ADMIN, &[PrivacyOfficerSet], Clinic, Purpose::Operations).at(Level::StepUp),
    rule("everybody may know whom to turn to and what is signed", ANYONE, &[PrivacyOfficerGet, ConsentTextGet], Clinic, Purpose::Operations)
        .before_licence(),
    rule("the privacy officer settles broken glass, and knows what rests or goes", STAFF, &[BreakGlassAlerts, BreakGlassReview, RecordRightsGet], PrivacyOfficer, Purpose::Operations)
        .before_licence(),
    rule("auditors and admins read the audit log", &[Role::Auditor, Role::Admin], AUDIT, Clinic, Purpose::Operations)
        .seeing(View::Administrative),
    rule("auditors and admins take the audit log away, once they have proved themselves again",
        &[Role::Auditor, Role::Admin], &[AuditExport], Clinic, Purpose::Operations)
        .seeing(View::Administrative).at(Level::StepUp),
    rule("the privacy officer accounts for what left the clinic", STAFF,
        &[RecordAccessList, DisclosureList, DisclosureCreate], PrivacyOfficer, Purpose::Operations),
    rule("the privacy officer sees that corrections are answered in time", STAFF, CORRECTIONS, PrivacyOfficer, Purpose::Operations),
    rule("the privacy officer finds whose record it is, whatever else they are", STAFF, &[PatientSearch], PrivacyOfficer, Purpose::Operations)
        .seeing(View::Names),

    // Emergencies.
    rule("who gives care may break the glass", CARE, &[BreakGlassOpen], Clinic, Purpose::Emergency).at(Level::StepUp),
    rule("in an emergency, who gives care finds those whose record rests, too", CARE, &[PatientSearch], Clinic, Purpose::Emergency)
        .seeing(View::Names),
    rule("broken glass opens the record", CARE, RECORD, BreakGlass, Purpose::Emergency),

    rule("admins register the clinic's machines", ADMIN, &[ClientList, ClientGet], Clinic, Purpose::Operations)
        .seeing(View::Administrative),
    rule("and say what they may, once they have proved themselves again", ADMIN, &[ClientCreate, ClientUpdate],
        Clinic, Purpose::Operations).seeing(View::Administrative).at(Level::StepUp),

    // Machines of the clinic, each by what it was registered for: who and when, never why.
    machine("a machine that reads the calendar", Scope::AppointmentRead, &[AppointmentList, AppointmentGet],
        View::Administrative),
    machine("a machine that keeps the calendar", Scope::AppointmentWrite,
        &[AppointmentCreate, AppointmentUpdate, AppointmentCancel], View::Administrative),
    machine("a machine that finds patients by name", Scope::PatientSearch, &[PatientSearch], View::Names),
    machine("a machine that knows who can meet", Scope::PersonRead, &[PersonList], View::Names),
    machine("a machine that knows who cares for whom", Scope::CareTeamRead, &[CareTeamList], View::Administrative),
    machine("a machine that watches the audit log", Scope::AuditRead, AUDIT, View::Administrative),

    // The system itself.
    system("the seed fills an empty clinic", SystemActor::Seed, &[PersonCreate, AppointmentCreate]),
    system("whoever proved their mailbox registers as a patient", SystemActor::Registration, &[PersonRegister]),
    Rule {
        who: Who::System(SystemActor::Export),
        ..rule("a record is read whole for its patient who asked for a copy", &[], WHOLE_RECORD, Clinic, Purpose::PatientRequest)
    },
    system("the media plane reports who is connected", SystemActor::Media,
        &[ParticipantPresence, VisitGet, VisitEvents]),
];
