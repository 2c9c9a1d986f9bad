//! What a patient wants corrected in their record, and what comes of it (45 CFR 164.526, GDPR
//! article 16).
//!
//! Asking is not correcting: what is accepted is then changed by the ordinary route of the thing, by
//! whoever may change it. What is declined carries the reason, and the patient may put on record that
//! they disagree; that statement stays with the record.

use std::str::FromStr;

use medmesh_base::{CorrectionId, PersonId, Phi};
use time::{Duration, OffsetDateTime};

use crate::word::words;
use crate::{Invalid, PersonRef, Refusal, Version};

/// Until when it must be answered (45 CFR 164.526(b)(2)(i)).
pub const CORRECTION_DUE: Duration = Duration::days(60);
/// Longest text of either side: a page.
pub const CORRECTION_CHARS_MAX: usize = 2_000;
/// Unanswered ones of one patient: more is a conversation, not a list.
pub const CORRECTIONS_OPEN_MAX: i64 = 20;

words! {
    /// How far it is.
    "state of a correction" CorrectionState {
        /// Nobody has answered.
        Open = "open",
        /// It is to be corrected.
        Accepted = "accepted",
        /// It stays as it is.
        Declined = "declined",
    }
}

/// A text of either side: not blank, bounded, and nothing PostgreSQL cannot hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CorrectionText(Phi<String>);

impl CorrectionText {
    /// The text, for storing and showing.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose()
    }

    /// The text, as it is shown.
    #[must_use]
    pub fn into_phi(self) -> Phi<String> {
        self.0
    }
}

impl FromStr for CorrectionText {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let text = text.trim();
        let fits = (1..=CORRECTION_CHARS_MAX).contains(&text.chars().count());
        if fits && !text.contains('\0') {
            Ok(Self(Phi::new(text.to_owned())))
        } else {
            Err(Invalid::CorrectionText)
        }
    }
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewCorrection {
    /// What is wrong, and how it should read.
    pub what: CorrectionText,
    /// Why (45 CFR 164.526(b)(1)).
    pub why: CorrectionText,
}

/// Who answered, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decided {
    /// Who.
    pub by: PersonRef,
    /// When.
    pub at: OffsetDateTime,
}

/// That the patient disagrees with having been declined (45 CFR 164.526(d)(2)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disagreement {
    /// What they say.
    pub statement: Phi<String>,
    /// When.
    pub at: OffsetDateTime,
}

/// How far it is, with what belongs to that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CorrectionPhase {
    /// Nobody has answered.
    Open,
    /// It is to be corrected.
    Accepted(Decided),
    /// It stays as it is.
    Declined {
        /// Who says so.
        decided: Decided,
        /// Why (45 CFR 164.526(d)(1)).
        reason: Phi<String>,
        /// The patient disagrees.
        disagreement: Option<Disagreement>,
    },
}

impl CorrectionPhase {
    /// The word for it.
    #[must_use]
    pub const fn state(&self) -> CorrectionState {
        match self {
            Self::Open => CorrectionState::Open,
            Self::Accepted(_) => CorrectionState::Accepted,
            Self::Declined { .. } => CorrectionState::Declined,
        }
    }
}

/// A wish for a correction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Correction {
    /// Which.
    pub id: CorrectionId,
    /// Whose record.
    pub patient: PersonRef,
    /// What is wrong, and how it should read.
    pub what: Phi<String>,
    /// Why.
    pub why: Phi<String>,
    /// When it was asked.
    pub requested_at: OffsetDateTime,
    /// Until when it must be answered.
    pub due_at: OffsetDateTime,
    /// How far it is.
    pub phase: CorrectionPhase,
    /// Grows by one with every write.
    pub version: Version,
}

impl Correction {
    /// Whether it must have been answered by now.
    #[must_use]
    pub fn is_overdue(&self, now: OffsetDateTime) -> bool {
        self.phase == CorrectionPhase::Open && self.due_at < now
    }

    /// Accepted by somebody.
    ///
    /// # Errors
    /// [`Refusal::AlreadySettled`], [`Refusal::OwnAct`].
    pub fn accepted(self, by: PersonRef, now: OffsetDateTime) -> Result<Self, Refusal> {
        self.answerable(by.id)?;
        Ok(self.next(CorrectionPhase::Accepted(Decided { by, at: now })))
    }

