//! Clinics, people and their roles.

pub mod oidc;
pub mod passkey;

mod device;
mod factor_name;
mod link;
mod membership;
mod proof;
mod recovery;
mod registration;
mod totp;

use std::fmt;
use std::str::FromStr;

use medmesh_base::{ClinicId, PersonId, Phi, Region};
use serde::{Deserialize, Serialize};

use crate::word::words;
use crate::{Invalid, Version};

pub use device::device_label;
pub use factor_name::{FACTOR_NAME_CHARS_MAX, FactorName};
pub use link::{LinkMail, LinkPurpose, link_mail};
pub use membership::{Member, MemberChange, MemberContext, MemberNews, member_mail};
pub use proof::{
    Enrolled, Factor, Proofs, STEP_UP_WITHIN, Standing, is_fresh, needs_second_factor, standing, steps_up,
};
pub use recovery::{RECOVERY_CODE_BYTES, RECOVERY_CODES, RecoveryCode};
pub use registration::{REGISTRATION_LIFETIME, RegistrationMail, registration_mail};
pub use totp::{TOTP_DIGITS, TOTP_SECRET_BYTES, TOTP_STEP_SECONDS, TotpSecret, totp_step};

/// Longest mail address (RFC 5321 section 4.5.3.1.3: a path of 256 with its brackets).
pub const EMAIL_BYTES_MAX: usize = 254;

/// Longest name in characters: generous for real names, harmless in a tile.
pub const DISPLAY_NAME_CHARS_MAX: usize = 120;

words! {
    /// What a person is in one clinic. The server assigns it; a request never does.
    "role" Role {
        /// Receives care.
        Patient = "patient",
        /// Gives care.
        Clinician = "clinician",
        /// Gives care beside a clinician.
        Nurse = "nurse",
        /// Books times for others; sees when, not why.
        Scheduler = "scheduler",
        /// Fills prescriptions.
        Pharmacist = "pharmacist",
        /// Follows a patient's care from one place to the next.
        CareCoordinator = "care_coordinator",
        /// Runs the clinic: people and schedules, not what is said in visits.
        Admin = "admin",
        /// Helps people with their accounts.
        Support = "support",
        /// Reads the audit log, and nothing it is about.
        Auditor = "auditor",
        /// Keeps the machines running.
        Sre = "sre",
    }
}

words! {
    /// The language a person is addressed in.
    "locale" Locale {
        /// English.
        En = "en",
        /// Spanish.
        Es = "es",
        /// French.
        Fr = "fr",
    }
}

/// The roles of one person: a small set, in declaration order. One bit each; there are ten.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "Vec<Role>", into = "Vec<Role>")]
pub struct Roles(u16);

impl Roles {
    /// A set of one.
    #[must_use]
    pub const fn only(role: Role) -> Self {
        Self(1 << role as u8)
    }

    /// Whether one of them is another than [`Role::Patient`].
    #[must_use]
    pub const fn is_staff(self) -> bool {
        self.0 & !Self::only(Role::Patient).0 != 0
    }

    /// The set of these.
    #[must_use]
    pub const fn of(roles: &[Role]) -> Self {
        let (mut set, mut index) = (Self(0), 0);
        while index < roles.len() {
            set = set.with(roles[index]);
            index += 1;
        }
        set
    }

    /// The same set with `role` in it.
    #[must_use]
    pub const fn with(self, role: Role) -> Self {
        Self(self.0 | (1 << role as u8))
    }

    /// Whether `role` is in the set.
    #[must_use]
    pub const fn contains(self, role: Role) -> bool {
        self.0 & (1 << role as u8) != 0
    }

    /// Whether the two have a role in common.
    #[must_use]
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Those of the set that are not in the other.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether there is no role at all.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The roles in declaration order.
    pub fn iter(self) -> impl Iterator<Item = Role> {
        Role::ALL.iter().copied().filter(move |role| self.contains(*role))
    }
}

