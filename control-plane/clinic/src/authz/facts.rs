//! What a decision is made from.

use medmesh_base::{BreakGlassId, ClientId, PersonId};
use time::Duration;

use super::Action;
use crate::audit::Purpose;
use crate::client::Scopes;
use crate::credential::LICENSED;
use crate::identity::STEP_UP_WITHIN;
use crate::word::words;
use crate::{Actor, Roles, Segment, SystemActor};

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Principal {
    /// A person of the clinic.
    Person {
        /// Who.
        id: PersonId,
        /// What the server says they are.
        roles: Roles,
        /// In which of them they have what it takes, where it takes a licence.
        licensed: Roles,
    },
    /// A machine of the clinic.
    Client {
        /// Which.
        id: ClientId,
        /// What it may.
        scopes: Scopes,
    },
    /// A part of the system.
    System(SystemActor),
}

impl From<&Actor> for Principal {
    fn from(actor: &Actor) -> Self {
        match actor {
            Actor::Person(caller) => Self::Person {
                id: caller.person_id,
                roles: caller.roles,
                licensed: caller.licensed,
            },
            Actor::Client(caller) => Self::Client {
                id: caller.client_id,
                scopes: caller.scopes,
            },
            Actor::System(part) => Self::System(*part),
        }
    }
}

impl Principal {
    /// The same in those roles alone in which they may act: without a role whose licence nobody
    /// has verified.
    #[must_use]
    pub const fn acting(self) -> Self {
        match self {
            Self::Person { id, roles, licensed } => Self::Person {
                id,
                roles: roles.without(LICENSED.without(licensed)),
                licensed,
            },
            Self::Client { .. } | Self::System(_) => self,
        }
    }
}

words! {
    /// How the caller stands to the thing.
    "relation" Relation {
        /// It is of the caller's clinic. Always so: row-level security shows nothing else.
        Clinic = "clinic",
        /// It is the caller's own session or account: the operation takes whose it is from the
        /// session, and can reach no other. The route's declaration is the decision.
        Oneself = "oneself",
        /// It is the caller's own record.
        Own = "own",
        /// The caller is the clinician of this appointment or visit.
        Host = "host",
        /// The caller takes part in this visit.
        Participant = "participant",
        /// The caller has, or had, an appointment with the patient as their clinician.
        Treating = "treating",
        /// The caller is on the patient's care team now.
        CareTeam = "care_team",
        /// The patient was referred to the caller.
        Referral = "referral",
        /// The caller broke the glass, and it is still open.
        BreakGlass = "break_glass",
        /// The caller is the clinic's privacy officer.
        PrivacyOfficer = "privacy_officer",
    }
}

/// The relations that hold: a small set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Relations(u16);

impl Relations {
    /// A set of one.
    #[must_use]
    pub const fn only(relation: Relation) -> Self {
        Self(1 << relation as u16)
    }

    /// The same set with `relation` in it, if `holds`.
    #[must_use]
    pub const fn with(self, relation: Relation, holds: bool) -> Self {
        Self(self.0 | ((holds as u16) << relation as u16))
    }

    /// Whether `relation` holds.
    #[must_use]
    pub const fn contains(self, relation: Relation) -> bool {
        self.0 & (1 << relation as u16) != 0
    }
}

/// What kind of thing it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The clinic itself, or something that does not exist yet: nothing to hide.
    Clinic,
    /// A patient's record.
    Patient,
    /// An appointment.
    Appointment,
    /// A visit with its messages.
    Visit,
    /// A place on a care team.
    CareTeamMember,
    /// A referral.
    Referral,
    /// What a patient wants corrected.
    Correction,
}

impl Kind {
    /// The action whose leave is leave to know that the thing exists.
    #[must_use]
    pub const fn reading(self) -> Option<Action> {
        match self {
            Self::Clinic => None,
            Self::Patient => Some(Action::PersonList),
            Self::Appointment => Some(Action::AppointmentGet),
            Self::Visit => Some(Action::VisitGet),
            Self::CareTeamMember => Some(Action::CareTeamList),
            Self::Referral => Some(Action::ReferralList),
            Self::Correction => Some(Action::CorrectionList),
        }
    }
}

