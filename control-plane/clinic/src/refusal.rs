//! Why the domain says no.

use medmesh_base::ProblemCode;

use crate::client::KeyFault;

/// A value that breaks a rule of its type. Says which, never the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// Not an address `local@domain` of at most 254 bytes.
    #[error("not a mail address")]
    Email,
    /// Empty, too long, or with control characters.
    #[error("a name has 1 to 120 characters and no control characters")]
    DisplayName,
    /// Empty, too long, or with control characters.
    #[error("the name of a second factor has 1 to 60 characters and no control characters")]
    FactorName,
    /// Not the shape of an IANA time zone name.
    #[error("not the name of a time zone")]
    TimeZone,
    /// More regions than a room can be confined to.
    #[error("visits can be confined to at most 16 regions")]
    MediaRegions,
    /// A person needs at least one role.
    #[error("at least one role is needed")]
    Roles,
    /// The end is not after the start, or the length is out of bounds.
    #[error("an appointment takes 5 minutes to 8 hours")]
    Slot,
    /// Empty or too long.
    #[error("a reason has 1 to 500 characters")]
    Reason,
    /// Without a letter, or too long.
    #[error("a search has a letter and at most 120 characters")]
    Search,
    /// Not the postal code of a state or territory.
    #[error("not the code of a state")]
    State,
    /// Not the form of a licence number.
    #[error("a licence number has 1 to 30 letters and digits, at least one of them a digit")]
    License,
    /// Not ten digits that check themselves.
    #[error("not a National Provider Identifier")]
    Npi,
    /// Not two letters and seven digits that check themselves.
    #[error("not a DEA number of somebody who prescribes or dispenses")]
    Dea,
    /// A credential with a part missing, or one too many.
    #[error("a licence has profession, state and end, a DEA number state and end, an NPI none of them")]
    CredentialParts,
    /// Empty or too long.
    #[error("a message has 1 to 4000 characters")]
    MessageBody,
    /// Empty, too long, or with characters no database takes.
    #[error("a disclosure says to whom, what and why, each briefly")]
    Disclosure,
    /// Empty, too long, or with control characters.
    #[error("a client's name has 1 to 120 characters and no control characters")]
    ClientName,
    /// None, or one that is none.
    #[error("a client has at least one scope, of those there are")]
    ClientScopes,
    /// A key set that cannot be used.
    #[error(transparent)]
    ClientKeys(#[from] KeyFault),
    /// Empty, too long, or with characters no database takes.
    #[error("what is said about a correction has 1 to 2000 characters")]
    CorrectionText,
    /// In the future, or longer ago than an account goes back.
    #[error("a disclosure has happened, in the last six years")]
    DisclosedAt,
}

