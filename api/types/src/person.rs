//! The people of a clinic.

use garde::Validate;
use medmesh_base::{PersonId, Phi};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::Secret;
use crate::rules;

/// What a person is to a clinic. Assigned by an admin, never by the person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Is treated.
    Patient,
    /// Treats.
    Clinician,
    /// Treats beside a clinician.
    Nurse,
    /// Books times for others.
    Scheduler,
    /// Fills prescriptions.
    Pharmacist,
    /// Follows a patient's care from place to place.
    CareCoordinator,
    /// Runs the clinic's people and schedule.
    Admin,
    /// Helps people with their accounts.
    Support,
    /// Reads the audit log.
    Auditor,
    /// Keeps the machines running.
    Sre,
}

/// How many roles there are, and so the most that one person can have.
pub const ROLES_MAX: usize = 10;

/// A language the portals speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Locale {
    /// English.
    #[default]
    En,
    /// Spanish.
    Es,
    /// French.
    Fr,
}

/// A person, as short as a list needs it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PersonRef {
    /// Which person.
    #[schema(value_type = uuid::Uuid)]
    pub id: PersonId,
    /// How they are called.
    #[schema(value_type = String)]
    pub display_name: Phi<String>,
}

/// A person of the clinic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Person {
    /// Which person.
    #[schema(value_type = uuid::Uuid)]
    pub id: PersonId,
    /// How they are called.
    #[schema(value_type = String)]
    pub display_name: Phi<String>,
    /// Shown to admins only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub email: Option<Phi<String>>,
    /// What they are to the clinic.
    pub roles: Vec<Role>,
    /// Whether they can sign in.
    pub active: bool,
    /// Grows with every change of roles or of `active`; the `ETag` is this number in quotes.
    pub version: i64,
}

/// Which people to list.
#[derive(Clone, Debug, Default, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PersonQuery {
    /// Only people with this role.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(inline)]
    pub role: Option<Role>,
    /// `next_cursor` of the page before; absent for the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// Most items to return, 1 to 200; 50 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 200)]
    pub limit: Option<u32>,
}

/// What somebody remembers of a patient. In the body: what is typed here is a name.
#[derive(Clone, Debug, Serialize, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PatientSearch {
    /// A name or a part of it, spelt roughly; or a whole mail address.
    #[garde(custom(rules::search))]
    #[schema(value_type = String, min_length = 1, max_length = 120)]
    pub q: Phi<String>,
    /// Most patients to return; 10 when absent.
    #[garde(inner(range(min = 1, max = 50)))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 50)]
    pub limit: Option<u32>,
}

/// Who was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PatientMatches {
    /// The closest match first.
    pub items: Vec<Person>,
}

/// A new person with a password login.
#[derive(Clone, Debug, Serialize, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PersonCreate {
    /// How they are called.
    #[garde(custom(rules::display_name))]
    #[schema(value_type = String, min_length = 1, max_length = 120)]
    pub display_name: Phi<String>,
    /// Where they sign in with; unique.
    #[garde(custom(rules::email))]
    #[schema(value_type = String, max_length = 254)]
    pub email: Phi<String>,
    /// Their first password: 15 characters or more, and not a well-known one.
    #[garde(custom(rules::password_new))]
    #[schema(value_type = String, format = Password, min_length = 15, max_length = 128)]
    pub password: Secret,
    /// What they are to the clinic; at least one.
    #[garde(length(min = 1, max = ROLES_MAX))]
    #[schema(min_items = 1, max_items = 10)]
    pub roles: Vec<Role>,
    /// Their language.
    #[garde(skip)]
    #[serde(default)]
    #[schema(required = false)]
    pub locale: Locale,
}

/// What a person is to the clinic from now on; what is absent stays.
#[derive(Clone, Debug, Default, Serialize, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PersonUpdate {
    /// All their roles; at least one. Who is a patient stays one.
    #[garde(inner(length(min = 1, max = ROLES_MAX)))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_items = 1, max_items = 10)]
    pub roles: Option<Vec<Role>>,
    /// Whether they can sign in.
    #[garde(skip)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active: Option<bool>,
}
