//! When people meet.

use std::str::FromStr;

use medmesh_base::{AppointmentId, Phi, VisitId};
use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime, UtcOffset};

use crate::authz::View;
use crate::word::words;
use crate::{Invalid, PersonRef, Phase, Refusal, Segment};

/// Shortest appointment: below it a visit ends before both have their camera on.
pub const SLOT_MIN: Duration = Duration::minutes(5);

/// Longest appointment: one working day.
pub const SLOT_MAX: Duration = Duration::hours(8);

/// How long after its start an appointment can still be booked: a walk-in that
/// is recorded while it begins.
pub const PAST_GRACE: Duration = Duration::minutes(15);

/// How far ahead can be booked: yearly check-ups with slack.
pub const BOOKING_HORIZON: Duration = Duration::days(2 * 366);

/// Longest reason in characters: a sentence or two; the chart holds the story.
pub const REASON_CHARS_MAX: usize = 500;

/// A span of time: starts inclusive, ends exclusive, in UTC, microseconds
/// (what the database keeps, so that a value read back equals the one written).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Slot {
    starts_at: OffsetDateTime,
    ends_at: OffsetDateTime,
}

impl Slot {
    /// A span within [`SLOT_MIN`] and [`SLOT_MAX`].
    ///
    /// # Errors
    /// [`Invalid::Slot`] when it ends before it starts or its length is out of bounds.
    pub fn new(starts_at: OffsetDateTime, ends_at: OffsetDateTime) -> Result<Self, Invalid> {
        let (starts_at, ends_at) = (to_micros(starts_at), to_micros(ends_at));
        let length = ends_at - starts_at;
        if (SLOT_MIN..=SLOT_MAX).contains(&length) {
            Ok(Self { starts_at, ends_at })
        } else {
            Err(Invalid::Slot)
        }
    }

    /// First instant of the span.
    #[must_use]
    pub const fn starts_at(&self) -> OffsetDateTime {
        self.starts_at
    }

    /// First instant after the span.
    #[must_use]
    pub const fn ends_at(&self) -> OffsetDateTime {
        self.ends_at
    }

    /// Whether the two share any instant.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.starts_at < other.ends_at && other.starts_at < self.ends_at
    }

    /// Whether it may be booked at `now`.
    ///
    /// # Errors
    /// [`Refusal::SlotInPast`] or [`Refusal::SlotTooFar`].
    pub fn bookable(&self, now: OffsetDateTime) -> Result<(), Refusal> {
        if self.starts_at + PAST_GRACE < now {
            Err(Refusal::SlotInPast)
        } else if self.starts_at > now + BOOKING_HORIZON {
            Err(Refusal::SlotTooFar)
        } else {
            Ok(())
        }
    }
}

fn to_micros(at: OffsetDateTime) -> OffsetDateTime {
    let at = at.to_offset(UtcOffset::UTC);
    at.replace_microsecond(at.microsecond())
        .expect("an instant's own microsecond is valid")
}

words! {
    /// What has become of an appointment.
    "appointment status" AppointmentStatus {
        /// It will take place.
        Booked = "booked",
        /// It will not; its time is free again.
        Cancelled = "cancelled",
        /// The visit took place.
        Completed = "completed",
    }
}

/// Why someone comes, or why an appointment was cancelled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason(Phi<String>);

impl Reason {
    /// The text, for storing and showing.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose()
    }
}

impl FromStr for Reason {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let text = text.trim();
        let fits = (1..=REASON_CHARS_MAX).contains(&text.chars().count());
        if fits && !text.contains('\0') {
            Ok(Self(Phi::new(text.to_owned())))
        } else {
            Err(Invalid::Reason)
        }
    }
}

/// Counts the writes to a row; the entity tag of the public API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Version(pub i64);

/// A booked time between a patient and a clinician.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appointment {
    /// The appointment.
    pub id: AppointmentId,
    /// The visit it leads to.
    pub visit_id: VisitId,
    /// Who receives care.
    pub patient: PersonRef,
    /// Who gives it.
    pub clinician: PersonRef,
    /// When.
    pub slot: Slot,
    /// What has become of it.
    pub status: AppointmentStatus,
    /// Why; only for those who may know.
    pub reason: Option<Phi<String>>,
    /// Which protected part of the record it belongs to; only for those who may know.
    pub segment: Option<Segment>,
    /// Grows by one with every write.
    pub version: Version,
}

impl Appointment {
    /// What of it is left for someone who sees this much: who comes when is needed to run a
    /// clinic, why they come is not.
    #[must_use]
    pub fn seen(self, view: View) -> Self {
        match view {
            View::Clinical => self,
            View::Administrative | View::Names => Self {
                reason: None,
                segment: None,
                ..self
            },
        }
    }

    /// Whether time, reason or existence may still change, given how far its visit is.
    ///
    /// # Errors
    /// [`Refusal::AppointmentClosed`] when it is cancelled or completed;
    /// [`Refusal::VisitBegun`] once the clinician has opened the visit.
    pub const fn changeable(&self, phase: &Phase) -> Result<(), Refusal> {
        match (self.status, phase) {
            (AppointmentStatus::Booked, Phase::Scheduled | Phase::Waiting) => Ok(()),
            (AppointmentStatus::Booked, Phase::Open { .. } | Phase::Ended { .. }) => Err(Refusal::VisitBegun),
            (AppointmentStatus::Cancelled | AppointmentStatus::Completed, _) => {
                Err(Refusal::AppointmentClosed)
            }
        }
    }
}
