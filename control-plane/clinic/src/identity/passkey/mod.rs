//! Passkeys: the relying party's half of WebAuthn Level 3.
//!
//! Pure: the challenge, the expected origins and the stored credential come in, what is to be
//! stored comes out. [`register`] follows section 7.1 and [`authenticate`] section 7.2 of
//! <https://www.w3.org/TR/webauthn-3/>, step by step. Attestation is asked for as `none`;
//! a self attestation that some authenticators send anyway is checked, every other kind is refused.
//! User verification is always demanded, so that one gesture is two factors.
//!
//! The client is asked for ES256, `EdDSA` and RS256, which every authenticator on the market
//! speaks one of; signatures are checked by aws-lc-rs.

mod authenticator_data;
mod client_data;
mod key;
#[cfg(test)]
mod tests;

use aws_lc_rs::digest::{SHA256, digest};
use ciborium::Value;
use uuid::Uuid;

pub use client_data::challenge_of;
pub use key::PASSKEY_ALGORITHMS;

use authenticator_data::AuthenticatorData;
use client_data::Ceremony;
use key::PublicKey;

/// Bytes of a challenge's random part at least (WebAuthn L3 section 13.4.3: 16).
pub const PASSKEY_CHALLENGE_BYTES_MIN: usize = 16;
/// Longest credential id (WebAuthn L3 section 4, Credential ID: 1023).
pub const CREDENTIAL_ID_BYTES_MAX: usize = 1023;

/// Why a passkey was refused. For the log and for tests; a caller is told only that it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasskeyError {
    /// The client data is not JSON of the expected shape.
    #[error("malformed client data")]
    ClientData,
    /// It is the answer to another kind of request.
    #[error("wrong ceremony")]
    Ceremony,
    /// It answers another challenge.
    #[error("wrong challenge")]
    Challenge,
    /// It was made on another site, or inside a frame of one.
    #[error("wrong origin")]
    Origin,
    /// The authenticator data is malformed.
    #[error("malformed authenticator data")]
    AuthenticatorData,
    /// It was made for another relying party.
    #[error("wrong relying party")]
    RelyingParty,
    /// Nobody touched the authenticator.
    #[error("user not present")]
    NotPresent,
    /// The authenticator did not verify its owner.
    #[error("user not verified")]
    NotVerified,
    /// The backup flags contradict each other or what was registered.
    #[error("backup flags do not fit")]
    Backup,
    /// The attestation is malformed or of a kind that was not asked for.
    #[error("attestation not acceptable")]
    Attestation,
    /// The public key is malformed or of an algorithm that was not offered.
    #[error("key not acceptable")]
    Key,
    /// The signature is not the key's.
    #[error("wrong signature")]
    Signature,
    /// The signature counter did not go up: a copy of the authenticator may exist.
    #[error("signature counter went back")]
    Counter,
    /// The authenticator names another person.
    #[error("wrong user handle")]
    UserHandle,
}

/// What the relying party expects of either ceremony.
#[derive(Clone, Copy, Debug)]
pub struct Expectation<'a> {
    /// The challenge that was given out.
    pub challenge: &'a [u8],
    /// Origins of the portals, as browsers write them.
    pub origins: &'a [String],
    /// The relying party's domain.
    pub rp_id: &'a str,
}

/// What a browser answers to `navigator.credentials.create`.
#[derive(Clone, Copy, Debug)]
pub struct Registration<'a> {
    /// `clientDataJSON`.
    pub client_data: &'a [u8],
    /// `attestationObject`.
    pub attestation_object: &'a [u8],
}

/// What a browser answers to `navigator.credentials.get`.
#[derive(Clone, Copy, Debug)]
pub struct Assertion<'a> {
    /// `clientDataJSON`.
    pub client_data: &'a [u8],
    /// `authenticatorData`.
    pub authenticator_data: &'a [u8],
    /// `signature`.
    pub signature: &'a [u8],
    /// `userHandle`, which discoverable passkeys bring.
    pub user_handle: Option<&'a [u8]>,
}

/// A passkey as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    /// The authenticator's name for it.
    pub id: Vec<u8>,
    /// The public key, as `COSE_Key`.
    pub public_key: Vec<u8>,
    /// The counter of its last signature; 0 where the authenticator keeps none.
    pub sign_count: u32,
    /// Whether it may exist on several devices.
    pub backup_eligible: bool,
    /// Whether it does.
    pub backed_up: bool,
    /// The authenticator's model; all zero where it does not say.
    pub aaguid: Uuid,
}

/// What an assertion changes about the stored passkey.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asserted {
    /// The new counter.
    pub sign_count: u32,
    /// Whether it now exists on several devices.
    pub backed_up: bool,
}