/// A well-formed request that a rule does not allow in the present state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The caller's role or part in the visit does not include this.
    #[error("the caller's role does not include this")]
    NotYours,
    /// Appointments start in the future.
    #[error("the time has passed")]
    SlotInPast,
    /// Further ahead than the booking horizon.
    #[error("the time is too far ahead")]
    SlotTooFar,
    /// The named person is not an active patient of this clinic.
    #[error("the person cannot be booked as a patient")]
    PatientUnsuitable,
    /// The named person is not an active clinician of this clinic.
    #[error("the person cannot be booked as a clinician")]
    ClinicianUnsuitable,
    /// The named person cannot be added to a visit.
    #[error("the person cannot take part")]
    ParticipantUnsuitable,
    /// Nobody visits themselves.
    #[error("patient and clinician are the same person")]
    SamePerson,
    /// The appointment was cancelled or is over.
    #[error("the appointment is no longer booked")]
    AppointmentClosed,
    /// The visit has begun; its time can no longer change.
    #[error("the visit has begun")]
    VisitBegun,
    /// The visit is over.
    #[error("the visit is over")]
    VisitEnded,
    /// The clinician has not opened the visit.
    #[error("the visit is not open")]
    VisitNotOpen,
    /// Earlier than the visit lets anyone in.
    #[error("it is too early")]
    TooEarly,
    /// Past the end of the visit's window.
    #[error("it is too late")]
    TooLate,
    /// The person is not in the waiting room.
    #[error("the person is not waiting")]
    NotWaiting,
    /// The patient or guest has not been let in.
    #[error("not admitted")]
    NotAdmitted,
    /// The visit has as many participants as a room carries.
    #[error("the visit is full")]
    VisitFull,
    /// The person takes part already.
    #[error("the person takes part already")]
    AlreadyTakesPart,
    /// Confirming a second factor that was not begun, or long ago.
    #[error("set the app up again")]
    EnrolmentNotBegun,
    /// Following a link that is used up.
    #[error("the link is no longer good")]
    LinkSpent,
    /// Removing the only second factor of somebody who must have one.
    #[error("add another second factor first")]
    LastFactor,
    /// More passkeys than one person keeps track of.
    #[error("remove a passkey first")]
    TooManyPasskeys,
    /// The person is on the care team already.
    #[error("the person is on the care team already")]
    AlreadyOnTeam,
    /// The person cannot be on a care team, or be referred to.
    #[error("the person does not give care here")]
    CarerUnsuitable,
    /// A time that is over, or too far away.
    #[error("the period is over, or too long")]
    PeriodUnsuitable,
    /// It has ended.
    #[error("it has ended already")]
    AlreadyEnded,
    /// A signature for somebody else, or without what would prove it.
    #[error("the signature does not prove who signed")]
    SignatureUnsound,
    /// What was on the screen is not the text that is signed today.
    #[error("the text to sign has changed")]
    ConsentTextOld,
    /// What is gone does not come back.
    #[error("the record is erased")]
    RecordErased,
    /// Settling what one did oneself.
    #[error("somebody else has to settle it")]
    OwnAct,
    /// Somebody settled it before.
    #[error("it is settled already")]
    AlreadySettled,
    /// Disagreeing with what was not declined.
    #[error("it was not declined")]
    NotDeclined,
    /// More corrections asked for at once than anybody answers.
    #[error("wait for those that were asked for")]
    TooManyCorrections,
    /// More copies of a record than anybody needs at once.
    #[error("take one of the copies that were made")]
    TooManyExports,
    /// It is not made yet.
    #[error("the copy is not ready")]
    ExportNotReady,
    /// The person does not work here.
    #[error("the person cannot look after privacy here")]
    OfficerUnsuitable,
    /// Another provider, or none yet, without its secret.
    #[error("the client's secret is needed")]
    SecretNeeded,
    /// The outside identity is linked to somebody else.
    #[error("that identity is linked to somebody else")]
    IdentityTaken,
    /// More outside identities than anybody has.
    #[error("too many identities")]
    TooManyIdentities,
    /// Judging one's own credential.
    #[error("somebody else has to verify it")]
    OwnCredential,
    /// The credential was decided on already.
    #[error("it was decided on already")]
    CredentialDecided,
    /// The credential's time is over.
    #[error("it has expired")]
    CredentialExpired,
    /// The credential ends further ahead than any does.
    #[error("it ends too far ahead")]
    CredentialTooLong,
    /// The same credential is waiting to be looked at.
    #[error("one like it is waiting to be verified")]
    CredentialPending,
    /// More credentials than anybody has.
    #[error("too many credentials")]
    TooManyCredentials,
    /// Giving oneself a role.
    #[error("somebody else has to give it")]
    OwnRaise,
    /// Taking the role of a patient from somebody who has a record.
    #[error("who has a record stays a patient")]
    PatientStays,
    /// Leaving a clinic without anybody who could run it.
    #[error("the clinic needs an admin who can sign in")]
    LastAdmin,
    /// Taking leave of whoever looks after privacy.
    #[error("name another privacy officer first")]
    StillOfficer,
    /// More machines than a clinic has.
    #[error("too many clients")]
    TooManyClients,
    /// Care for, or a referral to, oneself.
    #[error("that takes two people")]
    NotThemselves,
}

impl Refusal {
    /// The public code this refusal is answered with.
    #[must_use]
    pub const fn problem(self) -> ProblemCode {
        match self {
            Self::NotYours | Self::OwnCredential | Self::OwnRaise => ProblemCode::Forbidden,
            Self::SlotInPast
            | Self::SlotTooFar
            | Self::PatientUnsuitable
            | Self::ClinicianUnsuitable
            | Self::ParticipantUnsuitable
            | Self::CarerUnsuitable
            | Self::PeriodUnsuitable
            | Self::SignatureUnsound
            | Self::OwnAct
            | Self::OfficerUnsuitable
            | Self::NotThemselves
            | Self::PatientStays
            | Self::CredentialExpired
            | Self::CredentialTooLong
            | Self::SamePerson => ProblemCode::Unprocessable,
            Self::LinkSpent => ProblemCode::LinkSpent,
            Self::NotAdmitted => ProblemCode::NotAdmitted,
            Self::VisitFull => ProblemCode::VisitFull,
            Self::AppointmentClosed
            | Self::VisitBegun
            | Self::VisitEnded
            | Self::VisitNotOpen
            | Self::TooEarly
            | Self::TooLate
            | Self::NotWaiting
            | Self::AlreadyOnTeam
            | Self::AlreadyEnded
            | Self::ConsentTextOld
            | Self::RecordErased
            | Self::AlreadySettled
            | Self::NotDeclined
            | Self::TooManyCorrections
            | Self::TooManyExports
            | Self::ExportNotReady
            | Self::AlreadyTakesPart
            | Self::EnrolmentNotBegun
            | Self::LastFactor
            | Self::LastAdmin
            | Self::StillOfficer
            | Self::CredentialDecided
            | Self::CredentialPending
            | Self::TooManyCredentials
            | Self::TooManyClients
            | Self::SecretNeeded
            | Self::IdentityTaken
            | Self::TooManyIdentities
            | Self::TooManyPasskeys => ProblemCode::StateConflict,
        }
    }
}
