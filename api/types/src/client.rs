//! Machines of a clinic: OAuth 2.0 clients with keys of their own (RFC 6749 section 4.4, RFC 7523).

use garde::Validate;
use medmesh_base::ClientId;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};

use crate::Secret;

/// `grant_type` of the one grant there is.
pub const GRANT_TYPE: &str = "client_credentials";
/// `client_assertion_type` of the one proof there is (RFC 7523 section 2.2).
pub const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// Path of the token endpoint.
pub const TOKEN_PATH: &str = "/oauth/token";

/// One thing a machine may, in words of SMART App Launch 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
pub enum ClientScope {
    /// See appointments: who and when, not why.
    #[serde(rename = "system/Appointment.rs")]
    AppointmentRead,
    /// Book, move and call off appointments.
    #[serde(rename = "system/Appointment.cu")]
    AppointmentWrite,
    /// Find patients by name.
    #[serde(rename = "system/Patient.s")]
    PatientSearch,
    /// List who can meet in a visit, by name.
    #[serde(rename = "system/Person.rs")]
    PersonRead,
    /// See who is on a patient's care team.
    #[serde(rename = "system/CareTeam.rs")]
    CareTeamRead,
    /// Read the audit log.
    #[serde(rename = "system/AuditEvent.rs")]
    AuditRead,
}

/// Public keys as a JSON Web Key Set (RFC 7517 section 5): 1 to 8, EC on P-384 (ES384) or RSA of 2048
/// to 4096 bits (RS384), each with a `kid` of its own. Several are good at the same time, which is how
/// keys are changed: add the next one, let the machine use it, take the old one out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Jwks {
    /// The keys. One that holds its private half is refused.
    #[schema(value_type = Vec<Object>, min_items = 1, max_items = 8)]
    pub keys: Vec<Map<String, Value>>,
}

/// A machine to register.
#[derive(Clone, Debug, Serialize, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ClientCreate {
    /// What the clinic calls it: the name of a system, not of a person.
    #[garde(length(chars, min = 1, max = 120))]
    #[schema(min_length = 1, max_length = 120)]
    pub name: String,
    /// What it may at most.
    #[garde(length(min = 1, max = 32))]
    #[schema(min_items = 1, max_items = 32)]
    pub scopes: Vec<ClientScope>,
    /// What it proves itself with.
    #[garde(skip)]
    pub jwks: Jwks,
}

/// What of a machine should change; what is absent stays.
#[derive(Clone, Debug, Default, Serialize, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ClientUpdate {
    /// Another name.
    #[garde(inner(length(chars, min = 1, max = 120)))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 120)]
    pub name: Option<String>,
    /// Other scopes. Tokens given out lose what is no longer among them, at once.
    #[garde(inner(length(min = 1, max = 32)))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_items = 1, max_items = 32)]
    pub scopes: Option<Vec<ClientScope>>,
    /// Other keys, in place of all there are. Tokens obtained with one that goes end with it, at once.
    #[garde(skip)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks: Option<Jwks>,
    /// Whether it is let in at all. `false` ends its tokens, at once.
    #[garde(skip)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
}

/// A machine of the clinic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Client {
    /// Which; the `client_id` it goes by.
    #[schema(value_type = uuid::Uuid)]
    pub id: ClientId,
    /// What the clinic calls it.
    pub name: String,
    /// What it may at most.
    pub scopes: Vec<ClientScope>,
    /// What it proves itself with.
    pub jwks: Jwks,
    /// Whether it is let in at all.
    pub enabled: bool,
    /// Since when it is registered.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// When it last proved itself and was given a token; absent before the first time.
    #[serde(
        default,
        with = "time::serde::rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub last_used_at: Option<OffsetDateTime>,
    /// Rises with each change; what `If-Match` names.
    pub version: i64,
}

/// Which machines.
#[derive(Clone, Debug, Default, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ClientQuery {
    /// `next_cursor` of the page before; absent for the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// Most items to return, 1 to 200; 50 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 200)]
    pub limit: Option<u32>,
}

/// A machine asks for a token (RFC 6749 section 4.4.2, RFC 7523 section 2.2), as a form.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct TokenRequest {
    /// `client_credentials`.
    #[schema(example = "client_credentials")]
    pub grant_type: String,
    /// `urn:ietf:params:oauth:client-assertion-type:jwt-bearer`.
    #[schema(example = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")]
    pub client_assertion_type: String,
    /// A JWT signed with one of the machine's keys.
    #[schema(value_type = String)]
    pub client_assertion: Secret,
    /// Some of what the machine may, with spaces between; all of it when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "system/Appointment.rs")]
    pub scope: Option<String>,
    /// Who asks; the assertion says it already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
}

/// An access token (RFC 6749 section 5.1).
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct TokenAnswer {
    /// Goes into `Authorization: Bearer` of each request.
    #[schema(value_type = String)]
    pub access_token: Secret,
    /// `bearer`.
    pub token_type: String,
    /// How long it is good, seconds.
    pub expires_in: u32,
    /// What it is good for, with spaces between.
    pub scope: String,
}

/// Why there is no token (RFC 6749 section 5.2). Which part of a proof was wrong is not said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TokenErrorCode {
    /// A part is missing, comes twice, or does not parse.
    InvalidRequest,
    /// Nobody is let in with that.
    InvalidClient,
    /// A scope that there is not, or that the machine does not have.
    InvalidScope,
    /// Another grant than client credentials.
    UnsupportedGrantType,
}

/// A refusal of the token endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TokenError {
    /// Why.
    pub error: TokenErrorCode,
    /// The same for people.
    pub error_description: String,
}

/// What the token endpoint can do (RFC 8414 section 2, SMART App Launch 2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OauthMetadata {
    /// Whose it is.
    pub issuer: String,
    /// Where a token is had; what an assertion's `aud` has to say.
    pub token_endpoint: String,
    /// `client_credentials`.
    pub grant_types_supported: Vec<String>,
    /// None: nobody authorises by a browser here.
    pub response_types_supported: Vec<String>,
    /// `private_key_jwt`.
    pub token_endpoint_auth_methods_supported: Vec<String>,
    /// `ES384`, `RS384`.
    pub token_endpoint_auth_signing_alg_values_supported: Vec<String>,
    /// Every scope there is.
    pub scopes_supported: Vec<ClientScope>,
    /// What of SMART there is.
    pub capabilities: Vec<String>,
}
