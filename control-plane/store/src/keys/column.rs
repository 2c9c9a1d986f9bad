//! The sealed columns, and whose key seals them.

use medmesh_base::{ClinicId, PersonId};
use medmesh_vault::Field;
use uuid::Uuid;

macro_rules! columns {
    ($($(#[$doc:meta])* $variant:ident = $table:literal . $column:literal,)+) => {
        /// A column that holds ciphertext. Its names go into what the ciphertext is bound to, so that
        /// a renamed column needs its rows sealed anew.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Column { $($(#[$doc])* $variant,)+ }

        impl Column {
            /// Every sealed column.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Table and column.
            #[must_use]
            pub const fn names(self) -> (&'static str, &'static str) {
                match self { $(Self::$variant => ($table, $column),)+ }
            }

            /// Both names as one, for errors.
            #[must_use]
            pub const fn path(self) -> &'static str {
                match self { $(Self::$variant => concat!($table, ".", $column),)+ }
            }
        }
    };
}

columns! {
    /// How a person is called.
    PersonDisplayName = "person"."display_name",
    /// What a person signs in with.
    PersonEmail = "person"."email",
    /// Why an appointment was booked.
    AppointmentReason = "appointment"."reason",
    /// Why it was cancelled.
    AppointmentCancelReason = "appointment"."cancel_reason",
    /// What was written in a visit.
    MessageBody = "message"."body",
    /// The stored answer to a creating request.
    IdempotencyResponseBody = "idempotency"."response_body",
    /// The secret of an authenticator app.
    TotpFactorSecret = "totp_factor"."secret",
    /// What somebody calls a second factor of theirs.
    FactorName = "factor_name"."name",
    /// An event of the audit log with its salt. The log is append-only, so that it is never
    /// sealed anew: a clinic's key stays for as long as events under it are kept.
    AuditEvent = "audit"."sealed",
    /// Why a patient was referred.
    ReferralReason = "referral"."reason",
    /// What a clinic proves itself with at an outside provider.
    OidcClientSecret = "oidc_provider"."client_secret",
    /// Where the mail to whoever registers goes.
    RegistrationEmail = "registration"."email",
    /// The number of a licence, an NPI or a DEA number.
    CredentialNumber = "credential"."number",
    /// Why a credential was rejected.
    CredentialReason = "credential_decision"."reason",
    /// Why the glass was broken.
    BreakGlassReason = "break_glass"."reason",
    /// Of a disclosure: to whom, their address, what and why. Under the clinic's key: the account
    /// must be kept for six years whatever becomes of the record (45 CFR 164.530(j)).
    DisclosureContent = "disclosure"."content",
    /// What the patient calls what they sign on paper, or the name of the text.
    ConsentDocument = "consent"."document_sealed",
    /// What a patient wants corrected.
    CorrectionWhat = "correction"."what",
    /// Why.
    CorrectionWhy = "correction"."why",
    /// Why it was declined.
    CorrectionReason = "correction"."reason",
    /// That the patient disagrees.
    CorrectionStatement = "correction"."statement",
    /// The key of a patient, under the clinic's.
    PatientKeyWrapped = "patient_key"."wrapped",
    /// The key of blind indexes, under the clinic's or the system's.
    IndexKey = "clinic_key"."index_key",
}

impl Column {
    /// Whether its values stay under the key they were sealed with, until their time is over.
    /// All others are sealed anew by a rotation, and are then refused under older keys.
    pub(crate) const fn keeps_its_key(self) -> bool {
        match self {
            // Append-only; and of a day at most.
            Self::AuditEvent
            | Self::DisclosureContent
            | Self::IdempotencyResponseBody
            | Self::RegistrationEmail => true,
            Self::PersonDisplayName
            | Self::PersonEmail
            | Self::AppointmentReason
            | Self::AppointmentCancelReason
            | Self::MessageBody
            | Self::TotpFactorSecret
            | Self::FactorName
            | Self::ReferralReason
            | Self::OidcClientSecret
            | Self::CredentialNumber
            | Self::CredentialReason
            | Self::BreakGlassReason
            | Self::ConsentDocument
            | Self::CorrectionWhat
            | Self::CorrectionWhy
            | Self::CorrectionReason
            | Self::CorrectionStatement
            | Self::PatientKeyWrapped
            | Self::IndexKey => false,
        }
    }

    /// The place of one row's value.
    pub(crate) const fn field(self, clinic: Option<ClinicId>, row: Uuid, version: i64) -> Field<'static> {
        let (table, column) = self.names();
        Field {
            clinic,
            table,
            row,
            column,
            version: version.cast_unsigned(),
        }
    }
}

/// Version of rows whose sealed columns are written once and never again.
pub(crate) const WRITTEN_ONCE: i64 = 1;

/// Whose a value is, and thereby whose key seals it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// An account, which belongs to no clinic: the system's key.
    Account,
    /// The clinic: staff, and what is about no single patient.
    Clinic,
    /// A patient: goes when the patient is erased.
    Patient(PersonId),
}

impl Owner {
    /// The patient, or else the clinic.
    #[must_use]
    pub fn of(patient: Option<PersonId>) -> Self {
        patient.map_or(Self::Clinic, Self::Patient)
    }
}
