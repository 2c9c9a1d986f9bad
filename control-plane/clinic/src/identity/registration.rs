//! Patients who register themselves, and the mail that proves their mailbox.
//!
//! Whoever asks is told the same for every address; what there is to know, the mail says to
//! the mailbox's owner.

use time::Duration;

use super::{LinkMail, Locale};

/// How long the link to complete a registration is good, and how long what was asked for is
/// kept: until tomorrow, for a mailbox read once a day.
pub const REGISTRATION_LIFETIME: Duration = Duration::hours(24);

/// What the mail to whoever asked to register says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegistrationMail<'a> {
    /// Nobody has this address: the link completes the registration.
    Complete(&'a str),
    /// Somebody has: the link leads to where they sign in.
    Known(&'a str),
}

/// The mail, in the language of whoever asked.
#[must_use]
pub fn registration_mail(mail: RegistrationMail<'_>, locale: Locale, clinic: &str) -> LinkMail {
    let clinic: String = clinic.chars().filter(|c| !c.is_control()).collect();
    let (subject, lead, end) = match locale {
        Locale::En => (
            format!("Registering with {clinic}"),
            match mail {
                RegistrationMail::Complete(_) => {
                    format!("Somebody asked to register with {clinic} with this address. Open this link within a day to complete it:")
                }
                RegistrationMail::Known(_) => "This address has an account already. Sign in here, or ask for a new password there:".to_owned(),
            },
            "If it was not you, you need not do anything: nothing is kept.",
        ),
        Locale::Es => (
            format!("Registro en {clinic}"),
            match mail {
                RegistrationMail::Complete(_) => {
                    format!("Alguien ha pedido registrarse en {clinic} con esta dirección. Abra este enlace en el plazo de un día para completarlo:")
                }
                RegistrationMail::Known(_) => "Esta dirección ya tiene una cuenta. Inicie sesión aquí o pida allí una nueva contraseña:".to_owned(),
            },
            "Si no fue usted, no tiene que hacer nada: no se guarda nada.",
        ),
        Locale::Fr => (
            format!("Inscription chez {clinic}"),
            match mail {
                RegistrationMail::Complete(_) => {
                    format!("Quelqu’un a demandé à s’inscrire chez {clinic} avec cette adresse. Ouvrez ce lien d’ici demain pour terminer :")
                }
                RegistrationMail::Known(_) => "Cette adresse a déjà un compte. Connectez-vous ici, ou demandez-y un nouveau mot de passe :".to_owned(),
            },
            "Si ce n’était pas vous, vous n’avez rien à faire : rien n’est conservé.",
        ),
    };
    let (RegistrationMail::Complete(link) | RegistrationMail::Known(link)) = mail;
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
        for locale in Locale::ALL {
            let link = "https://example.org/patient/#register=abc";
            for kind in [RegistrationMail::Complete(link), RegistrationMail::Known(link)] {
                let mail = registration_mail(kind, *locale, "River\r\nBcc: x\nside");
                assert_eq!(mail.text.matches(link).count(), 1, "{locale}");
                assert!(
                    !mail.subject.contains(['\r', '\n']) && mail.subject.contains("River"),
                    "{locale}"
                );
            }
            let complete = registration_mail(RegistrationMail::Complete(link), *locale, "Riverside");
            let known = registration_mail(RegistrationMail::Known(link), *locale, "Riverside");
            assert_eq!(
                complete.subject, known.subject,
                "a list of subjects tells nothing"
            );
            assert_ne!(complete.text, known.text);
        }
    }
}
