//! Licences, NPIs and DEA numbers.

use garde::Validate;
use medmesh_base::{CredentialId, PersonId, Phi};
use serde::{Deserialize, Serialize};
use time::{Date, OffsetDateTime};
use utoipa::{IntoParams, ToSchema};

use crate::person::{PersonRef, Role};
use crate::rules;

time::serde::format_description!(day, Date, "[year]-[month]-[day]");

/// What a credential is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CredentialKind {
    /// Leave of a state to practise a profession.
    License,
    /// National Provider Identifier.
    Npi,
    /// Registration to handle controlled substances in a state.
    Dea,
}

/// How a credential stands today.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CredentialStatus {
    /// Waits for an admin.
    Pending,
    /// Found true; its owner may act upon it.
    Verified,
    /// Not found true, or no longer.
    Rejected,
    /// Taken back by its owner.
    Withdrawn,
    /// Was verified; its last day is over.
    Expired,
}

/// A credential to be verified. A licence has `profession`, `state` and `expires_on`; a DEA number
/// `state` and `expires_on`; an NPI none of them.
#[derive(Clone, Debug, Serialize, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CredentialSubmit {
    /// What it is.
    #[garde(skip)]
    pub kind: CredentialKind,
    /// The role a licence lets its owner act in: `clinician`, `nurse` or `pharmacist`.
    #[garde(skip)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profession: Option<Role>,
    /// Postal code of the state or territory.
    #[garde(inner(length(max = 8)))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "NY", max_length = 8)]
    pub state: Option<String>,
    /// The number as it is printed. NPIs and DEA numbers check themselves.
    #[garde(custom(rules::credential_number))]
    #[schema(value_type = String, min_length = 1, max_length = 40)]
    pub number: Phi<String>,
    /// The last day.
    #[garde(skip)]
    #[serde(default, skip_serializing_if = "Option::is_none", with = "day::option")]
    #[schema(value_type = Option<String>, format = Date)]
    pub expires_on: Option<Date>,
}

/// Why a credential is not found true.
#[derive(Clone, Debug, Serialize, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CredentialReject {
    /// For its owner to read.
    #[garde(custom(rules::reason_given))]
    #[schema(value_type = String, min_length = 1, max_length = 500)]
    pub reason: Phi<String>,
}

/// What was decided about a credential.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CredentialDecision {
    /// How it stood from then on.
    pub status: CredentialStatus,
    /// When.
    #[serde(with = "time::serde::rfc3339")]
    pub decided_at: OffsetDateTime,
    /// By whom; absent where whoever opened the clinic vouched for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<uuid::Uuid>)]
    pub decided_by: Option<PersonId>,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub reason: Option<Phi<String>>,
}

/// A credential and its history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Credential {
    /// Which.
    #[schema(value_type = uuid::Uuid)]
    pub id: CredentialId,
    /// Whose.
    pub person: PersonRef,
    /// What it is.
    pub kind: CredentialKind,
    /// The role a licence is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profession: Option<Role>,
    /// Postal code of the state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// The number, upper case.
    #[schema(value_type = String)]
    pub number: Phi<String>,
    /// The last day, in the clinic's zone.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "day::option")]
    #[schema(value_type = Option<String>, format = Date)]
    pub expires_on: Option<Date>,
    /// How it stands today.
    pub status: CredentialStatus,
    /// When it was stated.
    #[serde(with = "time::serde::rfc3339")]
    pub submitted_at: OffsetDateTime,
    /// What was decided about it, oldest first.
    pub decisions: Vec<CredentialDecision>,
    /// Grows with every decision; the `ETag` is this number in quotes.
    pub version: i64,
}

/// Which credentials to list.
#[derive(Clone, Debug, Default, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct CredentialQuery {
    /// Only this person's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<uuid::Uuid>)]
    pub person_id: Option<PersonId>,
    /// Only those that stand so today.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(inline)]
    pub status: Option<CredentialStatus>,
    /// `next_cursor` of the page before; absent for the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// Most items to return, 1 to 200; 50 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 200)]
    pub limit: Option<u32>,
}
