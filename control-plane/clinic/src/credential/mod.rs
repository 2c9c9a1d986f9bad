//! What lets somebody act as a clinician, nurse or pharmacist: licence, NPI and DEA number,
//! stated by the person and verified by somebody else.
//!
//! A role that needs a licence ([`LICENSED`]) is only a word until what it needs
//! ([`required`]) is verified and not past its end. [`licensed`] says which roles are more
//! than that; [`crate::authz`] takes it as a fact and lets nobody act as what they are not.

mod number;

use medmesh_base::{CredentialId, PersonId, Phi};
use time::{Date, Duration, OffsetDateTime};

use crate::word::words;
use crate::{Invalid, PersonRef, Reason, Refusal, Role, Roles, Version};

pub use number::LICENSE_CHARS_MAX;

/// Roles in which nobody may act before what they need is verified. A care coordinator follows
/// care and gives none, so needs none.
pub const LICENSED: Roles = Roles::of(&[Role::Clinician, Role::Nurse, Role::Pharmacist]);

/// Most credentials one person may have stated, the old ones included: every state, renewed, and
/// then some; whoever needs more talks to somebody.
pub const CREDENTIALS_MAX: i64 = 200;

/// Furthest end that is believed: the longest licences run ten years.
const EXPIRY_MAX: Duration = Duration::days(11 * 366);

words! {
    /// What it is.
    "credential kind" CredentialKind {
        /// Leave of a state to practise a profession.
        License = "license",
        /// National Provider Identifier.
        Npi = "npi",
        /// Registration to handle controlled substances in a state. No role needs one;
        /// prescribing them does.
        Dea = "dea",
    }
}

words! {
    /// How it stands.
    "credential status" CredentialStatus {
        /// Stated, and not looked at yet.
        Pending = "pending",
        /// Found true by an admin.
        Verified = "verified",
        /// Not found true, or no longer.
        Rejected = "rejected",
        /// Taken back by its owner.
        Withdrawn = "withdrawn",
        /// Was verified, and its time is over. Never stored: the calendar says it.
        Expired = "expired",
    }
}

/// What a role needs verified.
#[must_use]
pub const fn required(role: Role) -> &'static [CredentialKind] {
    match role {
        Role::Clinician => &[CredentialKind::License, CredentialKind::Npi],
        Role::Nurse | Role::Pharmacist => &[CredentialKind::License],
        Role::Patient
        | Role::Scheduler
        | Role::CareCoordinator
        | Role::Admin
        | Role::Support
        | Role::Auditor
        | Role::Sre => &[],
    }
}

/// A verified credential whose time is not over: its kind, and the profession of a licence.
pub type Held = (CredentialKind, Option<Role>);

/// The roles of [`LICENSED`] for which everything needed is held. A licence counts for its own
/// profession only.
#[must_use]
pub fn licensed(held: &[Held]) -> Roles {
    let has = |role: Role, kind: CredentialKind| {
        held.iter().any(|(held, profession)| {
            *held == kind && (kind != CredentialKind::License || *profession == Some(role))
        })
    };
    LICENSED
        .iter()
        .filter(|role| required(*role).iter().all(|kind| has(*role, *kind)))
        .collect()
}

/// What somebody states about themselves. Its parts fit its kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    kind: CredentialKind,
    profession: Option<Role>,
    state: Option<String>,
    number: Phi<String>,
    expires_on: Option<Date>,
}

impl Claim {
    /// A claim whose number checks itself. A licence has profession, state and end; a DEA number
    /// state and end; an NPI none of them.
    ///
    /// # Errors
    /// [`Invalid::State`], [`Invalid::License`], [`Invalid::Npi`], [`Invalid::Dea`];
    /// [`Invalid::CredentialParts`] when a part is missing or one too many.
    pub fn new(
        kind: CredentialKind,
        profession: Option<Role>,
        state: Option<&str>,
        number: &str,
        expires_on: Option<Date>,
    ) -> Result<Self, Invalid> {
        let whole = match kind {
            CredentialKind::License => profession.is_some() && state.is_some() && expires_on.is_some(),
            CredentialKind::Dea => profession.is_none() && state.is_some() && expires_on.is_some(),
            CredentialKind::Npi => profession.is_none() && state.is_none() && expires_on.is_none(),
        };
        if !whole || profession.is_some_and(|role| !LICENSED.contains(role)) {
            return Err(Invalid::CredentialParts);
        }
        let number = match kind {
            CredentialKind::License => number::license(number)?,
            CredentialKind::Npi => number::npi(number)?,
            CredentialKind::Dea => number::dea(number)?,
        };
        Ok(Self {
            kind,
            profession,
            state: state.map(number::state).transpose()?,
            number: Phi::new(number),
            expires_on,
        })
    }

