//! What was given to somebody outside the clinic: what a patient may have an account of for six
//! years (45 CFR 164.528).
//!
//! Care, payment and operations, and what the patient asked for, are not in the account
//! (164.528(a)(1)); who looked at the record inside is in the audit log.

use medmesh_base::{DisclosureId, Phi};
use time::{Duration, OffsetDateTime};

use crate::Invalid;
use crate::word::words;

/// How far back an account goes (45 CFR 164.528(a)(3)): six years, leap days included.
pub const ACCOUNTED_FOR: Duration = Duration::days(6 * 365 + 2);
/// Longest name or address of whom it was given to.
pub const RECIPIENT_CHARS_MAX: usize = 300;
/// Longest description of what was given, or of why.
pub const DISCLOSED_CHARS_MAX: usize = 1_000;

words! {
    /// What allowed it (45 CFR 164.512, with the paragraph of each).
    "basis of a disclosure" DisclosureBasis {
        /// A law demands it (a).
        RequiredByLaw = "required_by_law",
        /// Public health (b).
        PublicHealth = "public_health",
        /// Abuse, neglect or violence at home (c).
        Abuse = "abuse",
        /// Who oversees health care (d).
        Oversight = "oversight",
        /// A court (e).
        Judicial = "judicial",
        /// The police (f).
        LawEnforcement = "law_enforcement",
        /// Coroners and funeral directors (g).
        Decedent = "decedent",
        /// Organ donation (h).
        Donation = "donation",
        /// Research (i).
        Research = "research",
        /// A serious threat (j).
        Threat = "threat",
        /// Special functions of a government (k).
        Government = "government",
        /// Workers' compensation (l).
        WorkersCompensation = "workers_compensation",
        /// It should not have happened (a breach, 164.402).
        Breach = "breach",
    }
}

/// A text of bounded length without NUL, which no PostgreSQL text can hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DisclosureText(Phi<String>);

impl DisclosureText {
    /// Of at most `chars_max` characters.
    ///
    /// # Errors
    /// [`Invalid::Disclosure`].
    pub fn new(text: &str, chars_max: usize) -> Result<Self, Invalid> {
        let text = text.trim();
        let fits = (1..=chars_max).contains(&text.chars().count());
        if fits && !text.contains('\0') {
            Ok(Self(Phi::new(text.to_owned())))
        } else {
            Err(Invalid::Disclosure)
        }
    }

    /// The text, for storing and showing.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose()
    }
}

/// A disclosure to be noted: what 45 CFR 164.528(b)(2) asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewDisclosure {
    /// When it was given.
    pub disclosed_at: OffsetDateTime,
    /// To whom.
    pub recipient: DisclosureText,
    /// Their address, if known.
    pub address: Option<DisclosureText>,
    /// What was given.
    pub description: DisclosureText,
    /// Why.
    pub purpose: DisclosureText,
    /// What allowed it.
    pub basis: DisclosureBasis,
}

impl NewDisclosure {
    /// Whether it can be noted at `now`: it has happened, and an account would still show it.
    ///
    /// # Errors
    /// [`Invalid::DisclosedAt`].
    pub fn check(&self, now: OffsetDateTime) -> Result<(), Invalid> {
        if self.disclosed_at <= now && self.disclosed_at > now - ACCOUNTED_FOR {
            Ok(())
        } else {
            Err(Invalid::DisclosedAt)
        }
    }
}

/// A disclosure that was noted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disclosure {
    /// Which.
    pub id: DisclosureId,
    /// When it was given.
    pub disclosed_at: OffsetDateTime,
    /// To whom.
    pub recipient: Phi<String>,
    /// Their address, if known.
    pub address: Option<Phi<String>>,
    /// What was given.
    pub description: Phi<String>,
    /// Why.
    pub purpose: Phi<String>,
    /// What allowed it.
    pub basis: DisclosureBasis,
    /// When it was noted.
    pub recorded_at: OffsetDateTime,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(disclosed_at: OffsetDateTime) -> NewDisclosure {
        let text = |text| DisclosureText::new(text, DISCLOSED_CHARS_MAX).unwrap();
        NewDisclosure {
            disclosed_at,
            recipient: text("County health department"),
            address: None,
            description: text("a laboratory report"),
            purpose: text("a notifiable disease"),
            basis: DisclosureBasis::PublicHealth,
        }
    }

    #[test]
    fn an_account_goes_back_six_years_and_never_forward() {
        let now = OffsetDateTime::UNIX_EPOCH + Duration::days(20_000);
        for (disclosed_at, is_sound) in [
            (now, true),
            (now + Duration::SECOND, false),
            (now - Duration::days(6 * 365), true),
            (now - ACCOUNTED_FOR, false),
        ] {
            assert_eq!(at(disclosed_at).check(now).is_ok(), is_sound, "{disclosed_at}");
        }
    }

    #[test]
    fn texts_are_bounded() {
        assert!(DisclosureText::new(" \n", 10).is_err());
        assert!(DisclosureText::new("a\0b", 10).is_err());
        assert!(DisclosureText::new(&"é".repeat(11), 10).is_err());
        assert_eq!(DisclosureText::new(" é ", 1).unwrap().expose(), "é");
    }
}
