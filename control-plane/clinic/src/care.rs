//! Who cares for a patient, and to whom patients are sent.

use medmesh_base::{CareTeamMemberId, PersonId, Phi, ReferralId};
use time::{Duration, OffsetDateTime};

use crate::{PersonRef, Refusal, Role, Roles, Version};

/// The roles somebody can have on a care team.
pub const CARE_TEAM: Roles = Roles::of(&[Role::Clinician, Role::Nurse, Role::CareCoordinator]);

/// How long a referral opens the record when nobody says: time to get an appointment and come back.
pub const REFERRAL_DEFAULT: Duration = Duration::days(90);

/// Longest referral: what takes longer is care, and belongs on the care team.
pub const REFERRAL_MAX: Duration = Duration::days(366);

/// Somebody's place on a patient's care team.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CareTeamMember {
    /// The place.
    pub id: CareTeamMemberId,
    /// Whose care.
    pub patient_id: PersonId,
    /// Who gives it.
    pub person: PersonRef,
    /// As what.
    pub role: Role,
    /// Since when.
    pub from_at: OffsetDateTime,
    /// Until when, if that is known.
    pub until_at: Option<OffsetDateTime>,
    /// Grows by one with every write.
    pub version: Version,
}

/// Whether somebody with these roles can be on a care team as `wanted`.
///
/// # Errors
/// [`Refusal::CarerUnsuitable`].
pub fn carer(roles: Roles, wanted: Role) -> Result<(), Refusal> {
    if CARE_TEAM.contains(wanted) && roles.contains(wanted) {
        Ok(())
    } else {
        Err(Refusal::CarerUnsuitable)
    }
}

/// A patient sent from one clinician to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Referral {
    /// The referral.
    pub id: ReferralId,
    /// Who is sent.
    pub patient_id: PersonId,
    /// By whom.
    pub from: PersonRef,
    /// To whom.
    pub to: PersonRef,
    /// Why.
    pub reason: Option<Phi<String>>,
    /// Since when.
    pub created_at: OffsetDateTime,
    /// Until when it opens the record.
    pub until_at: OffsetDateTime,
    /// Grows by one with every write.
    pub version: Version,
}

/// When something that opens a record ends: as asked, within the longest it may take.
///
/// # Errors
/// [`Refusal::PeriodUnsuitable`] when that is not after `now`, or too late.
pub fn ends_at(
    asked: Option<OffsetDateTime>,
    now: OffsetDateTime,
    default: Duration,
    longest: Duration,
) -> Result<OffsetDateTime, Refusal> {
    let until = asked.unwrap_or(now + default);
    if until > now && until - now <= longest {
        Ok(until)
    } else {
        Err(Refusal::PeriodUnsuitable)
    }
}
