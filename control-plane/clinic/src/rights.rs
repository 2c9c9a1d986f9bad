//! What patients may ask of their record as a whole.

use time::OffsetDateTime;

use crate::{Locale, Refusal, Version};

/// The name that stands where an erased person's did.
pub const ERASED_NAME: &str = "(erased)";

/// The address that stands where an erased person's did: nobody's (RFC 2606).
pub const ERASED_EMAIL: &str = "nobody@erased.invalid";

/// What a patient asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RightsChange {
    /// The record rests: only the patient, those they meet, and emergencies reach it.
    pub restricted: bool,
    /// It goes as soon as the law lets it, and rests until then.
    pub erasure: bool,
}

/// What a patient asked, since when, and what came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordRights {
    /// Since when the record rests (45 CFR 164.522(a), GDPR article 18).
    pub restricted_at: Option<OffsetDateTime>,
    /// Since when it is to go (GDPR article 17).
    pub erasure: Option<Erasure>,
    /// 0 until something was asked; grows by one with every write.
    pub version: Version,
}

/// A record that is to go, or went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Erasure {
    /// Since when.
    pub requested_at: OffsetDateTime,
    /// The law keeps the record until then.
    pub retained_until: OffsetDateTime,
    /// When the patient's key was destroyed.
    pub erased_at: Option<OffsetDateTime>,
}

impl RecordRights {
    /// Nothing asked.
    pub const NONE: Self = Self {
        restricted_at: None,
        erasure: None,
        version: Version(0),
    };

    /// The same after `change` at `now`; `retained_until` is until when the law keeps the record.
    ///
    /// # Errors
    /// [`Refusal::RecordErased`]: what is gone does not come back.
    pub fn changed(
        self,
        change: RightsChange,
        now: OffsetDateTime,
        retained_until: OffsetDateTime,
    ) -> Result<Self, Refusal> {
        if self.erasure.is_some_and(|erasure| erasure.erased_at.is_some()) {
            return Err(Refusal::RecordErased);
        }
        let rests = change.restricted || change.erasure;
        let erasure = change.erasure.then(|| Erasure {
            requested_at: self.erasure.map_or(now, |erasure| erasure.requested_at),
            retained_until,
            erased_at: None,
        });
        Ok(Self {
            restricted_at: rests.then(|| self.restricted_at.unwrap_or(now)),
            erasure,
            version: Version(self.version.0 + 1),
        })
    }
}

/// The mail that tells of an erasure which is put off because the clinic needs whom it is about: subject and
/// text. It says that somebody has to be put in their place, and not in whose.
#[must_use]
pub fn held_mail(locale: Locale, clinic: &str, link: &str) -> (String, String) {
    let clinic: String = clinic.chars().filter(|c| !c.is_control()).collect();
    let (subject, lead, end) = match locale {
        Locale::En => (
            format!("An erasure is put off at {clinic}"),
            "A record should have been erased, but its owner is the last administrator or the privacy officer. \
             Sign in and give that duty to somebody else; it is tried again every day:",
            "You get this mail because you look after privacy or administer this clinic.",
        ),
        Locale::Es => (
            format!("Se aplaza un borrado en {clinic}"),
            "Debía borrarse un historial, pero su titular es la última persona que administra la clínica o la responsable \
             de privacidad. Inicie sesión y encargue esa tarea a otra persona; se vuelve a intentar cada día:",
            "Recibe este mensaje porque se ocupa de la privacidad o administra esta clínica.",
        ),
        Locale::Fr => (
            format!("Un effacement est repoussé chez {clinic}"),
            "Un dossier devait être effacé, mais son titulaire est la dernière personne qui administre l’établissement ou \
             celle qui veille à la confidentialité. Connectez-vous et confiez cette charge à quelqu’un d’autre ; un nouvel \
             essai a lieu chaque jour :",
            "Vous recevez ce message parce que vous veillez à la confidentialité ou administrez cet établissement.",
        ),
    };
    (subject, format!("{lead}\n\n{link}\n\n{end}\n"))
}

#[cfg(test)]
mod tests {
    use time::Duration;

    use super::*;

    #[test]
    fn what_is_to_go_rests_and_both_can_be_taken_back_until_it_is_gone() {
        let now = OffsetDateTime::UNIX_EPOCH;
        let later = now + Duration::DAY;
        let ask = |restricted, erasure| RightsChange { restricted, erasure };
        let rests = RecordRights::NONE.changed(ask(true, false), now, later).unwrap();
        assert_eq!(
            (rests.restricted_at, rests.erasure, rests.version),
            (Some(now), None, Version(1))
        );
        let goes = rests.changed(ask(false, true), later, later).unwrap();
        assert_eq!(goes.restricted_at, Some(now), "it has rested since");
        assert_eq!(goes.erasure.unwrap().requested_at, later);
        assert_eq!(
            goes.changed(ask(false, false), later, later)
                .unwrap()
                .restricted_at,
            None
        );
        let gone = RecordRights {
            erasure: goes.erasure.map(|erasure| Erasure {
                erased_at: Some(later),
                ..erasure
            }),
            ..goes
        };
        assert_eq!(
            gone.changed(ask(false, false), later, later),
            Err(Refusal::RecordErased)
        );
    }

    #[test]
    fn the_mail_of_a_held_erasure_has_its_link_once_and_no_line_of_ours_in_its_subject() {
        let mut subjects = std::collections::BTreeSet::new();
        for locale in Locale::ALL {
            let (subject, text) = held_mail(
                *locale,
                "Harbour\r\nBcc: all@example.org",
                "https://portal.test/admin/",
            );
            assert_eq!(text.matches("https://portal.test/admin/").count(), 1);
            assert!(!subject.contains(['\r', '\n']), "{subject}");
            subjects.insert(subject);
        }
        assert_eq!(subjects.len(), Locale::ALL.len());
    }
}
