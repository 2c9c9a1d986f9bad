//! When somebody who touches nothing is not idle: they listen, or wait to be called.

use medmesh_base::PersonId;
use time::OffsetDateTime;

use crate::visit::{ParticipantState, Phase, Visit};

/// Whether somebody is at a visit, as the clinic and the media plane know it; what their own page
/// says does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attendance {
    /// Not there, or free to do something else: then an untouched screen is an idle one.
    Away,
    /// In the waiting room, or connected alone: there is nothing to do but wait, until nobody gets
    /// in any more. A screen that was left behind there locks then.
    Waits {
        /// When it is over at the latest.
        until: OffsetDateTime,
    },
    /// Connected together with somebody else, however long it takes.
    Converses,
}

impl Attendance {
    /// Whether they are at the visit now.
    #[must_use]
    pub fn is_at(&self, now: OffsetDateTime) -> bool {
        match self {
            Self::Away => false,
            Self::Waits { until } => now < *until,
            Self::Converses => true,
        }
    }
}

impl Visit {
    /// Whether `who` is at this visit.
    #[must_use]
    pub fn attendance(&self, who: PersonId) -> Attendance {
        let Some(me) = self.of_person(who) else {
            return Attendance::Away;
        };
        if matches!(self.phase, Phase::Ended { .. }) {
            return Attendance::Away;
        }
        let is_connected = |state| state == ParticipantState::InCall;
        let mut others = self.participants.iter().filter(|other| other.id != me.id);
        match me.state {
            ParticipantState::InCall if others.any(|other| is_connected(other.state)) => {
                Attendance::Converses
            }
            ParticipantState::InCall | ParticipantState::Waiting => Attendance::Waits {
                until: self.closes_at(),
            },
            ParticipantState::Expected | ParticipantState::Admitted | ParticipantState::Left => {
                Attendance::Away
            }
        }
    }
}
