//! Second factors: authenticator apps, passkeys, recovery codes; and proving oneself with them.

use garde::Validate;
use medmesh_base::Phi;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::Secret;
use crate::rules;
use crate::session::Session;

/// What a session may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Everything the person may.
    Full,
    /// Nothing but `POST /v1/auth/mfa/verify` and signing out.
    MfaRequired,
    /// Nothing but setting up a second factor and signing out.
    MfaEnrolmentRequired,
}

/// A way to prove who one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FactorKind {
    /// The password.
    Password,
    /// A code of an authenticator app.
    Totp,
    /// A passkey.
    Passkey,
    /// One of the codes kept for the day the device is lost.
    RecoveryCode,
    /// Whatever an outside provider asked for.
    Provider,
    /// Two factors at an outside provider.
    ProviderMfa,
}

/// A proof of who one is.
#[derive(Clone, Debug, Serialize, Deserialize, Validate, ToSchema)]
#[serde(tag = "method", rename_all = "snake_case")]
pub enum Proof {
    /// The password; only to step up, and only where there is no second factor.
    Password {
        /// The password.
        #[garde(custom(rules::password_tried))]
        #[schema(value_type = String, format = Password, min_length = 1, max_length = 128)]
        password: Secret,
    },
    /// The present code of the authenticator app.
    Totp {
        /// Six digits.
        #[garde(custom(rules::code))]
        #[schema(value_type = String, min_length = 6, max_length = 10)]
        code: Secret,
    },
    /// A recovery code, which is then used up.
    RecoveryCode {
        /// Six groups of four letters or digits.
        #[garde(custom(rules::recovery_code))]
        #[schema(value_type = String, min_length = 24, max_length = 40)]
        code: Secret,
    },
    /// A passkey's answer to `POST /v1/auth/passkey/options`.
    Passkey {
        /// What `navigator.credentials.get` gave.
        #[garde(dive)]
        credential: PasskeyAssertion,
    },
}

/// What a person can prove themselves with.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Factors {
    /// The authenticator app, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub totp: Option<TotpFactor>,
    /// The passkeys, oldest first.
    pub passkeys: Vec<Passkey>,
    /// Recovery codes that are still unused.
    pub recovery_codes_left: u32,
    /// Whether the person may do without a second factor.
    pub is_optional: bool,
}

/// An authenticator app, as its owner recognises it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TotpFactor {
    /// Since when it is in use.
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
    /// What its owner calls it, if they said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub name: Option<Phi<String>>,
    /// Grows with every naming; the `ETag` is this number in quotes. 0 before the first.
    pub version: i64,
}

/// What to call a second factor from now on.
#[derive(Clone, Debug, Serialize, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FactorRename {
    /// One short line.
    #[garde(custom(rules::factor_name))]
    #[schema(value_type = String, min_length = 1, max_length = 60)]
    pub name: Phi<String>,
}

/// A new authenticator app, to be scanned or typed, and then confirmed with its first code.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct TotpSetup {
    /// Base32, for apps that cannot scan.
    #[schema(value_type = String)]
    pub secret: Secret,
    /// `otpauth://…`, for a QR code.
    #[schema(value_type = String)]
    pub uri: Secret,
}

/// The first code of a new app.
#[derive(Clone, Debug, Serialize, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TotpConfirm {
    /// Six digits.
    #[garde(custom(rules::code))]
    #[schema(value_type = String, min_length = 6, max_length = 10)]
    pub code: Secret,
}

/// A second factor was set up.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Enrolment {
    /// The session, which now may do more.
    pub session: Session,
    /// Codes for the day the device is lost, with the first factor only. They are shown this once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>, required = false)]
    pub recovery_codes: Vec<Secret>,
}

/// New recovery codes; those before are no longer good.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct RecoveryCodes {
    /// Shown this once.
    #[schema(value_type = Vec<String>)]
    pub recovery_codes: Vec<Secret>,
}

/// A passkey, as its owner recognises it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Passkey {
    /// Which.
    pub id: Uuid,
    /// What its owner calls it, if they said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub name: Option<Phi<String>>,
    /// Grows with every naming; the `ETag` is this number in quotes. 0 before the first.
    pub version: i64,
    /// Browser and system it was made with; empty when they did not say.
    pub device: String,
    /// Whether it is synchronised between devices.
    pub is_synced: bool,
    /// When it was made.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// When it last signed in.
    #[serde(
        default,
        with = "time::serde::rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub used_at: Option<OffsetDateTime>,
}

/// `PublicKeyCredentialCreationOptionsJSON` (WebAuthn Level 3 section 5.1.9), what we use of it.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PasskeyCreation {
    /// The relying party.
    pub rp: PasskeyRp,
    /// Whose it will be.
    pub user: PasskeyUser,
    /// Base64url.
    pub challenge: String,
    /// Algorithms, the preferred first.
    pub pub_key_cred_params: Vec<PasskeyAlgorithm>,
    /// Milliseconds.
    pub timeout: u32,
    /// Passkeys there are, so that a device does not make a second one.
    pub exclude_credentials: Vec<PasskeyDescriptor>,
    /// Discoverable, with the user verified.
    pub authenticator_selection: PasskeySelection,
    /// `none`.
    pub attestation: String,
}

