//! What somebody has proved about themselves, and what that lets a session do.
//!
//! A session remembers which factors it has seen and when the last one was. What it may do
//! follows from that, from what the person is and from what they have enrolled; nothing of
//! it is stored, so that a person who is given a role of staff is asked for their second
//! factor in the sessions they hold already.

use std::fmt;

use time::{Duration, OffsetDateTime};

use super::{Role, Roles};
use crate::word::words;

/// How recent a proof must be for an act that needs one: long enough to fill a form, too
/// short for whoever finds the screen unlocked after a break.
pub const STEP_UP_WITHIN: Duration = Duration::minutes(5);

words! {
    /// A way to prove who one is. The words follow RFC 8176 where it has one.
    "factor" Factor {
        /// Something known.
        Password = "pwd",
        /// A code of an authenticator app (RFC 6238).
        Totp = "otp",
        /// A passkey whose authenticator verified its owner: two factors in one gesture.
        Passkey = "pop",
        /// One of the codes printed for the day the device is lost.
        RecoveryCode = "rec",
        /// Whatever an outside provider asked for.
        Provider = "fed",
        /// Two factors at an outside provider, where the clinic takes its word for that.
        ProviderMultiFactor = "mfa",
    }
}

/// The factors a session has seen.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Proofs(u8);

impl Proofs {
    /// One factor.
    #[must_use]
    pub const fn only(factor: Factor) -> Self {
        Self(1 << factor as u8)
    }

    /// The same with `factor`.
    #[must_use]
    pub const fn with(self, factor: Factor) -> Self {
        Self(self.0 | (1 << factor as u8))
    }

    /// Whether `factor` was seen.
    #[must_use]
    pub const fn contains(self, factor: Factor) -> bool {
        self.0 & (1 << factor as u8) != 0
    }

    /// The factors, in declaration order.
    pub fn iter(self) -> impl Iterator<Item = Factor> {
        Factor::ALL
            .iter()
            .copied()
            .filter(move |factor| self.contains(*factor))
    }

    /// Whether two different kinds of factor were seen (NIST SP 800-63B-4 section 2.2, AAL2).
    #[must_use]
    pub const fn is_multi_factor(self) -> bool {
        let known = self.contains(Factor::Password) || self.contains(Factor::Provider);
        let held = self.contains(Factor::Totp) || self.contains(Factor::RecoveryCode);
        self.contains(Factor::Passkey) || self.contains(Factor::ProviderMultiFactor) || (known && held)
    }
}

impl FromIterator<Factor> for Proofs {
    fn from_iter<I: IntoIterator<Item = Factor>>(factors: I) -> Self {
        factors.into_iter().fold(Self::default(), Self::with)
    }
}

impl fmt::Debug for Proofs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// What a person can prove themselves with, beside a password.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Enrolled {
    /// Whether an authenticator app is set up.
    pub totp: bool,
    /// How many passkeys there are.
    pub passkeys: u32,
    /// How many recovery codes are unused.
    pub recovery_codes: u32,
}

impl Enrolled {
    /// Whether there is a second factor at all. Recovery codes only stand in for one.
    #[must_use]
    pub const fn has_second_factor(self) -> bool {
        self.totp || self.passkeys > 0
    }
}

/// What a session may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Everything its person may.
    Full,
    /// Prove a second factor, or end.
    SecondFactorDue,
    /// Enrol a second factor, or end.
    EnrolmentDue,
}

/// What a session with these proofs may do. Everyone but patients needs two factors, and so
/// does whoever has set up a second one.
#[must_use]
pub const fn standing(roles: Roles, proofs: Proofs, enrolled: Enrolled) -> Standing {
    if proofs.is_multi_factor() {
        Standing::Full
    } else if enrolled.has_second_factor() {
        Standing::SecondFactorDue
    } else if needs_second_factor(roles) {
        Standing::EnrolmentDue
    } else {
        Standing::Full
    }
}

/// Whether a second factor is mandatory: for everybody who is more than a patient. Somebody
/// without any role is not a patient either.
#[must_use]
pub const fn needs_second_factor(roles: Roles) -> bool {
    roles.0 != Roles::only(Role::Patient).0
}