impl FromIterator<Role> for Roles {
    fn from_iter<I: IntoIterator<Item = Role>>(roles: I) -> Self {
        roles.into_iter().fold(Self::default(), Self::with)
    }
}

impl From<Vec<Role>> for Roles {
    fn from(roles: Vec<Role>) -> Self {
        roles.into_iter().collect()
    }
}

impl From<Roles> for Vec<Role> {
    fn from(roles: Roles) -> Self {
        roles.iter().collect()
    }
}

impl fmt::Debug for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// A mail address, lower-cased: what a person signs in with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Email(Phi<String>);

impl Email {
    /// The lower-cased address.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose()
    }
}

impl FromStr for Email {
    type Err = Invalid;

    /// Accepts what can be an address and lower-cases it. Whether mail arrives
    /// is for an invitation to find out, so the grammar is not relived here.
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let text = text.trim();
        let (local, domain) = text.rsplit_once('@').ok_or(Invalid::Email)?;
        let sound = text.len() <= EMAIL_BYTES_MAX
            && !local.is_empty()
            && !domain.is_empty()
            && !domain.starts_with('.')
            && !domain.ends_with('.')
            && !local.contains('@')
            && text.chars().all(|c| !c.is_whitespace() && !c.is_control());
        if !sound {
            return Err(Invalid::Email);
        }
        Ok(Self(Phi::new(text.to_lowercase())))
    }
}

/// A name as people read it, trimmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DisplayName(Phi<String>);

impl DisplayName {
    /// The name, for storing and showing.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose()
    }
}

impl FromStr for DisplayName {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let text = text.trim();
        let fits = (1..=DISPLAY_NAME_CHARS_MAX).contains(&text.chars().count());
        if fits && !text.chars().any(char::is_control) {
            Ok(Self(Phi::new(text.to_owned())))
        } else {
            Err(Invalid::DisplayName)
        }
    }
}

/// An IANA time zone name, e.g. `America/New_York`. Only its shape is checked
/// here; the database knows which zones exist and refuses the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeZone(String);

impl TimeZone {
    /// Longest name in bytes; the longest of the tz database has 32.
    pub const BYTES_MAX: usize = 64;

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TimeZone {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let fits = (1..=Self::BYTES_MAX).contains(&text.len());
        let plain = text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"/_+-".contains(&b));
        if fits && plain && text.starts_with(|c: char| c.is_ascii_alphabetic()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Invalid::TimeZone)
        }
    }
}

/// A clinic: the tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clinic {
    /// The tenant's id.
    pub id: ClinicId,
    /// What the clinic calls itself; public.
    pub name: String,
    /// The zone its days are counted in.
    pub time_zone: TimeZone,
    /// Where its rows, keys and media may live.
    pub home_region: Region,
}

/// A person as others in the clinic see them: an id and a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PersonRef {
    /// The person.
    pub id: PersonId,
    /// How they are called.
    pub display_name: Phi<String>,
}

/// A person of one clinic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// The person.
    pub id: PersonId,
    /// How they are called.
    pub display_name: Phi<String>,
    /// What they sign in with; only for those who may know it.
    pub email: Option<Phi<String>>,
    /// What they are here.
    pub roles: Roles,
    /// The language they are addressed in.
    pub locale: Locale,
    /// Whether they may sign in and be booked.
    pub active: bool,
    /// Grows with every change of what they are here.
    pub version: Version,
}

/// What it takes to add a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewPerson {
    /// How they are called.
    pub display_name: DisplayName,
    /// What they will sign in with.
    pub email: Email,
    /// What they are here; not empty.
    pub roles: Roles,
    /// The language they are addressed in.
    pub locale: Locale,
}

impl NewPerson {
    /// Checks what the types of the fields cannot.
    ///
    /// # Errors
    /// [`Invalid::Roles`] without any role.
    pub const fn check(&self) -> Result<(), Invalid> {
        if self.roles.is_empty() {
            Err(Invalid::Roles)
        } else {
            Ok(())
        }
    }
}
