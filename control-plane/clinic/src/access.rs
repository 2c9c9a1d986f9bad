//! Who asks, and what their roles let them do.

use medmesh_base::{AccountId, PersonId, SessionId};

use crate::audit::Purpose;
use crate::word::words;
use crate::{Refusal, Role, Roles};

/// A signed-in person, as the session says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The login behind the session.
    pub account_id: AccountId,
    /// The person in this clinic.
    pub person_id: PersonId,
    /// The session.
    pub session_id: SessionId,
    /// What the server says they are.
    pub roles: Roles,
}

words! {
    /// A part of the system that acts on its own.
    "system actor" SystemActor {
        /// Filling an empty system with its first people.
        Seed = "seed",
        /// Signing in: the person is not known yet.
        Login = "login",
        /// The media plane, reporting who is connected.
        Media = "media",
        /// Regular upkeep.
        Upkeep = "upkeep",
        /// Whoever holds the operator's token.
        Operator = "operator",
    }
}

/// Whoever is behind a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Actor {
    /// A signed-in person.
    Person(Caller),
    /// The system itself.
    System(SystemActor),
}

impl Actor {
    /// The person, if it is one.
    #[must_use]
    pub const fn caller(&self) -> Option<&Caller> {
        match self {
            Self::Person(caller) => Some(caller),
            Self::System(_) => None,
        }
    }

    /// Why this actor touches health data, when nothing more specific is known.
    #[must_use]
    pub const fn purpose(&self) -> Purpose {
        match self {
            Self::System(_) => Purpose::Operations,
            Self::Person(caller) if caller.roles.contains(Role::Clinician) => Purpose::Treatment,
            Self::Person(caller) if caller.roles.contains(Role::Patient) => Purpose::PatientRequest,
            Self::Person(_) => Purpose::Operations,
        }
    }

    /// Which appointments this actor may know of.
    #[must_use]
    pub const fn appointments_visible(&self) -> Visible {
        match self {
            Self::System(_) => Visible::All,
            Self::Person(caller) if caller.roles.contains(Role::Admin) => Visible::All,
            Self::Person(caller) => Visible::TakingPart(caller.person_id),
        }
    }

    /// Which visits this actor may know of. What is said inside is not the admin's business.
    #[must_use]
    pub const fn visits_visible(&self) -> Visible {
        match self {
            Self::System(_) => Visible::All,
            Self::Person(caller) => Visible::TakingPart(caller.person_id),
        }
    }

    /// Which people this actor may list.
    ///
    /// # Errors
    /// [`Refusal::NotYours`] for those who are patients only.
    pub const fn people_visible(&self) -> Result<PeopleVisible, Refusal> {
        match self {
            Self::System(_) => Ok(PeopleVisible::AllWithEmail),
            Self::Person(caller) if caller.roles.contains(Role::Admin) => Ok(PeopleVisible::AllWithEmail),
            Self::Person(caller) if caller.roles.contains(Role::Clinician) => {
                Ok(PeopleVisible::PatientsAndClinicians)
            }
            Self::Person(_) => Err(Refusal::NotYours),
        }
    }

    /// Whether this actor may add people and hand out roles.
    ///
    /// # Errors
    /// [`Refusal::NotYours`] for everyone but admins.
    pub const fn may_manage_people(&self) -> Result<(), Refusal> {
        match self {
            Self::System(_) => Ok(()),
            Self::Person(caller) if caller.roles.contains(Role::Admin) => Ok(()),
            Self::Person(_) => Err(Refusal::NotYours),
        }
    }

    /// Whether this actor may see and change how the clinic is set up.
    ///
    /// # Errors
    /// [`Refusal::NotYours`] for everyone but admins.
    pub const fn may_manage_clinic(&self) -> Result<(), Refusal> {
        self.may_manage_people()
    }

    /// Whether this actor may book `patient` with `clinician`: patients for
    /// themselves, clinicians into their own calendar, admins for everybody.
    ///
    /// # Errors
    /// [`Refusal::SamePerson`], or [`Refusal::NotYours`].
    pub fn may_book(&self, patient: PersonId, clinician: PersonId) -> Result<(), Refusal> {
        if patient == clinician {
            return Err(Refusal::SamePerson);
        }
        let caller = match self {
            Self::System(_) => return Ok(()),
            Self::Person(caller) => caller,
        };
        let own_calendar = caller.roles.contains(Role::Clinician) && caller.person_id == clinician;
        let own_visit = caller.roles.contains(Role::Patient) && caller.person_id == patient;
        if own_calendar || own_visit || caller.roles.contains(Role::Admin) {
            Ok(())
        } else {
            Err(Refusal::NotYours)
        }
    }
}

/// Which rows an actor may know of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visible {
    /// Every row of the clinic.
    All,
    /// Those in which the person takes part.
    TakingPart(PersonId),
}

/// Which people an actor may list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeopleVisible {
    /// Everybody, with the address they sign in with.
    AllWithEmail,
    /// Those who can meet in a visit, without addresses.
    PatientsAndClinicians,
}
