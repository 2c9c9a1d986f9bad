//! What somebody is to a clinic, who may change it, and how they are told.

use medmesh_base::PersonId;

use super::{Locale, Role, Roles};
use crate::Refusal;
use crate::word::words;

/// What somebody is to a clinic now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Who.
    pub id: PersonId,
    /// What they are here.
    pub roles: Roles,
    /// Whether they may sign in and be booked.
    pub active: bool,
}

/// What they shall be; what is absent stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemberChange {
    /// Their roles from now on, all of them.
    pub roles: Option<Roles>,
    /// Whether they may sign in from now on.
    pub active: Option<bool>,
}

/// What has to be known beside the member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberContext {
    /// Whether there is another admin who could sign in today; for somebody who wants to be erased, one
    /// who does not want that too.
    pub other_admins: bool,
    /// Whether the member looks after privacy.
    pub is_privacy_officer: bool,
    /// Whether their record was erased.
    pub is_erased: bool,
}

words! {
    /// What the person is told by mail.
    "membership news" MemberNews {
        /// Their roles are others.
        Roles = "roles",
        /// They may no longer sign in.
        Deactivated = "deactivated",
        /// They may again.
        Reactivated = "reactivated",
    }
}

impl Member {
    /// The same after `change`, made by `by`, who may change members at all.
    ///
    /// # Errors
    /// [`Refusal::RecordErased`]; [`Refusal::OwnRaise`]: nobody gives themselves what they do not have;
    /// [`Refusal::PatientStays`]; [`Refusal::LastAdmin`]; [`Refusal::StillOfficer`].
    pub fn changed(
        self,
        by: PersonId,
        change: MemberChange,
        context: MemberContext,
    ) -> Result<Self, Refusal> {
        let after = Self {
            id: self.id,
            roles: change.roles.unwrap_or(self.roles),
            active: change.active.unwrap_or(self.active),
        };
        if after == self {
            return Ok(after);
        }
        if context.is_erased {
            return Err(Refusal::RecordErased);
        }
        let given = after.roles.without(self.roles);
        if by == self.id && !given.is_empty() {
            return Err(Refusal::OwnRaise);
        }
        // Whoever has been a patient has a record, which stays theirs.
        if self.roles.without(after.roles).contains(Role::Patient) {
            return Err(Refusal::PatientStays);
        }
        self.spared(after, context)?;
        Ok(after)
    }

    /// Whether the clinic can do without them altogether: their record is to be erased, and their
    /// login goes with it.
    ///
    /// # Errors
    /// [`Refusal::LastAdmin`]; [`Refusal::StillOfficer`].
    pub fn erased(self, context: MemberContext) -> Result<(), Refusal> {
        let after = Self {
            active: false,
            ..self
        };
        self.spared(after, context)
    }

    /// Whether the clinic can do without what they are now and not `after`.
    fn spared(self, after: Self, context: MemberContext) -> Result<(), Refusal> {
        if self.is_admin() && !after.is_admin() && !context.other_admins {
            return Err(Refusal::LastAdmin);
        }
        if context.is_privacy_officer && !(after.active && after.roles.is_staff()) {
            return Err(Refusal::StillOfficer);
        }
        Ok(())
    }

    const fn is_admin(self) -> bool {
        self.active && self.roles.contains(Role::Admin)
    }

    /// Whether sessions that were opened as `before` must end: something was taken away, or is
    /// given back after it was.
    #[must_use]
    pub fn ends_sessions(self, before: Self) -> bool {
        self.active != before.active || !before.roles.without(self.roles).is_empty()
    }

    /// What they are told, if anything changed.
    #[must_use]
    pub fn news(self, before: Self) -> Option<MemberNews> {
        match (before.active, self.active) {
            (true, false) => Some(MemberNews::Deactivated),
            (false, true) => Some(MemberNews::Reactivated),
            _ if before.roles != self.roles => Some(MemberNews::Roles),
            _ => None,
        }
    }
}

