//! Signing in with an outside OpenID provider.

use garde::Validate;
use medmesh_base::{ClinicId, IdentityId};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};

use crate::Secret;
use crate::rules;

/// How a clinic's people may sign in with an outside provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OidcProvider {
    /// The issuer, as its tokens say it; empty when there is none yet.
    pub issuer: String,
    /// The clinic's client id there.
    pub client_id: String,
    /// Words of `amr`, or values of `acr`, that the clinic takes for a second factor. Empty: everybody
    /// proves theirs here.
    pub second_factor: Vec<String>,
    /// Whether anybody may sign in with it.
    pub enabled: bool,
    /// What the provider must be told to send people back to.
    pub redirect_uri: String,
    /// Where a person of the clinic begins to sign in with it: a link to hand out.
    pub start_url: String,
    /// Grows with every change; the `ETag` is this number in quotes. 0 when there is none yet.
    pub version: i64,
}

/// A clinic's provider from now on.
#[derive(Clone, Debug, Serialize, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OidcProviderSet {
    /// The issuer, letter for letter: an HTTPS address without query.
    #[garde(length(min = 1, max = 512))]
    #[schema(min_length = 1, max_length = 512)]
    pub issuer: String,
    /// The clinic's client id there.
    #[garde(length(min = 1, max = 256))]
    #[schema(min_length = 1, max_length = 256)]
    pub client_id: String,
    /// The clinic's secret there; never shown again. Absent: the one before stays.
    #[garde(inner(custom(rules::client_secret)))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = Password, min_length = 8, max_length = 512)]
    pub client_secret: Option<Secret>,
    /// Words of `amr`, or values of `acr`, that the clinic takes for a second factor.
    #[garde(length(max = 16), inner(length(min = 1, max = 128)))]
    #[serde(default)]
    #[schema(required = false, max_items = 16)]
    pub second_factor: Vec<String>,
    /// Whether anybody may sign in with it.
    #[garde(skip)]
    pub enabled: bool,
}

/// A page people sign in at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Portal {
    /// Patients'.
    Patient,
    /// That of those who give care.
    Clinician,
    /// That of those who run the clinic.
    Admin,
}

impl Portal {
    /// Its place below the portals' address.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Patient => "patient",
            Self::Clinician => "clinician",
            Self::Admin => "admin",
        }
    }
}

/// Whose provider to go to.
#[derive(Clone, Debug, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct OidcStartQuery {
    /// The clinic's.
    pub clinic_id: uuid::Uuid,
    /// Where to come back to; the one that fits the person, when absent.
    #[param(inline)]
    pub portal: Option<Portal>,
}

/// Whose sign-in a page may offer.
#[derive(Clone, Debug, Default, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct OidcOfferQuery {
    /// The clinic's; the only clinic's, when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clinic_id: Option<uuid::Uuid>,
}

/// A clinic's own sign-in, as a page to sign in at offers it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OidcOffer {
    /// For `clinic_id` of `/v1/auth/oidc/start`.
    #[schema(value_type = uuid::Uuid)]
    pub clinic_id: ClinicId,
    /// What the clinic calls itself.
    pub clinic_name: String,
}

/// What a provider sends a browser back with.
#[derive(Clone, Debug, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct OidcCallbackQuery {
    /// What we sent along.
    #[serde(default)]
    pub state: String,
    /// To be redeemed, where it let them in.
    pub code: Option<String>,
    /// Why it did not.
    pub error: Option<String>,
    /// Who answers (RFC 9207).
    pub iss: Option<String>,
}

/// An invitation is accepted with an outside identity, in place of a password.
#[derive(Clone, Debug, Serialize, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OidcAccept {
    /// What stood in the link's fragment.
    #[garde(custom(rules::link_token))]
    #[schema(value_type = String, min_length = 43, max_length = 43)]
    pub token: Secret,
    /// Where to come back to; the one that fits the person, when absent.
    #[garde(skip)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub portal: Option<Portal>,
}

/// Where to send the browser.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct OidcStart {
    /// The provider's page.
    pub authorization_url: String,
}

/// An outside identity of a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OutsideIdentity {
    /// Which.
    #[schema(value_type = uuid::Uuid)]
    pub id: IdentityId,
    /// Who vouches.
    pub issuer: String,
    /// Since when.
    #[serde(with = "time::serde::rfc3339")]
    pub linked_at: OffsetDateTime,
    /// When it was last signed in with.
    #[serde(default, with = "time::serde::rfc3339::option")]
    #[schema(required)]
    pub used_at: Option<OffsetDateTime>,
}
