//! What a machine may, in words of SMART App Launch 2 (`system/Resource.cruds`).

use std::fmt;
use std::str::FromStr;

use crate::word::words;

words! {
    /// One thing a machine may. The list is fixed; what each opens is in [`crate::authz::RULES`].
    "scope" Scope {
        /// See appointments: who and when, not why.
        AppointmentRead = "system/Appointment.rs",
        /// Book, move and call off appointments.
        AppointmentWrite = "system/Appointment.cu",
        /// Find patients by name.
        PatientSearch = "system/Patient.s",
        /// List who can meet in a visit, by name.
        PersonRead = "system/Person.rs",
        /// See who is on a patient's care team.
        CareTeamRead = "system/CareTeam.rs",
        /// Read the audit log.
        AuditRead = "system/AuditEvent.rs",
    }
}

/// Some scopes: a small set, in declaration order. One bit each.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Scopes(u16);

/// The text names a scope that there is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a known scope")]
pub struct UnknownScope;

impl Scopes {
    /// All of them.
    pub const ALL: Self = Self((1 << Scope::ALL.len()) - 1);

    /// A set of one.
    #[must_use]
    pub const fn only(scope: Scope) -> Self {
        Self(1 << scope as u8)
    }

    /// Whether `scope` is in the set.
    #[must_use]
    pub const fn contains(self, scope: Scope) -> bool {
        self.0 & (1 << scope as u8) != 0
    }

    /// Whether all of these are in the other set.
    #[must_use]
    pub const fn is_within(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }

    /// Whether there is none at all.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The scopes in declaration order.
    pub fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::ALL
            .iter()
            .copied()
            .filter(move |scope| self.contains(*scope))
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().fold(0, |set, scope| set | Self::only(scope).0))
    }
}

impl FromStr for Scopes {
    type Err = UnknownScope;

    /// Reads words with one space between them (RFC 6749 section 3.3).
    fn from_str(text: &str) -> Result<Self, UnknownScope> {
        let words = text.split(' ');
        words.map(|word| word.parse().map_err(|_| UnknownScope)).collect()
    }
}

impl fmt::Display for Scopes {
    /// Words with a space between them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, scope) in self.iter().enumerate() {
            let space = if n > 0 { " " } else { "" };
            write!(f, "{space}{scope}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}
