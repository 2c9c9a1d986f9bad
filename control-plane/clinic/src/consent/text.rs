//! The texts patients sign on a screen.
//!
//! A text never changes: a new wording is a new version, so that what somebody signed years ago
//! can be shown word for word. A test pins the digest of every version there is.

use super::{ConsentDecision, Segment};
use crate::audit::Purpose;
use crate::identity::Locale;

/// The wording people sign now.
pub const CONSENT_TEXT_LATEST: u32 = 1;

/// A text to sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsentText {
    /// Its name: purpose, segment, decision, language and version.
    pub document: String,
    /// The words.
    pub text: String,
}

/// The text of a version, if consent is asked for that purpose and there is such a version.
#[must_use]
pub fn consent_text(
    version: u32,
    purpose: Purpose,
    segment: Segment,
    decision: ConsentDecision,
    locale: Locale,
) -> Option<ConsentText> {
    if version != CONSENT_TEXT_LATEST {
        return None;
    }
    let aim = aim(purpose, locale)?;
    let part = part(segment, locale);
    let text = match (decision, locale) {
        (ConsentDecision::Granted, Locale::En) => format!(
            "I agree that the people of this clinic use and share {part} {aim}. I can withdraw this at any time; what was done before then stays lawful."
        ),
        (ConsentDecision::Withdrawn, Locale::En) => format!(
            "I do not agree, or no longer agree, that the people of this clinic use and share {part} {aim}. In an emergency it may still be opened; I am then told who did."
        ),
        (ConsentDecision::Granted, Locale::Es) => format!(
            "Acepto que el personal de esta clínica use y comparta {part} {aim}. Puedo retirarlo en cualquier momento; lo hecho hasta entonces sigue siendo lícito."
        ),
        (ConsentDecision::Withdrawn, Locale::Es) => format!(
            "No acepto, o ya no acepto, que el personal de esta clínica use y comparta {part} {aim}. En una emergencia aún puede abrirse; en ese caso se me dice quién lo hizo."
        ),
        (ConsentDecision::Granted, Locale::Fr) => format!(
            "J’accepte que le personnel de cet établissement utilise et partage {part} {aim}. Je peux retirer cet accord à tout moment ; ce qui a été fait avant reste licite."
        ),
        (ConsentDecision::Withdrawn, Locale::Fr) => format!(
            "Je n’accepte pas, ou plus, que le personnel de cet établissement utilise et partage {part} {aim}. En cas d’urgence il peut encore être ouvert ; je sais alors par qui."
        ),
    };
    let document = format!("{purpose}/{segment}/{decision}/{}/{version}", locale.as_str());
    Some(ConsentText { document, text })
}

const fn aim(purpose: Purpose, locale: Locale) -> Option<&'static str> {
    Some(match (purpose, locale) {
        (Purpose::Treatment, Locale::En) => "to treat me",
        (Purpose::Treatment, Locale::Es) => "para tratarme",
        (Purpose::Treatment, Locale::Fr) => "pour me soigner",
        (Purpose::Payment, Locale::En) => "to be paid for my care",
        (Purpose::Payment, Locale::Es) => "para cobrar mi atención",
        (Purpose::Payment, Locale::Fr) => "pour le règlement de mes soins",
        (Purpose::Operations, Locale::En) => "to run the clinic",
        (Purpose::Operations, Locale::Es) => "para gestionar la clínica",
        (Purpose::Operations, Locale::Fr) => "pour gérer l’établissement",
        (Purpose::PatientRequest | Purpose::Security | Purpose::Emergency, _) => return None,
    })
}

const fn part(segment: Segment, locale: Locale) -> &'static str {
    match (segment, locale) {
        (Segment::General, Locale::En) => "my health record",
        (Segment::General, Locale::Es) => "mi historia clínica",
        (Segment::General, Locale::Fr) => "mon dossier de santé",
        (Segment::Part2, Locale::En) => {
            "the part of my record about treatment of substance use (42 CFR Part 2)"
        }
        (Segment::Part2, Locale::Es) => {
            "la parte de mi historia sobre el tratamiento por consumo de sustancias (42 CFR Parte 2)"
        }
        (Segment::Part2, Locale::Fr) => {
            "la partie de mon dossier sur le traitement d’une addiction (42 CFR Part 2)"
        }
        (Segment::MentalHealth, Locale::En) => "the part of my record about mental health",
        (Segment::MentalHealth, Locale::Es) => "la parte de mi historia sobre salud mental",
        (Segment::MentalHealth, Locale::Fr) => "la partie de mon dossier sur la santé mentale",
        (Segment::ReproductiveHealth, Locale::En) => "the part of my record about reproductive health",
        (Segment::ReproductiveHealth, Locale::Es) => "la parte de mi historia sobre salud reproductiva",
        (Segment::ReproductiveHealth, Locale::Fr) => "la partie de mon dossier sur la santé reproductive",
        (Segment::Hiv, Locale::En) => "the part of my record about HIV",
        (Segment::Hiv, Locale::Es) => "la parte de mi historia sobre el VIH",
        (Segment::Hiv, Locale::Fr) => "la partie de mon dossier sur le VIH",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::CONSENT_PURPOSES;
    use super::*;

    fn every_text(version: u32) -> Vec<ConsentText> {
        let mut texts = Vec::new();
        for purpose in Purpose::ALL {
            for segment in Segment::ALL {
                for decision in ConsentDecision::ALL {
                    for locale in Locale::ALL {
                        let text = consent_text(version, *purpose, *segment, *decision, *locale);
                        assert_eq!(text.is_some(), CONSENT_PURPOSES.contains(purpose), "{purpose}");
                        texts.extend(text);
                    }
                }
            }
        }
        texts
    }

    #[test]
    fn every_text_has_a_name_and_words_of_its_own() {
        let texts = every_text(CONSENT_TEXT_LATEST);
        let names: BTreeSet<_> = texts.iter().map(|text| &text.document).collect();
        let words: BTreeSet<_> = texts.iter().map(|text| &text.text).collect();
        assert_eq!((names.len(), words.len()), (texts.len(), texts.len()));
        assert!(
            names
                .iter()
                .all(|name| name.len() <= super::super::DOCUMENT_CHARS_MAX)
        );
    }

    /// What was signed must stay readable: another wording is another version.
    #[test]
    fn the_words_of_a_version_never_change() {
        let all: String = every_text(1)
            .iter()
            .map(|text| format!("{}\n{}\n", text.document, text.text))
            .collect();
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, all.as_bytes());
        let hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            hex,
            "0500dcf6887b1b2040983bd9bff6799ff401dc4696f630bc77e4ae1e5ce92257"
        );
    }
}
