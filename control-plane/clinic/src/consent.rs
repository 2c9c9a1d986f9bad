//! What a patient agreed to, and how carefully a part of the record is kept.

mod text;

use medmesh_base::{ConsentId, PersonId, SessionId};
use time::OffsetDateTime;

use crate::audit::Purpose;
use crate::word::words;
use crate::{PersonRef, Refusal};

pub use text::{CONSENT_TEXT_LATEST, ConsentText, consent_text};

words! {
    /// Which protected part of a record something belongs to.
    "segment" Segment {
        /// Nothing beyond what health data is anyway.
        General = "general",
        /// Treatment of substance use by a federally assisted program (42 CFR Part 2).
        Part2 = "part2",
        /// Mental health.
        MentalHealth = "mental_health",
        /// Reproductive health.
        ReproductiveHealth = "reproductive_health",
        /// HIV and what is tested with it.
        Hiv = "hiv",
    }
}

#[allow(
    clippy::derivable_impls,
    reason = "the macro derives for all word lists alike, and only this one has a default"
)]
impl Default for Segment {
    fn default() -> Self {
        Self::General
    }
}

words! {
    /// What a patient says.
    "consent decision" ConsentDecision {
        /// Yes.
        Granted = "granted",
        /// No, or no longer.
        Withdrawn = "withdrawn",
    }
}

words! {
    /// How it was signed.
    "way of signing" SignedBy {
        /// By the patient, signed in, under a text on their screen.
        Session = "session",
        /// On paper; the clinic has it.
        Paper = "paper",
        /// Said before a witness, who records it.
        Witness = "witness",
    }
}

/// What consent is given for.
pub const CONSENT_PURPOSES: &[Purpose] = &[Purpose::Treatment, Purpose::Payment, Purpose::Operations];

/// Longest name of a document.
pub const DOCUMENT_CHARS_MAX: usize = 80;

/// What shows later that it was signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// How.
    pub by: SignedBy,
    /// The name of the text.
    pub document: String,
    /// SHA-256 of the text that was on the screen.
    pub text_sha256: Option<[u8; 32]>,
    /// SHA-256 of the signed paper, scanned.
    pub proof_sha256: Option<[u8; 32]>,
}

impl Signature {
    /// Whether it proves what it says, recorded by `recorder` for `patient`. `current` is the
    /// digest of the text of that name as it reads now.
    ///
    /// # Errors
    /// [`Refusal::SignatureUnsound`] when somebody signs for somebody else or a proof is missing;
    /// [`Refusal::ConsentTextOld`] when the text on the screen is not the one of today.
    pub fn check(
        &self,
        patient: PersonId,
        recorder: PersonId,
        current: Option<[u8; 32]>,
    ) -> Result<(), Refusal> {
        let own = patient == recorder;
        match self.by {
            SignedBy::Session if !own || self.proof_sha256.is_some() => Err(Refusal::SignatureUnsound),
            SignedBy::Session if current.is_none() || self.text_sha256 != current => {
                Err(Refusal::ConsentTextOld)
            }
            SignedBy::Session => Ok(()),
            // Nobody is their own witness, and paper is kept by the clinic.
            SignedBy::Paper if own || self.proof_sha256.is_none() || self.text_sha256.is_some() => {
                Err(Refusal::SignatureUnsound)
            }
            SignedBy::Witness if own || self.text_sha256.is_some() => Err(Refusal::SignatureUnsound),
            SignedBy::Paper | SignedBy::Witness => Ok(()),
        }
    }
}

/// One version of what a patient said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consent {
    /// This version.
    pub id: ConsentId,
    /// For what.
    pub purpose: Purpose,
    /// About which part of the record.
    pub segment: Segment,
    /// 1, 2, 3 … of this purpose and segment; the highest counts.
    pub version: i64,
    /// What they said.
    pub decision: ConsentDecision,
    /// The proof.
    pub signature: Signature,
    /// Who wrote it down.
    pub recorded_by: PersonRef,
    /// When.
    pub recorded_at: OffsetDateTime,
    /// In which session, if it was one.
    pub session_id: Option<SessionId>,
    /// When whoever recorded it had last proved who they are.
    pub proved_at: Option<OffsetDateTime>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paper_and_witnesses_are_somebody_elses_word() {
        let (patient, clinician) = (PersonId::generate(), PersonId::generate());
        let signed = |by| Signature {
            by,
            document: "treatment/1".to_owned(),
            text_sha256: None,
            proof_sha256: (by == SignedBy::Paper).then_some([1; 32]),
        };
        for by in [SignedBy::Paper, SignedBy::Witness] {
            let signature = signed(by);
            assert_eq!(signature.check(patient, clinician, None), Ok(()), "{by:?}");
            // Of oneself nobody is the witness, and paper one kept oneself proves nothing.
            let own = signature.check(patient, patient, None);
            assert_eq!(own, Err(Refusal::SignatureUnsound), "{by:?}");
            let screened = Signature {
                text_sha256: Some([2; 32]),
                ..signature
            };
            let screened = screened.check(patient, clinician, Some([2; 32]));
            assert_eq!(
                screened,
                Err(Refusal::SignatureUnsound),
                "{by:?}: there was no screen"
            );
        }
    }
}