    /// Declined by somebody, for a reason.
    ///
    /// # Errors
    /// As [`Correction::accepted`].
    pub fn declined(
        self,
        by: PersonRef,
        reason: CorrectionText,
        now: OffsetDateTime,
    ) -> Result<Self, Refusal> {
        self.answerable(by.id)?;
        Ok(self.next(CorrectionPhase::Declined {
            decided: Decided { by, at: now },
            reason: reason.into_phi(),
            disagreement: None,
        }))
    }

    /// With the patient's statement beside the reason it was declined for.
    ///
    /// # Errors
    /// [`Refusal::NotDeclined`]; [`Refusal::AlreadySettled`] when there is one.
    pub fn disagreed(self, statement: CorrectionText, now: OffsetDateTime) -> Result<Self, Refusal> {
        let CorrectionPhase::Declined {
            decided,
            reason,
            disagreement,
        } = self.phase.clone()
        else {
            return Err(Refusal::NotDeclined);
        };
        if disagreement.is_some() {
            return Err(Refusal::AlreadySettled);
        }
        Ok(self.next(CorrectionPhase::Declined {
            decided,
            reason,
            disagreement: Some(Disagreement {
                statement: statement.into_phi(),
                at: now,
            }),
        }))
    }

    /// Whoever works here and is a patient too does not answer themselves.
    fn answerable(&self, by: PersonId) -> Result<(), Refusal> {
        if self.patient.id == by {
            return Err(Refusal::OwnAct);
        }
        match self.phase {
            CorrectionPhase::Open => Ok(()),
            CorrectionPhase::Accepted(_) | CorrectionPhase::Declined { .. } => Err(Refusal::AlreadySettled),
        }
    }

    fn next(self, phase: CorrectionPhase) -> Self {
        Self {
            phase,
            version: Version(self.version.0 + 1),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn person() -> PersonRef {
        PersonRef {
            id: PersonId::generate(),
            display_name: Phi::new("Somebody".into()),
        }
    }

    fn text(text: &str) -> CorrectionText {
        text.parse().unwrap()
    }

    fn open() -> Correction {
        let now = OffsetDateTime::UNIX_EPOCH;
        Correction {
            id: CorrectionId::generate(),
            patient: person(),
            what: Phi::new("the left knee".into()),
            why: Phi::new("it is the right one".into()),
            requested_at: now,
            due_at: now + CORRECTION_DUE,
            phase: CorrectionPhase::Open,
            version: Version(1),
        }
    }

    #[test]
    fn it_is_answered_once_and_disagreed_with_once() {
        let now = OffsetDateTime::UNIX_EPOCH + Duration::DAY;
        let accepted = open().accepted(person(), now).unwrap();
        assert_eq!(accepted.phase.state(), CorrectionState::Accepted);
        assert_eq!(accepted.version, Version(2));
        let declined = open()
            .declined(person(), text("it was the left one"), now)
            .unwrap();
        let disagreed = declined.clone().disagreed(text("it was not"), now).unwrap();
        for settled in [&accepted, &declined, &disagreed] {
            let settled = settled.clone();
            assert_eq!(
                settled.clone().accepted(person(), now),
                Err(Refusal::AlreadySettled)
            );
            assert_eq!(
                settled.declined(person(), text("no"), now),
                Err(Refusal::AlreadySettled)
            );
        }
        assert_eq!(
            disagreed.disagreed(text("again"), now),
            Err(Refusal::AlreadySettled)
        );
        for not_declined in [open(), accepted] {
            assert_eq!(
                not_declined.disagreed(text("why"), now),
                Err(Refusal::NotDeclined)
            );
        }
    }

    #[test]
    fn nobody_answers_themselves() {
        let own = open();
        let (me, now) = (own.patient.clone(), own.requested_at);
        assert_eq!(own.clone().accepted(me.clone(), now), Err(Refusal::OwnAct));
        assert_eq!(own.declined(me, text("no"), now), Err(Refusal::OwnAct));
    }

    #[test]
    fn it_is_due_after_sixty_days_until_it_is_answered() {
        let asked = open();
        let late = asked.requested_at + Duration::days(60) + Duration::SECOND;
        assert!(!asked.is_overdue(asked.due_at));
        assert!(asked.is_overdue(late));
        assert!(!asked.accepted(person(), late).unwrap().is_overdue(late));
    }

    #[test]
    fn texts_are_bounded() {
        assert!(" \n".parse::<CorrectionText>().is_err());
        assert!("a\0b".parse::<CorrectionText>().is_err());
        assert!("é".repeat(CORRECTION_CHARS_MAX).parse::<CorrectionText>().is_ok());
        assert!(
            "é".repeat(CORRECTION_CHARS_MAX + 1)
                .parse::<CorrectionText>()
                .is_err()
        );
    }
}