    /// What a made-up person of this role shows, for the first people of a demo or a test: nobody
    /// else has looked at it.
    ///
    /// # Panics
    /// Never: the numbers are ours.
    #[must_use]
    pub fn made_up(role: Role) -> Vec<Self> {
        let end = Date::from_ordinal_date(2099, 1).expect("a day of the calendar");
        let claims = required(role).iter().map(|kind| match kind {
            CredentialKind::License => Self::new(*kind, Some(role), Some("NY"), "DEMO-000001", Some(end)),
            CredentialKind::Npi => Self::new(*kind, None, None, "1234567893", None),
            CredentialKind::Dea => Self::new(*kind, None, Some("NY"), "AB1234563", Some(end)),
        });
        claims
            .map(|claim| claim.expect("the numbers check themselves"))
            .collect()
    }

    /// What it is.
    #[must_use]
    pub const fn kind(&self) -> CredentialKind {
        self.kind
    }

    /// Whose profession a licence is for.
    #[must_use]
    pub const fn profession(&self) -> Option<Role> {
        self.profession
    }

    /// Postal code of the state that gave it.
    #[must_use]
    pub fn state(&self) -> Option<&str> {
        self.state.as_deref()
    }

    /// The number, upper case.
    #[must_use]
    pub const fn number(&self) -> &Phi<String> {
        &self.number
    }

    /// Its last day, in the clinic's zone.
    #[must_use]
    pub const fn expires_on(&self) -> Option<Date> {
        self.expires_on
    }

    /// Whether it can be stated today.
    ///
    /// # Errors
    /// [`Refusal::CredentialExpired`]; [`Refusal::CredentialTooLong`].
    pub fn current(&self, today: Date) -> Result<(), Refusal> {
        match self.expires_on {
            Some(end) if end < today => Err(Refusal::CredentialExpired),
            Some(end) if end - today > EXPIRY_MAX => Err(Refusal::CredentialTooLong),
            Some(_) | None => Ok(()),
        }
    }
}

/// What is decided about a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is true.
    Verify,
    /// It is not, or no longer.
    Reject(Reason),
    /// Its owner takes it back.
    Withdraw,
}

/// What was decided, when and by whom. They all stay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialDecision {
    /// How it stood from then on.
    pub status: CredentialStatus,
    /// When.
    pub decided_at: OffsetDateTime,
    /// By whom; nobody for what whoever opened the clinic vouched for.
    pub decided_by: Option<PersonId>,
    /// Why not.
    pub reason: Option<Phi<String>>,
}

/// A credential with its history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    /// Which.
    pub id: CredentialId,
    /// Whose.
    pub person: PersonRef,
    /// What was stated.
    pub claim: Claim,
    /// How it stands, the calendar considered.
    pub status: CredentialStatus,
    /// When it was stated.
    pub submitted_at: OffsetDateTime,
    /// What was decided, oldest first.
    pub decisions: Vec<CredentialDecision>,
    /// Rises with each decision.
    pub version: Version,
}

impl Credential {
    /// How a stored status reads today.
    #[must_use]
    pub fn status_on(stored: CredentialStatus, expires_on: Option<Date>, today: Date) -> CredentialStatus {
        match stored {
            CredentialStatus::Verified if expires_on.is_some_and(|end| end < today) => {
                CredentialStatus::Expired
            }
            stored => stored,
        }
    }

    /// How it stands after this. Nobody judges their own, and nobody takes back another's; what
    /// was verified can still be rejected, when the board says otherwise.
    ///
    /// # Errors
    /// [`Refusal::OwnCredential`], [`Refusal::NotYours`], [`Refusal::CredentialDecided`],
    /// [`Refusal::CredentialExpired`].
    pub fn decide(&self, by: PersonId, verdict: &Verdict, today: Date) -> Result<CredentialStatus, Refusal> {
        let own = by == self.person.id;
        match (verdict, self.status) {
            (Verdict::Withdraw, _) if !own => Err(Refusal::NotYours),
            (Verdict::Verify | Verdict::Reject(_), _) if own => Err(Refusal::OwnCredential),
            (Verdict::Withdraw, CredentialStatus::Pending | CredentialStatus::Verified) => {
                Ok(CredentialStatus::Withdrawn)
            }
            (Verdict::Verify, CredentialStatus::Pending) => {
                self.claim.current(today)?;
                Ok(CredentialStatus::Verified)
            }
            (Verdict::Reject(_), CredentialStatus::Pending | CredentialStatus::Verified) => {
                Ok(CredentialStatus::Rejected)
            }
            _ => Err(Refusal::CredentialDecided),
        }
    }
}

#[cfg(test)]
mod tests;