/// Checks a new passkey (WebAuthn L3 section 7.1). Whether its id is new is the store's to say.
///
/// # Errors
/// [`PasskeyError`], at the first step that fails.
pub fn register(expected: &Expectation<'_>, given: &Registration<'_>) -> Result<Credential, PasskeyError> {
    client_data::check(Ceremony::Create, expected, given.client_data)?;
    let attestation = AttestationObject::parse(given.attestation_object)?;
    let data = AuthenticatorData::parse(&attestation.auth_data)?;
    data.check(expected.rp_id)?;
    let attested = data.attested.as_ref().ok_or(PasskeyError::AuthenticatorData)?;
    let key = PublicKey::parse(&attested.public_key)?;
    attestation.check(&key, given.client_data)?;
    Ok(Credential {
        id: attested.credential_id.clone(),
        public_key: attested.public_key.clone(),
        sign_count: data.sign_count,
        backup_eligible: data.backup_eligible,
        backed_up: data.backed_up,
        aaguid: attested.aaguid,
    })
}

/// Checks that whoever answered holds the passkey of `owner` (WebAuthn L3 section 7.2).
///
/// # Errors
/// [`PasskeyError`], at the first step that fails.
pub fn authenticate(
    expected: &Expectation<'_>,
    stored: &Credential,
    owner: &[u8],
    given: &Assertion<'_>,
) -> Result<Asserted, PasskeyError> {
    if given.user_handle.is_some_and(|handle| handle != owner) {
        return Err(PasskeyError::UserHandle);
    }
    client_data::check(Ceremony::Get, expected, given.client_data)?;
    let data = AuthenticatorData::parse(given.authenticator_data)?;
    data.check(expected.rp_id)?;
    if data.backup_eligible != stored.backup_eligible {
        return Err(PasskeyError::Backup);
    }
    PublicKey::parse(&stored.public_key)?.verify(
        &signed_bytes(given.authenticator_data, given.client_data),
        given.signature,
    )?;
    let counts = data.sign_count != 0 || stored.sign_count != 0;
    if counts && data.sign_count <= stored.sign_count {
        return Err(PasskeyError::Counter);
    }
    Ok(Asserted {
        sign_count: data.sign_count,
        backed_up: data.backed_up,
    })
}

/// What the authenticator signs: its data, then the hash of the client's.
fn signed_bytes(authenticator_data: &[u8], client_data: &[u8]) -> Vec<u8> {
    let mut bytes = authenticator_data.to_vec();
    bytes.extend_from_slice(digest(&SHA256, client_data).as_ref());
    bytes
}

/// The outer CBOR map of a registration (WebAuthn L3 section 6.5.4).
struct AttestationObject {
    format: String,
    statement: Vec<(Value, Value)>,
    auth_data: Vec<u8>,
}

impl AttestationObject {
    fn parse(bytes: &[u8]) -> Result<Self, PasskeyError> {
        let bad = || PasskeyError::Attestation;
        let mut rest = bytes;
        let value: Value = ciborium::from_reader(&mut rest).map_err(|_| bad())?;
        if !rest.is_empty() {
            return Err(bad());
        }
        let (mut format, mut statement, mut auth_data) = (None, None, None);
        for (key, value) in value.into_map().map_err(|_| bad())? {
            match key.as_text() {
                Some("fmt") => format = value.into_text().ok(),
                Some("attStmt") => statement = value.into_map().ok(),
                Some("authData") => auth_data = value.into_bytes().ok(),
                _ => {}
            }
        }
        Ok(Self {
            format: format.ok_or_else(bad)?,
            statement: statement.ok_or_else(bad)?,
            auth_data: auth_data.ok_or_else(bad)?,
        })
    }

    /// `none` says nothing; `packed` without certificates is signed by the new key itself
    /// (WebAuthn L3 section 8.2, self attestation).
    fn check(&self, key: &PublicKey, client_data: &[u8]) -> Result<(), PasskeyError> {
        match self.format.as_str() {
            "none" if self.statement.is_empty() => Ok(()),
            "packed" => {
                let field = |name: &str| {
                    let found = self.statement.iter().find(|(key, _)| key.as_text() == Some(name));
                    found.map(|(_, value)| value)
                };
                let algorithm = field("alg").and_then(Value::as_integer).map(i128::from);
                let signature = field("sig").and_then(Value::as_bytes);
                let (Some(algorithm), Some(signature), None) = (algorithm, signature, field("x5c")) else {
                    return Err(PasskeyError::Attestation);
                };
                if algorithm != i128::from(key.algorithm()) {
                    return Err(PasskeyError::Attestation);
                }
                key.verify(&signed_bytes(&self.auth_data, client_data), signature)
            }
            _ => Err(PasskeyError::Attestation),
        }
    }
}
