//! Assertions of machines: whose they say they are, and whether one of that machine's keys signed
//! them. The key decides how it is checked, so no token chooses: `none`, HMAC and every other
//! algorithm are refused before a key is looked for.

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;

use std::collections::HashSet;

use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED, ParsedPublicKey};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use medmesh_base::ClientId;
use medmesh_clinic::client::{AssertionClaims, ClientKey, ClientKeys, KeyAlgorithm};
use serde::Deserialize;

/// Longest assertion: an RSA signature of 4096 bits, seven claims, and room for what others add.
pub(crate) const ASSERTION_BYTES_MAX: usize = 8 * 1024;
/// What an assertion may say it is (RFC 7519 section 5.1, RFC 7523bis).
const TYPES: [&str; 2] = ["jwt", "client-authentication+jwt"];

/// Why an assertion proves nothing; for the log, never for the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProofFault {
    /// No JWT of a kind that is taken.
    #[error("form")]
    Form,
    /// An algorithm that is not taken, or not that of the key.
    #[error("algorithm")]
    Algorithm,
    /// It names no key of this machine.
    #[error("key")]
    Key,
    /// The key says no.
    #[error("signature")]
    Signature,
    /// The claims are none.
    #[error("claims")]
    Claims,
}

/// An assertion that nothing is known of yet but what it says.
#[derive(Debug)]
pub(crate) struct Unproved<'a> {
    text: &'a str,
    algorithm: KeyAlgorithm,
    /// Which key it names.
    key_id: String,
    /// Which machine it says it is.
    pub(crate) client: ClientId,
}

/// The one claim that is read before anything is proved: whose keys to look for.
#[derive(Deserialize)]
struct Subject {
    sub: String,
}

impl<'a> Unproved<'a> {
    /// Reads what an assertion says about itself.
    ///
    /// # Errors
    /// [`ProofFault::Form`], [`ProofFault::Algorithm`].
    pub(crate) fn read(text: &'a str) -> Result<Self, ProofFault> {
        if text.len() > ASSERTION_BYTES_MAX {
            return Err(ProofFault::Form);
        }
        // A word that is no algorithm at all does not parse, `none` among them.
        let header = jsonwebtoken::decode_header(text).map_err(|_| ProofFault::Form)?;
        let algorithm = match header.alg {
            Algorithm::ES384 => KeyAlgorithm::Es384,
            Algorithm::RS384 => KeyAlgorithm::Rs384,
            _ => return Err(ProofFault::Algorithm),
        };
        let is_known_type = header
            .typ
            .is_none_or(|typ| TYPES.iter().any(|known| typ.eq_ignore_ascii_case(known)));
        // What must be understood is not (RFC 7515 section 4.1.11).
        if !is_known_type || header.crit.is_some() {
            return Err(ProofFault::Form);
        }
        let claims = text.split('.').nth(1).ok_or(ProofFault::Form)?;
        let claims = BASE64_URL_SAFE_NO_PAD
            .decode(claims)
            .map_err(|_| ProofFault::Form)?;
        let subject: Subject = serde_json::from_slice(&claims).map_err(|_| ProofFault::Form)?;
        Ok(Self {
            text,
            algorithm,
            key_id: header.kid.ok_or(ProofFault::Form)?,
            client: subject.sub.parse().map_err(|_| ProofFault::Form)?,
        })
    }

    /// The claims and the key, if the named one of these signed them.
    ///
    /// # Errors
    /// [`ProofFault`].
    pub(crate) fn prove<'k>(
        &self,
        keys: &'k ClientKeys,
    ) -> Result<(&'k ClientKey, AssertionClaims), ProofFault> {
        let key = keys.get(&self.key_id).ok_or(ProofFault::Key)?;
        if key.algorithm() != self.algorithm {
            return Err(ProofFault::Algorithm);
        }
        let (algorithm, decoding) = decoding_key(key).ok_or(ProofFault::Key)?;
        let mut validation = Validation::new(algorithm);
        // The claims are checked together, in one place that is pure.
        validation.required_spec_claims = HashSet::new();
        validation.validate_exp = false;
        validation.validate_aud = false;
        match jsonwebtoken::decode::<AssertionClaims>(self.text, &decoding, &validation) {
            Ok(decoded) => Ok((key, decoded.claims)),
            Err(error) if matches!(error.kind(), jsonwebtoken::errors::ErrorKind::Json(_)) => {
                Err(ProofFault::Claims)
            }
            Err(_) => Err(ProofFault::Signature),
        }
    }
}

fn decoding_key(key: &ClientKey) -> Option<(Algorithm, DecodingKey)> {
    match key.algorithm() {
        KeyAlgorithm::Es384 => Some((Algorithm::ES384, DecodingKey::from_ec_der(&key.point()?))),
        KeyAlgorithm::Rs384 => {
            let (n, e) = key.modulus_and_exponent()?;
            Some((Algorithm::RS384, DecodingKey::from_rsa_raw_components(n, e)))
        }
    }
}

/// Whether every EC key is a point on its curve.
pub(crate) fn are_points(keys: &ClientKeys) -> bool {
    keys.as_slice()
        .iter()
        .filter_map(ClientKey::point)
        .all(|point| ParsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, &point).is_ok())
}
