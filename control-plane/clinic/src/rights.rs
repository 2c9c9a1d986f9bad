//! What patients may ask of their record as a whole.

use time::OffsetDateTime;

use crate::{Refusal, Version};

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
}
