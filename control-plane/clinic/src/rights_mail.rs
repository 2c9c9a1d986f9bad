//! Mail about what patients ask of their record: that there is something to look at and where, and
//! nothing about whom or what. A mailbox is no place for health data.

use crate::identity::Locale;
use crate::word::words;

words! {
    /// What is told.
    "news about a record" RightsNews {
        /// To whoever looks after privacy: a patient asks for a correction.
        CorrectionAsked = "correction_asked",
        /// To the patient: it was answered.
        CorrectionAnswered = "correction_answered",
        /// To the patient: their copy can be taken.
        ExportReady = "export_ready",
    }
}

impl RightsNews {
    /// The portal where there is more.
    #[must_use]
    pub const fn portal(self) -> &'static str {
        match self {
            Self::CorrectionAsked => "admin",
            Self::CorrectionAnswered | Self::ExportReady => "patient",
        }
    }
}

/// Subject and text.
#[must_use]
pub fn rights_mail(news: RightsNews, locale: Locale, clinic: &str, link: &str) -> (String, String) {
    let clinic: String = clinic.chars().filter(|c| !c.is_control()).collect();
    let (subject, lead) = words_for(news, locale);
    let end = match locale {
        Locale::En => "If you did not expect this mail, sign in and look at your devices.",
        Locale::Es => "Si no esperaba este mensaje, inicie sesión y revise sus dispositivos.",
        Locale::Fr => "Si vous n’attendiez pas ce message, connectez-vous et vérifiez vos appareils.",
    };
    (
        format!("{subject} – {clinic}"),
        format!("{lead}\n\n{link}\n\n{end}\n"),
    )
}

const fn words_for(news: RightsNews, locale: Locale) -> (&'static str, &'static str) {
    match (news, locale) {
        (RightsNews::CorrectionAsked, Locale::En) => (
            "A correction was asked for",
            "Somebody asks for a correction of their record. It must be answered within 60 days. Sign in to see it:",
        ),
        (RightsNews::CorrectionAsked, Locale::Es) => (
            "Se ha pedido una corrección",
            "Alguien pide una corrección de su historia clínica. Debe responderse en 60 días. Inicie sesión para verla:",
        ),
        (RightsNews::CorrectionAsked, Locale::Fr) => (
            "Une rectification est demandée",
            "Quelqu’un demande une rectification de son dossier. Il faut répondre sous 60 jours. Connectez-vous pour la voir :",
        ),
        (RightsNews::CorrectionAnswered, Locale::En) => (
            "Your request was answered",
            "There is an answer to your request for a correction. Sign in to read it:",
        ),
        (RightsNews::CorrectionAnswered, Locale::Es) => (
            "Su petición tiene respuesta",
            "Hay una respuesta a su petición de corrección. Inicie sesión para leerla:",
        ),
        (RightsNews::CorrectionAnswered, Locale::Fr) => (
            "Votre demande a reçu une réponse",
            "Il y a une réponse à votre demande de rectification. Connectez-vous pour la lire :",
        ),
        (RightsNews::ExportReady, Locale::En) => (
            "Your copy is ready",
            "The copy you asked for is ready and can be taken for seven days. Sign in to download it:",
        ),
        (RightsNews::ExportReady, Locale::Es) => (
            "Su copia está lista",
            "La copia que pidió está lista y puede descargarse durante siete días. Inicie sesión para descargarla:",
        ),
        (RightsNews::ExportReady, Locale::Fr) => (
            "Votre copie est prête",
            "La copie que vous avez demandée est prête et peut être téléchargée pendant sept jours. Connectez-vous :",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mail_has_its_link_once_and_a_subject_of_one_line() {
        let mut subjects = std::collections::BTreeSet::new();
        for news in RightsNews::ALL {
            for locale in Locale::ALL {
                let link = "https://portal.test/patient/";
                let (subject, text) = rights_mail(*news, *locale, "Harbour\r\nBcc: all@example.org", link);
                assert_eq!(text.matches(link).count(), 1);
                assert!(!subject.contains(['\r', '\n']), "{subject}");
                subjects.insert(subject);
            }
        }
        assert_eq!(subjects.len(), RightsNews::ALL.len() * Locale::ALL.len());
    }
}
