//! ES256 token signing and the public keys that verify it.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, ParsedPublicKey,
};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use medmesh_base::media_token::{MediaClaims, PublicJwk};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{VaultError, file};

/// Bytes of one P-256 coordinate.
const COORDINATE_BYTES: usize = 32;
/// The prefix of an uncompressed point (SEC 1, 2.3.3).
const UNCOMPRESSED: u8 = 4;

/// A control node's own ES256 key. The private half never leaves the node.
#[derive(Clone)]
pub struct TokenSigner {
    key: EncodingKey,
    pub(crate) pair: Arc<EcdsaKeyPair>,
    key_id: String,
    public: PublicJwk,
}

impl fmt::Debug for TokenSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenSigner")
            .field("key_id", &self.key_id)
            .finish_non_exhaustive()
    }
}

impl TokenSigner {
    /// Reads the key (PKCS#8 DER), or makes one if the file does not exist.
    ///
    /// # Errors
    /// When the file is unreadable, readable by others, or holds no P-256 key.
    pub fn load_or_create(path: &Path) -> Result<Self, VaultError> {
        let pkcs8 = file::load_or_create(path, || {
            let document =
                EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
                    .map_err(|_| VaultError::Crypto)?;
            Ok(Zeroizing::new(document.as_ref().to_vec()))
        })?;
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pkcs8)
            .map_err(|_| VaultError::Malformed(path.to_owned()))?;
        let (x, y) = pair.public_key().as_ref()[1..].split_at(COORDINATE_BYTES);
        let public = PublicJwk {
            kty: "EC".into(),
            crv: "P-256".into(),
            x: BASE64_URL_SAFE_NO_PAD.encode(x),
            y: BASE64_URL_SAFE_NO_PAD.encode(y),
        };
        Ok(Self {
            key: EncodingKey::from_ec_der(&pkcs8),
            pair: Arc::new(pair),
            key_id: thumbprint(&public),
            public,
        })
    }

    /// The `kid`: the key's RFC 7638 thumbprint.
    #[must_use]
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// The public half as one JSON Web Key, for the ledger.
    #[must_use]
    pub fn public_jwk_json(&self) -> String {
        let PublicJwk { kty, crv, x, y } = &self.public;
        let key = serde_json::json!({
            "kty": kty, "crv": crv, "x": x, "y": y, "kid": self.key_id, "alg": "ES256", "use": "sig",
        });
        key.to_string()
    }

    /// A signed token with these claims.
    ///
    /// # Errors
    /// [`VaultError::Crypto`], never expected.
    pub fn sign(&self, claims: &MediaClaims) -> Result<String, VaultError> {
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(self.key_id.clone());
        jsonwebtoken::encode(&header, claims, &self.key).map_err(|_| VaultError::Crypto)
    }
}

/// A JSON Web Key Set put together from keys as [`TokenSigner::public_jwk_json`] gives them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jwks {
    /// The keys, each a JSON object.
    pub keys: Vec<serde_json::Value>,
}

impl Jwks {
    /// The set of these keys; what is not JSON is left out.
    pub fn from_keys<'a>(keys: impl IntoIterator<Item = &'a str>) -> Self {
        Self {
            keys: keys
                .into_iter()
                .filter_map(|key| serde_json::from_str(key).ok())
                .collect(),
        }
    }

    /// The set as JSON text (RFC 7517 section 5).
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::json!({ "keys": self.keys }).to_string()
    }
}

/// Checks that a client's key is a point on P-256, before a token is bound to it.
///
/// # Errors
/// [`VaultError::NotAPublicKey`].
pub fn public_jwk_check(jwk: &PublicJwk) -> Result<(), VaultError> {
    if jwk.kty != "EC" || jwk.crv != "P-256" {
        return Err(VaultError::NotAPublicKey);
    }
    let mut point = vec![UNCOMPRESSED];
    for coordinate in [&jwk.x, &jwk.y] {
        let bytes = BASE64_URL_SAFE_NO_PAD
            .decode(coordinate)
            .map_err(|_| VaultError::NotAPublicKey)?;
        if bytes.len() != COORDINATE_BYTES {
            return Err(VaultError::NotAPublicKey);
        }
        point.extend_from_slice(&bytes);
    }
    ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &point).map_err(|_| VaultError::NotAPublicKey)?;
    Ok(())
}

/// RFC 7638: SHA-256 over the required members in lexical order.
fn thumbprint(jwk: &PublicJwk) -> String {
    let canonical = format!(
        r#"{{"crv":"{}","kty":"{}","x":"{}","y":"{}"}}"#,
        jwk.crv, jwk.kty, jwk.x, jwk.y
    );
    BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA256, canonical.as_bytes()))
}
