//! Invitations, forgotten passwords, new ones.

use garde::Validate;
use medmesh_base::{ClinicId, Phi};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::Secret;
use crate::person::{Locale, Person, Role};
use crate::rules;

/// Somebody to invite. They choose their password themselves.
#[derive(Clone, Debug, Serialize, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InvitationCreate {
    /// How they are called.
    #[garde(custom(rules::display_name))]
    #[schema(value_type = String, min_length = 1, max_length = 120)]
    pub display_name: Phi<String>,
    /// Where the invitation goes, and what they will sign in with.
    #[garde(custom(rules::email))]
    #[schema(value_type = String, max_length = 254)]
    pub email: Phi<String>,
    /// What they are to the clinic; at least one.
    #[garde(length(min = 1, max = 10))]
    #[schema(min_items = 1, max_items = 10)]
    pub roles: Vec<Role>,
    /// Their language, also of the mail.
    #[garde(skip)]
    #[serde(default)]
    #[schema(required = false)]
    pub locale: Locale,
}

/// An invitation.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Invitation {
    /// Who is invited.
    pub person: Person,
    /// Only where the clinic sends no mail: to be handed over by whoever invited. Shown this once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<AccountLink>,
}

/// A link that sets a password, once.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct AccountLink {
    /// The token is in the fragment, which browsers send to nobody.
    #[schema(value_type = String)]
    pub url: Secret,
    /// Good until then.
    #[serde(with = "time::serde::rfc3339")]
    pub expires_at: OffsetDateTime,
}

/// Somebody forgot their password.
#[derive(Clone, Debug, Serialize, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ResetRequest {
    /// The address they sign in with.
    #[garde(custom(rules::email))]
    #[schema(value_type = String, max_length = 254)]
    pub email: Phi<String>,
}

/// A link is followed.
#[derive(Clone, Debug, Serialize, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LinkRedeem {
    /// What stood in the link's fragment.
    #[garde(custom(rules::link_token))]
    #[schema(value_type = String, min_length = 43, max_length = 43)]
    pub token: Secret,
    /// The password from now on: 15 characters or more, and not a well-known one.
    #[garde(custom(rules::password_new))]
    #[schema(value_type = String, format = Password, min_length = 15, max_length = 128)]
    pub password: Secret,
}

/// Somebody wants to register as a patient.
#[derive(Clone, Debug, Serialize, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RegistrationRequest {
    /// With which clinic.
    #[garde(skip)]
    #[schema(value_type = uuid::Uuid)]
    pub clinic_id: ClinicId,
    /// The address they will sign in with. What there is to know about it, the mail says.
    #[garde(custom(rules::email))]
    #[schema(value_type = String, max_length = 254)]
    pub email: Phi<String>,
    /// Their language, also of the mail.
    #[garde(skip)]
    #[serde(default)]
    #[schema(required = false)]
    pub locale: Locale,
}

/// The link of a registration is followed.
#[derive(Clone, Debug, Serialize, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RegistrationComplete {
    /// What stood in the link's fragment.
    #[garde(custom(rules::link_token))]
    #[schema(value_type = String, min_length = 43, max_length = 43)]
    pub token: Secret,
    /// How they are called.
    #[garde(custom(rules::display_name))]
    #[schema(value_type = String, min_length = 1, max_length = 120)]
    pub display_name: Phi<String>,
    /// Their password: 15 characters or more, and not a well-known one.
    #[garde(custom(rules::password_new))]
    #[schema(value_type = String, format = Password, min_length = 15, max_length = 128)]
    pub password: Secret,
}

/// A new password for whoever is signed in.
#[derive(Clone, Debug, Serialize, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PasswordChange {
    /// The password from now on: 15 characters or more, and not a well-known one.
    #[garde(custom(rules::password_new))]
    #[schema(value_type = String, format = Password, min_length = 15, max_length = 128)]
    pub password: Secret,
}
