//! A provider's public keys, and tokens signed with them: RS256 and ES256, each with keys of its own
//! kind and nothing else, so that no token chooses how it is checked.

use std::collections::HashSet;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use medmesh_clinic::identity::oidc::IdClaims;
use serde_json::Value;

/// Most keys of a set: providers show the present, the next and some old ones.
const KEYS_MAX: usize = 32;
/// Shortest RSA modulus (NIST SP 800-131A), bytes.
const RSA_BYTES_MIN: usize = 256;

/// Why a token's signature is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyError {
    /// It is no token, or of an algorithm we do not take.
    Unusable,
    /// It names no key we know.
    Unknown,
    /// The key says no.
    Wrong,
}

impl KeyError {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Unusable => "algorithm",
            Self::Unknown => "key",
            Self::Wrong => "signature",
        }
    }
}

struct Key {
    id: Option<String>,
    algorithm: Algorithm,
    key: DecodingKey,
}

/// The keys of one provider. Cheap to clone.
#[derive(Clone)]
pub(super) struct KeySet(Arc<Vec<Key>>);

impl KeySet {
    /// The keys of a JSON Web Key Set that sign what we take; others are left out. `None` when it is no set.
    pub(super) fn read(json: &[u8]) -> Option<Self> {
        let set: Value = serde_json::from_slice(json).ok()?;
        let keys = set.get("keys")?.as_array()?.iter().take(KEYS_MAX);
        Some(Self(Arc::new(keys.filter_map(key).collect())))
    }

    /// The claims of a token, if one of the keys signed it.
    pub(super) fn verify(&self, token: &str) -> Result<IdClaims, KeyError> {
        let header = jsonwebtoken::decode_header(token).map_err(|_| KeyError::Unusable)?;
        if !matches!(header.alg, Algorithm::RS256 | Algorithm::ES256) {
            return Err(KeyError::Unusable);
        }
        let fits = |key: &&Key| key.algorithm == header.alg && (header.kid.is_none() || key.id == header.kid);
        let mut candidates = self.0.iter().filter(fits);
        let key = candidates.next().ok_or(KeyError::Unknown)?;
        // A token without a key's name is only taken where there is no choice.
        if header.kid.is_none() && candidates.next().is_some() {
            return Err(KeyError::Unknown);
        }
        let mut validation = Validation::new(key.algorithm);
        // The claims are checked together, in one place that is pure.
        validation.required_spec_claims = HashSet::new();
        validation.validate_exp = false;
        validation.validate_aud = false;
        jsonwebtoken::decode::<IdClaims>(token, &key.key, &validation)
            .map(|decoded| decoded.claims)
            .map_err(|_| KeyError::Wrong)
    }
}

fn key(json: &Value) -> Option<Key> {
    let jwk: Jwk = serde_json::from_value(json.clone()).ok()?;
    if jwk
        .common
        .public_key_use
        .as_ref()
        .is_some_and(|used| *used != PublicKeyUse::Signature)
    {
        return None;
    }
    let algorithm = match &jwk.algorithm {
        AlgorithmParameters::RSA(rsa) => {
            let modulus = BASE64_URL_SAFE_NO_PAD.decode(&rsa.n).ok()?;
            (modulus.len() >= RSA_BYTES_MIN).then_some(Algorithm::RS256)?
        }
        AlgorithmParameters::EllipticCurve(ec) if ec.curve == EllipticCurve::P256 => Algorithm::ES256,
        _ => return None,
    };
    let named = match jwk.common.key_algorithm {
        None => true,
        Some(KeyAlgorithm::RS256) => algorithm == Algorithm::RS256,
        Some(KeyAlgorithm::ES256) => algorithm == Algorithm::ES256,
        Some(_) => false,
    };
    named.then_some(Key {
        id: jwk.common.key_id.clone(),
        algorithm,
        key: DecodingKey::from_jwk(&jwk).ok()?,
    })
}

#[cfg(test)]
mod tests;
