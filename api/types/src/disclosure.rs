//! What of a record was given to somebody outside the clinic (45 CFR 164.528).

use garde::Validate;
use medmesh_base::{DisclosureId, Phi};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::rules;

/// What allowed it (the paragraphs of 45 CFR 164.512).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DisclosureBasis {
    /// A law demands it.
    RequiredByLaw,
    /// Public health.
    PublicHealth,
    /// Abuse, neglect or violence at home.
    Abuse,
    /// Who oversees health care.
    Oversight,
    /// A court.
    Judicial,
    /// The police.
    LawEnforcement,
    /// Coroners and funeral directors.
    Decedent,
    /// Organ donation.
    Donation,
    /// Research.
    Research,
    /// A serious threat.
    Threat,
    /// Special functions of a government.
    Government,
    /// Workers' compensation.
    WorkersCompensation,
    /// It should not have happened.
    Breach,
}

/// One line of the account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Disclosure {
    /// Which.
    #[schema(value_type = uuid::Uuid)]
    pub id: DisclosureId,
    /// When it was given.
    #[serde(with = "time::serde::rfc3339")]
    pub disclosed_at: OffsetDateTime,
    /// To whom.
    #[schema(value_type = String)]
    pub recipient: Phi<String>,
    /// Their address, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub address: Option<Phi<String>>,
    /// What was given.
    #[schema(value_type = String)]
    pub description: Phi<String>,
    /// Why.
    #[schema(value_type = String)]
    pub purpose: Phi<String>,
    /// What allowed it.
    pub basis: DisclosureBasis,
    /// When it was noted.
    #[serde(with = "time::serde::rfc3339")]
    pub recorded_at: OffsetDateTime,
}

/// A disclosure to note.
#[derive(Clone, Debug, Serialize, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DisclosureCreate {
    /// When it was given: in the last six years.
    #[garde(skip)]
    #[serde(with = "time::serde::rfc3339")]
    pub disclosed_at: OffsetDateTime,
    /// To whom.
    #[garde(custom(rules::recipient))]
    #[schema(value_type = String, min_length = 1, max_length = 300)]
    pub recipient: Phi<String>,
    /// Their address, if known.
    #[garde(custom(rules::recipient_address))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 300)]
    pub address: Option<Phi<String>>,
    /// What was given.
    #[garde(custom(rules::disclosed))]
    #[schema(value_type = String, min_length = 1, max_length = 1000)]
    pub description: Phi<String>,
    /// Why.
    #[garde(custom(rules::disclosed))]
    #[schema(value_type = String, min_length = 1, max_length = 1000)]
    pub purpose: Phi<String>,
    /// What allowed it.
    #[garde(skip)]
    pub basis: DisclosureBasis,
}
