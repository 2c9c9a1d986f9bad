//! Looking at a record because it is urgent, and being asked about it afterwards.

use medmesh_base::{BreakGlassId, PersonId, Phi};
use time::{Duration, OffsetDateTime};

use crate::identity::Locale;
use crate::word::words;
use crate::{PersonRef, Refusal, Version};

/// How long broken glass stays open when nobody says: an emergency is handed over within the hour.
pub const BREAK_GLASS_DEFAULT: Duration = Duration::hours(1);

/// Longest it stays open: half a shift. Whoever still needs the record then says so again.
pub const BREAK_GLASS_MAX: Duration = Duration::hours(4);

words! {
    /// What the privacy officer found.
    "finding" Finding {
        /// It was an emergency.
        Justified = "justified",
        /// It was not.
        Unjustified = "unjustified",
    }
}

/// A broken glass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BreakGlass {
    /// Which.
    pub id: BreakGlassId,
    /// Whose record.
    pub patient: PersonRef,
    /// Who broke it.
    pub person: PersonRef,
    /// The reason they gave.
    pub reason: Phi<String>,
    /// Since when.
    pub opened_at: OffsetDateTime,
    /// Until when it opens the record.
    pub until_at: OffsetDateTime,
    /// What came of the review.
    pub review: Option<Review>,
    /// Grows by one with every write.
    pub version: Version,
}

/// What came of a review.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Review {
    /// What was found.
    pub finding: Finding,
    /// By whom.
    pub by: PersonRef,
    /// When.
    pub at: OffsetDateTime,
}

/// Whether `reviewer` may settle what `opener` did.
///
/// # Errors
/// [`Refusal::OwnAct`]: nobody settles what they did themselves.
pub fn reviewable(opener: PersonId, reviewer: PersonId) -> Result<(), Refusal> {
    if opener == reviewer {
        Err(Refusal::OwnAct)
    } else {
        Ok(())
    }
}

/// The mail that tells of broken glass: subject and text. It says that there is something to look
/// at and where, and nothing about whom: a mailbox is no place for health data.
#[must_use]
pub fn alert_mail(locale: Locale, clinic: &str, link: &str) -> (String, String) {
    let clinic: String = clinic.chars().filter(|c| !c.is_control()).collect();
    let (subject, lead, end) = match locale {
        Locale::En => (
            format!("Emergency access at {clinic}"),
            "Somebody opened a record in an emergency. Sign in to review it:",
            "You get this mail because you look after privacy at this clinic.",
        ),
        Locale::Es => (
            format!("Acceso de emergencia en {clinic}"),
            "Alguien ha abierto una historia clínica en una emergencia. Inicie sesión para revisarlo:",
            "Recibe este mensaje porque se ocupa de la privacidad en esta clínica.",
        ),
        Locale::Fr => (
            format!("Accès d’urgence chez {clinic}"),
            "Quelqu’un a ouvert un dossier en urgence. Connectez-vous pour l’examiner :",
            "Vous recevez ce message parce que vous veillez à la confidentialité dans cet établissement.",
        ),
    };
    (subject, format!("{lead}\n\n{link}\n\n{end}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_alert_has_its_link_once_and_a_subject_of_one_line() {
        let mut subjects = std::collections::BTreeSet::new();
        for locale in Locale::ALL {
            let (subject, text) = alert_mail(
                *locale,
                "Harbour\r\nBcc: all@example.org",
                "https://portal.test/admin/",
            );
            assert_eq!(text.matches("https://portal.test/admin/").count(), 1);
            assert!(!subject.contains(['\r', '\n']), "{subject}");
            subjects.insert(subject);
        }
        assert_eq!(
            subjects.len(),
            Locale::ALL.len(),
            "each language has its own words"
        );
    }
}
