//! Who asks. What they may do is [`crate::authz`]'s to say.

use medmesh_base::{AccountId, ClientId, ClientTokenId, PersonId, SessionId};
use time::OffsetDateTime;

use crate::Roles;
use crate::client::Scopes;
use crate::word::words;

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
    /// Those of them that need a licence and have it verified ([`crate::credential::licensed`]).
    pub licensed: Roles,
    /// A second factor was given in this session.
    pub second_factor: bool,
    /// When a factor was last given on purpose.
    pub stepped_up_at: Option<OffsetDateTime>,
}

/// A machine of the clinic, as its access token says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientCaller {
    /// Which machine.
    pub client_id: ClientId,
    /// What it was let in with.
    pub token_id: ClientTokenId,
    /// What it may: what the token was given for and the machine still has.
    pub scopes: Scopes,
}

words! {
    /// A part of the system that acts on its own.
    "system actor" SystemActor {
        /// Filling an empty system with its first people.
        Seed = "seed",
        /// Signing in: the person is not known yet.
        Login = "login",
        /// Patients registering themselves: nobody is known before their mailbox is.
        Registration = "registration",
        /// The media plane, reporting who is connected.
        Media = "media",
        /// Regular upkeep.
        Upkeep = "upkeep",
        /// Making the copy of a record that its patient asked for.
        Export = "export",
        /// A control node that gets a clinic's keys, for whoever works there next.
        Keyring = "keyring",
        /// Whoever holds the operator's token.
        Operator = "operator",
    }
}

/// Whoever is behind a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Actor {
    /// A signed-in person.
    Person(Caller),
    /// A machine of the clinic.
    Client(ClientCaller),
    /// The system itself.
    System(SystemActor),
}

impl Actor {
    /// The person, if it is one.
    #[must_use]
    pub const fn caller(&self) -> Option<&Caller> {
        match self {
            Self::Person(caller) => Some(caller),
            Self::Client(_) | Self::System(_) => None,
        }
    }
}