/// The relying party.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct PasskeyRp {
    /// Its domain.
    pub id: String,
    /// What the browser shows.
    pub name: String,
}

/// Whose passkey it will be.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PasskeyUser {
    /// Base64url; says nothing about the person.
    pub id: String,
    /// What the device lists it under.
    #[schema(value_type = String)]
    pub name: Phi<String>,
    /// The same.
    #[schema(value_type = String)]
    pub display_name: Phi<String>,
}

/// An algorithm.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
pub struct PasskeyAlgorithm {
    /// `public-key`.
    #[serde(rename = "type")]
    pub kind: PasskeyKind,
    /// Its COSE number.
    pub alg: i64,
}

/// The one kind of credential there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum PasskeyKind {
    /// `public-key`.
    #[default]
    #[serde(rename = "public-key")]
    PublicKey,
}

/// Names a passkey.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct PasskeyDescriptor {
    /// `public-key`.
    #[serde(rename = "type")]
    pub kind: PasskeyKind,
    /// Base64url.
    pub id: String,
}

/// What is asked of the authenticator.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PasskeySelection {
    /// `required`.
    pub resident_key: String,
    /// `true`, for browsers that do not know `residentKey`.
    pub require_resident_key: bool,
    /// `required`.
    pub user_verification: String,
}

/// `PublicKeyCredentialRequestOptionsJSON` (WebAuthn Level 3 section 5.1.10), what we use of it.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PasskeyRequest {
    /// Base64url.
    pub challenge: String,
    /// Milliseconds.
    pub timeout: u32,
    /// The relying party's domain.
    pub rp_id: String,
    /// Passkeys that may answer; any of the device's when empty.
    pub allow_credentials: Vec<PasskeyDescriptor>,
    /// `required`.
    pub user_verification: String,
}

/// `RegistrationResponseJSON`, what is used of it; the rest is ignored.
#[derive(Clone, Debug, Serialize, Deserialize, Validate, ToSchema)]
pub struct PasskeyRegistration {
    /// Base64url of the credential id.
    #[garde(length(min = 1, max = 1400))]
    #[schema(min_length = 1, max_length = 1400)]
    pub id: String,
    /// What the browser and the authenticator say.
    #[garde(dive)]
    pub response: PasskeyAttestation,
}

/// `AuthenticatorAttestationResponseJSON`.
#[derive(Clone, Debug, Serialize, Deserialize, Validate, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PasskeyAttestation {
    /// Base64url.
    #[garde(length(min = 1, max = 8192))]
    #[serde(rename = "clientDataJSON")]
    #[schema(min_length = 1, max_length = 8192)]
    pub client_data_json: String,
    /// Base64url.
    #[garde(length(min = 1, max = 16384))]
    #[schema(min_length = 1, max_length = 16384)]
    pub attestation_object: String,
}

/// `AuthenticationResponseJSON`, what is used of it; the rest is ignored.
#[derive(Clone, Debug, Serialize, Deserialize, Validate, ToSchema)]
pub struct PasskeyAssertion {
    /// Base64url of the credential id.
    #[garde(length(min = 1, max = 1400))]
    #[schema(min_length = 1, max_length = 1400)]
    pub id: String,
    /// What the browser and the authenticator say.
    #[garde(dive)]
    pub response: PasskeySignature,
}

/// `AuthenticatorAssertionResponseJSON`.
#[derive(Clone, Debug, Serialize, Deserialize, Validate, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PasskeySignature {
    /// Base64url.
    #[garde(length(min = 1, max = 8192))]
    #[serde(rename = "clientDataJSON")]
    #[schema(min_length = 1, max_length = 8192)]
    pub client_data_json: String,
    /// Base64url.
    #[garde(length(min = 1, max = 8192))]
    #[schema(min_length = 1, max_length = 8192)]
    pub authenticator_data: String,
    /// Base64url.
    #[garde(length(min = 1, max = 4096))]
    #[schema(min_length = 1, max_length = 4096)]
    pub signature: String,
    /// Base64url; discoverable passkeys bring it.
    #[garde(inner(length(max = 128)))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 128)]
    pub user_handle: Option<String>,
}

/// A session in a person's list of devices.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Device {
    /// The session.
    #[schema(value_type = Uuid)]
    pub id: medmesh_base::SessionId,
    /// Browser and system; empty when they did not say.
    pub device: String,
    /// When it was opened.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// When it was last used, to half a minute.
    #[serde(with = "time::serde::rfc3339")]
    pub seen_at: OffsetDateTime,
    /// Whether it is the one that asks.
    pub is_present: bool,
}