/// The mail that tells somebody what they are to a clinic has changed: subject and text. It names
/// neither them nor their roles: a mailbox is read by others.
#[must_use]
pub fn member_mail(news: MemberNews, locale: Locale, clinic: &str, link: &str) -> (String, String) {
    let clinic: String = clinic.chars().filter(|c| !c.is_control()).collect();
    let (subject, lead) = match locale {
        Locale::En => (
            format!("Your account at {clinic}"),
            match news {
                MemberNews::Roles => {
                    format!("What you may do at {clinic} was changed. Sign in to see it:\n\n{link}")
                }
                MemberNews::Deactivated => {
                    format!("Your account at {clinic} was closed. You are signed out everywhere.")
                }
                MemberNews::Reactivated => {
                    format!("Your account at {clinic} is open again. Sign in as before:\n\n{link}")
                }
            },
        ),
        Locale::Es => (
            format!("Su cuenta en {clinic}"),
            match news {
                MemberNews::Roles => {
                    format!("Ha cambiado lo que puede hacer en {clinic}. Inicie sesión para verlo:\n\n{link}")
                }
                MemberNews::Deactivated => format!(
                    "Su cuenta en {clinic} se ha cerrado. Se ha cerrado la sesión en todos sus dispositivos."
                ),
                MemberNews::Reactivated => format!(
                    "Su cuenta en {clinic} vuelve a estar abierta. Inicie sesión como antes:\n\n{link}"
                ),
            },
        ),
        Locale::Fr => (
            format!("Votre compte chez {clinic}"),
            match news {
                MemberNews::Roles => format!(
                    "Ce que vous pouvez faire chez {clinic} a changé. Connectez-vous pour le voir :\n\n{link}"
                ),
                MemberNews::Deactivated => {
                    format!("Votre compte chez {clinic} a été fermé. Vous êtes déconnecté partout.")
                }
                MemberNews::Reactivated => format!(
                    "Votre compte chez {clinic} est de nouveau ouvert. Connectez-vous comme avant :\n\n{link}"
                ),
            },
        ),
    };
    let end = match locale {
        Locale::En => "If you did not expect this, ask the clinic.",
        Locale::Es => "Si no lo esperaba, pregunte a la clínica.",
        Locale::Fr => "Si vous ne vous y attendiez pas, adressez-vous à l’établissement.",
    };
    (subject, format!("{lead}\n\n{end}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOBODY_SPECIAL: MemberContext = MemberContext {
        other_admins: true,
        is_privacy_officer: false,
        is_erased: false,
    };

    fn member(roles: &[Role]) -> Member {
        Member {
            id: PersonId::generate(),
            roles: Roles::of(roles),
            active: true,
        }
    }

    fn to(roles: &[Role]) -> MemberChange {
        MemberChange {
            roles: Some(Roles::of(roles)),
            active: None,
        }
    }

    const OUT: MemberChange = MemberChange {
        roles: None,
        active: Some(false),
    };

    #[test]
    fn every_role_is_given_and_taken_but_the_patients() {
        let admin = PersonId::generate();
        for role in Role::ALL {
            let nurse = member(&[Role::Nurse]);
            let both = nurse
                .changed(admin, to(&[Role::Nurse, *role]), NOBODY_SPECIAL)
                .unwrap();
            assert!(both.roles.contains(*role));
            let back = both.changed(admin, to(&[Role::Sre]), NOBODY_SPECIAL);
            if *role == Role::Patient {
                assert_eq!(back, Err(Refusal::PatientStays));
            } else {
                assert_eq!(back.unwrap().roles, Roles::only(Role::Sre));
            }
        }
    }

    #[test]
    fn nobody_raises_themselves_but_they_may_lay_down() {
        let own = member(&[Role::Admin, Role::Nurse]);
        for role in Role::ALL.iter().filter(|role| !own.roles.contains(**role)) {
            let more = to(&[Role::Admin, Role::Nurse, *role]);
            assert_eq!(own.changed(own.id, more, NOBODY_SPECIAL), Err(Refusal::OwnRaise));
            // Nor by giving something up for it.
            assert_eq!(
                own.changed(own.id, to(&[*role]), NOBODY_SPECIAL),
                Err(Refusal::OwnRaise)
            );
        }
        let less = own.changed(own.id, to(&[Role::Nurse]), NOBODY_SPECIAL).unwrap();
        assert_eq!(less.roles, Roles::only(Role::Nurse));
        assert!(!own.changed(own.id, OUT, NOBODY_SPECIAL).unwrap().active);
    }

    #[test]
    fn a_clinic_keeps_an_admin_and_its_privacy_officer() {
        let by = PersonId::generate();
        let alone = MemberContext {
            other_admins: false,
            ..NOBODY_SPECIAL
        };
        let admin = member(&[Role::Admin, Role::Support]);
        for change in [OUT, to(&[Role::Support])] {
            assert_eq!(admin.changed(by, change, alone), Err(Refusal::LastAdmin));
            assert!(admin.changed(by, change, NOBODY_SPECIAL).is_ok());
        }
        // Who is not one any more is not the last one either.
        let former = Member {
            active: false,
            ..admin
        };
        assert!(former.changed(by, to(&[Role::Support]), alone).is_ok());
        let officer = MemberContext {
            is_privacy_officer: true,
            ..NOBODY_SPECIAL
        };
        assert_eq!(admin.changed(by, OUT, officer), Err(Refusal::StillOfficer));
        assert_eq!(
            admin.changed(by, to(&[Role::Patient]), officer),
            Err(Refusal::StillOfficer)
        );
        assert!(admin.changed(by, to(&[Role::Support]), officer).is_ok());
    }

    #[test]
    fn whom_the_clinic_needs_is_not_erased() {
        let alone = MemberContext {
            other_admins: false,
            ..NOBODY_SPECIAL
        };
        let officer = MemberContext {
            is_privacy_officer: true,
            ..NOBODY_SPECIAL
        };
        let admin = member(&[Role::Admin, Role::Patient]);
        let former = Member {
            active: false,
            ..admin
        };
        let patient = member(&[Role::Patient]);
        assert_eq!(admin.erased(NOBODY_SPECIAL), Ok(()));
        assert_eq!(admin.erased(alone), Err(Refusal::LastAdmin));
        assert_eq!(former.erased(alone), Ok(()), "an admin no more");
        assert_eq!(patient.erased(alone), Ok(()));
        for them in [admin, former, patient] {
            assert_eq!(them.erased(officer), Err(Refusal::StillOfficer));
        }
    }

    #[test]
    fn what_is_erased_does_not_come_back_and_nothing_changes_nothing() {
        let erased = MemberContext {
            is_erased: true,
            ..NOBODY_SPECIAL
        };
        let gone = Member {
            active: false,
            ..member(&[Role::Patient])
        };
        let back = MemberChange {
            roles: None,
            active: Some(true),
        };
        assert_eq!(gone.changed(gone.id, back, erased), Err(Refusal::RecordErased));
        assert_eq!(gone.changed(gone.id, MemberChange::default(), erased), Ok(gone));
        assert_eq!(gone.news(gone), None);
    }

    #[test]
    fn sessions_end_when_something_is_taken_away() {
        let before = member(&[Role::Nurse]);
        let more = Member {
            roles: Roles::of(&[Role::Nurse, Role::Support]),
            ..before
        };
        let out = Member {
            active: false,
            ..before
        };
        assert!(!more.ends_sessions(before));
        assert!(before.ends_sessions(more));
        assert!(out.ends_sessions(before) && before.ends_sessions(out));
        assert_eq!(more.news(before), Some(MemberNews::Roles));
        assert_eq!(out.news(more), Some(MemberNews::Deactivated));
        assert_eq!(before.news(out), Some(MemberNews::Reactivated));
    }

    #[test]
    fn the_mail_names_the_clinic_once_in_a_subject_of_one_line() {
        for news in MemberNews::ALL {
            let mut texts = std::collections::BTreeSet::new();
            for locale in Locale::ALL {
                let (subject, text) = member_mail(
                    *news,
                    *locale,
                    "Harbour\r\nBcc: all@example.org",
                    "https://portal.test/admin/",
                );
                assert!(!subject.contains(['\r', '\n']), "{subject}");
                let links = usize::from(*news != MemberNews::Deactivated);
                assert_eq!(text.matches("https://portal.test/admin/").count(), links);
                texts.insert(text);
            }
            assert_eq!(texts.len(), Locale::ALL.len(), "each language has its own words");
        }
    }
}
