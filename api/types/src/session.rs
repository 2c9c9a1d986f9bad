//! Signing in and out.

use garde::Validate;
use medmesh_base::{ClinicId, Phi};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::Secret;
use crate::factor::{FactorKind, Standing};
use crate::person::{Locale, Role};
use crate::rules;

/// The cookie that carries the opaque session. `__Host-` makes the browser insist on
/// `Secure`, `Path=/` and no `Domain` (RFC 6265bis section 4.1.3.2).
pub const SESSION_COOKIE: &str = "__Host-medmesh_session";
/// The header that carries the CSRF token on unsafe methods.
pub const CSRF_HEADER: &str = "x-csrf-token";
/// The header that makes a creating request safe to repeat.
pub const IDEMPOTENCY_HEADER: &str = "idempotency-key";
/// The header by which a page says that it asks by itself and no person caused the request: such a
/// request does not keep the session from its idle lock. Leaving it out only claims that somebody
/// is there, which whoever holds the session could claim anyway; on unsafe methods it says nothing.
pub const BACKGROUND_HEADER: &str = "medmesh-background";
/// The only value of [`BACKGROUND_HEADER`].
pub const BACKGROUND: &str = "1";

/// What a person types to sign in.
#[derive(Clone, Debug, Serialize, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LoginRequest {
    /// The mail address, in any case.
    #[garde(custom(rules::email))]
    #[schema(value_type = String, max_length = 254, example = "ada@example.org")]
    pub email: Phi<String>,
    /// The password.
    #[garde(custom(rules::password_tried))]
    #[schema(value_type = String, format = Password, min_length = 1, max_length = 128)]
    pub password: Secret,
}

/// Who is signed in, and what the portal needs to act for them.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Session {
    /// The person.
    pub person: SessionPerson,
    /// Their clinic.
    pub clinic: Clinic,
    /// Goes into `X-CSRF-Token` of every unsafe request.
    #[schema(value_type = String)]
    pub csrf_token: Secret,
    /// The session ends after this long without a request that a person caused.
    pub idle_timeout_seconds: u32,
    /// The person's language.
    pub locale: Locale,
    /// What the session may do. Everything but `full` is answered with a problem of the same
    /// name by routes that need more.
    pub standing: Standing,
    /// What was proved in it.
    pub factors: Vec<FactorKind>,
    /// What the person could prove beside the password.
    pub second_factors: Vec<FactorKind>,
    /// When something was last proved.
    #[serde(with = "time::serde::rfc3339")]
    pub authenticated_at: OffsetDateTime,
}

/// The person who is signed in.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SessionPerson {
    /// Which person.
    #[schema(value_type = uuid::Uuid)]
    pub id: medmesh_base::PersonId,
    /// How they are called.
    #[schema(value_type = String)]
    pub display_name: Phi<String>,
    /// What they are to the clinic.
    pub roles: Vec<Role>,
    /// Those of the roles in which they may not act yet, or no longer: what they need is not
    /// verified. Other routes answer with `credential_required`.
    #[serde(default)]
    #[schema(required)]
    pub awaiting_credentials: Vec<Role>,
}

/// A clinic.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Clinic {
    /// Which clinic.
    #[schema(value_type = uuid::Uuid)]
    pub id: ClinicId,
    /// What it is called.
    pub name: String,
    /// IANA name of the zone its days are counted in, e.g. `Europe/Berlin`.
    #[schema(example = "Europe/Berlin")]
    pub time_zone: String,
}