/// The thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resource {
    /// What kind.
    pub kind: Kind,
    /// Whose record it belongs to.
    pub patient: Option<PersonId>,
    /// How carefully it is kept.
    pub segment: Segment,
}

impl Resource {
    /// A thing of nobody's record and the general segment.
    #[must_use]
    pub const fn of(kind: Kind) -> Self {
        Self {
            kind,
            patient: None,
            segment: Segment::General,
        }
    }
}

/// What the patient said about this segment: purposes granted, and purposes withdrawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Consents {
    granted: u16,
    withdrawn: u16,
}

impl Consents {
    /// The same with this purpose granted.
    #[must_use]
    pub const fn granting(self, purpose: Purpose) -> Self {
        Self {
            granted: self.granted | (1 << purpose as u16),
            withdrawn: self.withdrawn & !(1 << purpose as u16),
        }
    }

    /// The same with this purpose withdrawn.
    #[must_use]
    pub const fn withdrawing(self, purpose: Purpose) -> Self {
        Self {
            granted: self.granted & !(1 << purpose as u16),
            withdrawn: self.withdrawn | (1 << purpose as u16),
        }
    }

    /// Whether a rule that needs consent may go on. Treatment needs none for the general
    /// segment (45 CFR 164.506(c)) unless the patient restricted it (164.522(a)); the
    /// others need one that was given (42 CFR 2.31, and what states ask alike).
    #[must_use]
    pub const fn allow(self, purpose: Purpose, segment: Segment) -> bool {
        match segment {
            Segment::General => self.withdrawn & (1 << purpose as u16) == 0,
            Segment::Part2 | Segment::MentalHealth | Segment::ReproductiveHealth | Segment::Hiv => {
                self.granted & (1 << purpose as u16) != 0
            }
        }
    }
}

/// How well the caller proved who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// A live session.
    Session,
    /// A session with a second factor.
    SecondFactor,
    /// A second factor given again within [`STEP_UP_WITHIN`].
    StepUp,
}

/// What the session shows of that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Assurance {
    /// A second factor was given.
    pub second_factor: bool,
    /// Time since a factor was last given on purpose, if ever.
    pub step_up_age: Option<Duration>,
}

impl Assurance {
    pub(super) fn reaches(self, level: Level) -> Result<(), Reason> {
        let fresh = self
            .step_up_age
            .is_some_and(|age| !age.is_negative() && age <= STEP_UP_WITHIN);
        match level {
            Level::Session => Ok(()),
            Level::SecondFactor | Level::StepUp if !self.second_factor => Err(Reason::SecondFactor),
            Level::StepUp if !fresh => Err(Reason::StepUp),
            Level::SecondFactor | Level::StepUp => Ok(()),
        }
    }
}

/// The circumstances.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Context {
    /// What the caller says it is for; only rules of that purpose then count.
    pub purpose: Option<Purpose>,
    /// What the patient agreed to.
    pub consents: Consents,
    /// How well the caller proved who they are.
    pub assurance: Assurance,
    /// The glass the caller broke for this patient, while it is open.
    pub break_glass: Option<BreakGlassId>,
    /// The patient lets their record rest.
    pub restricted: bool,
}

words! {
    /// What was missing. In the order of asking: the later, the nearer it was.
    "reason of a denial" Reason {
        /// No role of the caller includes this.
        Role = "role",
        /// The machine was not given the scope.
        Scope = "scope",
        /// The role needs a licence, and what it needs is not verified or has expired.
        Credential = "credential",
        /// Not for the purpose the caller named.
        Purpose = "purpose",
        /// The thing is not there, or not of this clinic.
        Unknown = "unknown",
        /// The caller has nothing to do with the thing.
        Relation = "relation",
        /// The patient has not agreed.
        Consent = "consent",
        /// The patient lets their record rest.
        Restricted = "restricted",
        /// A second factor is needed.
        SecondFactor = "second_factor",
        /// A fresh factor is needed.
        StepUp = "step_up",
    }
}

/// How much of a thing is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum View {
    /// All of it.
    Clinical,
    /// Who and when, how to reach them; not why.
    Administrative,
    /// Names only.
    Names,
}
