//! Links that set a password, and the mail they travel in.
//!
//! The mail says which clinic and what to do, and nothing else: whoever reads over a shoulder
//! or on a shared mailbox learns no more than that the address is known there.

use time::Duration;

use super::Locale;
use crate::word::words;

words! {
    /// Why somebody may set a password by a link.
    "link purpose" LinkPurpose {
        /// They were invited and have none yet.
        Invitation = "invitation",
        /// They forgot theirs.
        Reset = "reset",
    }
}

impl LinkPurpose {
    /// How long the link is good: an invitation waits for a week of holidays, a forgotten
    /// password only for the mail to arrive.
    #[must_use]
    pub const fn lifetime(self) -> Duration {
        match self {
            Self::Invitation => Duration::days(7),
            Self::Reset => Duration::minutes(15),
        }
    }
}

/// A mail, ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkMail {
    /// The subject.
    pub subject: String,
    /// Plain text.
    pub text: String,
}

/// The mail with a link, in the person's language.
#[must_use]
pub fn link_mail(purpose: LinkPurpose, locale: Locale, clinic: &str, link: &str) -> LinkMail {
    let clinic: String = clinic.chars().filter(|c| !c.is_control()).collect();
    let (subject, lead, end) = match (purpose, locale) {
        (LinkPurpose::Invitation, Locale::En) => (
            format!("Your account at {clinic}"),
            format!("{clinic} has made an account for you. Open this link within seven days and choose a password:"),
            "If you did not expect this, you need not do anything.",
        ),
        (LinkPurpose::Invitation, Locale::Es) => (
            format!("Su cuenta en {clinic}"),
            format!("{clinic} ha creado una cuenta para usted. Abra este enlace en un plazo de siete días y elija una contraseña:"),
            "Si no lo esperaba, no tiene que hacer nada.",
        ),
        (LinkPurpose::Invitation, Locale::Fr) => (
            format!("Votre compte chez {clinic}"),
            format!("{clinic} a créé un compte pour vous. Ouvrez ce lien dans les sept jours et choisissez un mot de passe :"),
            "Si vous ne vous y attendiez pas, vous n’avez rien à faire.",
        ),
        (LinkPurpose::Reset, Locale::En) => (
            format!("A new password for {clinic}"),
            "Somebody asked for a new password for this address. Open this link within fifteen minutes and choose one:".to_owned(),
            "If it was not you, you need not do anything: your password stays as it is.",
        ),
        (LinkPurpose::Reset, Locale::Es) => (
            format!("Nueva contraseña para {clinic}"),
            "Alguien ha pedido una nueva contraseña para esta dirección. Abra este enlace en un plazo de quince minutos y elija una:".to_owned(),
            "Si no fue usted, no tiene que hacer nada: su contraseña sigue igual.",
        ),
        (LinkPurpose::Reset, Locale::Fr) => (
            format!("Nouveau mot de passe pour {clinic}"),
            "Quelqu’un a demandé un nouveau mot de passe pour cette adresse. Ouvrez ce lien dans les quinze minutes et choisissez-en un :".to_owned(),
            "Si ce n’était pas vous, vous n’avez rien à faire : votre mot de passe reste le même.",
        ),
    };
    LinkMail {
        subject,
        text: format!("{lead}\n\n{link}\n\n{end}\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mail_has_its_link_once_and_a_subject_of_one_line() {
        for purpose in LinkPurpose::ALL {
            let mut subjects = std::collections::BTreeSet::new();
            for locale in Locale::ALL {
                let mail = link_mail(
                    *purpose,
                    *locale,
                    "Harbour\r\nBcc: all@example.org",
                    "https://portal.test/#x",
                );
                assert_eq!(mail.text.matches("https://portal.test/#x").count(), 1);
                assert!(!mail.subject.contains(['\r', '\n']), "{}", mail.subject);
                subjects.insert(mail.subject);
            }
            assert_eq!(
                subjects.len(),
                Locale::ALL.len(),
                "each language has its own words"
            );
        }
    }
}
