//! One type per kind of thing, so that a room can never be passed for a visit.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The text or bytes are not an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an id: expected a UUID")]
pub struct IdError;

macro_rules! typed_id {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        ///
        /// A UUIDv7: sorts by the time it was made. Text form is the hyphenated UUID.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// A fresh id of this instant. Pure code takes ids as arguments instead.
            #[must_use]
            pub fn generate() -> Self {
                Self(Uuid::now_v7())
            }

            /// Wraps a UUID that was made elsewhere (a database, a message).
            #[must_use]
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// The UUID inside, for drivers that speak only that.
            #[must_use]
            pub const fn as_uuid(&self) -> Uuid {
                self.0
            }

            /// Reads the 16 bytes of the wire form.
            ///
            /// # Errors
            /// When there are not exactly 16 bytes.
            pub fn from_slice(bytes: &[u8]) -> Result<Self, IdError> {
                Uuid::from_slice(bytes).map(Self).map_err(|_| IdError)
            }

            /// The 16 bytes of the wire form.
            #[must_use]
            pub fn to_vec(&self) -> Vec<u8> {
                self.0.as_bytes().to_vec()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Uuid::parse_str(text).map(Self).map_err(|_| IdError)
            }
        }
    )+};
}

typed_id! {
    /// A clinic: the tenant, and the border no row crosses.
    ClinicId,
    /// A login: one mail address, one password, possibly several clinics.
    AccountId,
    /// A person as one clinic knows them.
    PersonId,
    /// A browser's opaque session.
    SessionId,
    /// A booked time between a patient and a clinician.
    AppointmentId,
    /// The meeting that an appointment leads to.
    VisitId,
    /// One chat message of a visit.
    MessageId,
    /// One entry of the audit log.
    AuditId,
    /// A piece of work that outlives its request.
    JobId,
    /// Somebody who looked at a record because it was urgent.
    BreakGlassId,
    /// A licence, an NPI or a DEA number of somebody who gives care.
    CredentialId,
    /// Somebody's identity at an outside provider.
    IdentityId,
    /// A place on a patient's care team.
    CareTeamMemberId,
    /// What a patient agreed to, in one version.
    ConsentId,
    /// A patient sent from one clinician to another.
    ReferralId,
    /// Something of a record that was given to somebody outside.
    DisclosureId,
    /// A machine of a clinic that asks by itself.
    ClientId,
    /// A key such a machine proves itself with.
    ClientKeyId,
    /// What such a machine was let in with.
    ClientTokenId,
    /// What a patient wants corrected in their record.
    CorrectionId,
    /// A copy of a patient's whole record, made for them.
    RecordExportId,
    /// An object storage, so that control nodes can tell whether they share one.
    StorageId,
    /// One HTTP request, for following it through the logs.
    RequestId,
    /// A visit as the media plane knows it. Never derived from clinical ids.
    RoomId,
    /// One person in one room, as the media plane knows them.
    ParticipantId,
    /// An edge host.
    EdgeId,
}

/// A control node: the small stable number openraft votes with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ControlId(pub u64);

impl fmt::Display for ControlId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for ControlId {
    type Err = std::num::ParseIntError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}