/// Whether the last proof is recent enough. One from the future is not a proof.
#[must_use]
pub fn is_fresh(proved_at: OffsetDateTime, now: OffsetDateTime, within: Duration) -> bool {
    let age = now - proved_at;
    !age.is_negative() && age <= within
}

/// Whether `factor` suffices to prove oneself again: a second factor where there is one,
/// the password only where there is none.
#[must_use]
pub const fn steps_up(factor: Factor, enrolled: Enrolled) -> bool {
    match factor {
        Factor::Password | Factor::Provider => !enrolled.has_second_factor(),
        Factor::Totp | Factor::Passkey | Factor::RecoveryCode | Factor::ProviderMultiFactor => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Enrolled = Enrolled {
        totp: false,
        passkeys: 0,
        recovery_codes: 0,
    };
    const APP: Enrolled = Enrolled {
        totp: true,
        passkeys: 0,
        recovery_codes: 10,
    };
    const KEY: Enrolled = Enrolled {
        totp: false,
        passkeys: 1,
        recovery_codes: 0,
    };

    #[test]
    fn staff_with_a_password_alone_may_only_enrol_or_verify() {
        let password = Proofs::only(Factor::Password);
        for role in Role::ALL.iter().copied().filter(|role| *role != Role::Patient) {
            for roles in [Roles::only(role), Roles::only(role).with(Role::Patient)] {
                assert_eq!(
                    standing(roles, password, NONE),
                    Standing::EnrolmentDue,
                    "{roles:?}"
                );
                assert_eq!(standing(roles, password, APP), Standing::SecondFactorDue);
                assert_eq!(standing(roles, password, KEY), Standing::SecondFactorDue);
            }
        }
        assert_eq!(standing(Roles::default(), password, NONE), Standing::EnrolmentDue);
    }

    #[test]
    fn a_patient_decides_for_themselves() {
        let (patient, password) = (Roles::only(Role::Patient), Proofs::only(Factor::Password));
        assert_eq!(standing(patient, password, NONE), Standing::Full);
        assert_eq!(standing(patient, password, APP), Standing::SecondFactorDue);
    }

    #[test]
    fn two_factors_are_two_kinds() {
        let of = |factors: &[Factor]| factors.iter().copied().collect::<Proofs>().is_multi_factor();
        assert!(of(&[Factor::Passkey]));
        assert!(of(&[Factor::Password, Factor::Totp]));
        assert!(of(&[Factor::Password, Factor::RecoveryCode]));
        assert!(of(&[Factor::Provider, Factor::Totp]) && of(&[Factor::ProviderMultiFactor]));
        assert!(
            !of(&[Factor::Provider]) && !of(&[Factor::Provider, Factor::Password]),
            "both are what is known"
        );
        for one in [Factor::Password, Factor::Totp, Factor::RecoveryCode] {
            assert!(!of(&[one]), "{one}");
        }
        assert!(
            !of(&[Factor::Totp, Factor::RecoveryCode]),
            "both are held, nothing is known"
        );
        assert!(!of(&[]));
    }

    #[test]
    fn a_proof_is_fresh_up_to_its_age_and_not_before_it_was_made() {
        let now = OffsetDateTime::UNIX_EPOCH + Duration::days(1);
        assert!(is_fresh(now, now, STEP_UP_WITHIN));
        assert!(is_fresh(now - STEP_UP_WITHIN, now, STEP_UP_WITHIN));
        assert!(!is_fresh(
            now - STEP_UP_WITHIN - Duration::SECOND,
            now,
            STEP_UP_WITHIN
        ));
        assert!(!is_fresh(now + Duration::SECOND, now, STEP_UP_WITHIN));
    }

    #[test]
    fn a_password_steps_up_only_where_there_is_nothing_better() {
        assert!(steps_up(Factor::Password, NONE));
        assert!(!steps_up(Factor::Password, APP) && !steps_up(Factor::Password, KEY));
        assert!(steps_up(Factor::Totp, APP) && steps_up(Factor::Passkey, KEY));
    }
}
