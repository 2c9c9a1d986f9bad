//! Detached signatures over whole files: ES256, with the signed bytes left out (RFC 7515 appendix F)
//! and taken as they are (RFC 7797), so that a file of any size is signed and verified in one pass.
//!
//! ```text
//! header (base64url) . . signature (base64url)          signed: header (base64url) | "." | the file's bytes
//! ```
//!
//! `kid` names the key in the published set (`GET /v1/jwks`). Whoever keeps that set beside the file can
//! verify it for ever, without us.

use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, EcdsaKeyPair, UnparsedPublicKey};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Deserialize;

use crate::{Jwks, TokenSigner, VaultError};

/// A signature in the making: takes the file piece by piece.
pub struct DetachedSigner {
    pair: Arc<EcdsaKeyPair>,
    header: String,
    digest: Context,
}

impl std::fmt::Debug for DetachedSigner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DetachedSigner")
    }
}

impl TokenSigner {
    /// Begins to sign a file of this media type.
    #[must_use]
    pub fn detached(&self, media_type: &str) -> DetachedSigner {
        let header = serde_json::json!({
            "alg": "ES256", "b64": false, "crit": ["b64"], "kid": self.key_id(), "cty": media_type,
        });
        let header = BASE64_URL_SAFE_NO_PAD.encode(header.to_string());
        let mut digest = Context::new(&SHA256);
        digest.update(header.as_bytes());
        digest.update(b".");
        DetachedSigner {
            pair: Arc::clone(&self.pair),
            header,
            digest,
        }
    }
}

impl DetachedSigner {
    /// Takes more of the file.
    pub fn update(&mut self, bytes: &[u8]) {
        self.digest.update(bytes);
    }

    /// The signature.
    ///
    /// # Errors
    /// [`VaultError::Crypto`], never expected.
    pub fn finish(self) -> Result<String, VaultError> {
        let signature = self.pair.sign_digest(&self.digest.finish());
        let signature = signature.map_err(|_| VaultError::Crypto)?;
        let signature = BASE64_URL_SAFE_NO_PAD.encode(signature.as_ref());
        Ok(format!("{}..{signature}", self.header))
    }
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    b64: bool,
    crit: Vec<String>,
    kid: String,
}

/// Verifies a detached signature over a file with the keys of a set, and nothing else.
///
/// # Errors
/// [`VaultError::Sealed`] when it is not a signature of one of these keys over exactly these bytes.
pub fn verify_detached(keys: &Jwks, signature: &str, bytes: &[u8]) -> Result<(), VaultError> {
    verified(keys, signature, bytes).ok_or(VaultError::Sealed)
}

fn verified(keys: &Jwks, signature: &str, bytes: &[u8]) -> Option<()> {
    let decode = |text: &str| BASE64_URL_SAFE_NO_PAD.decode(text).ok();
    let (encoded, signature) = signature.split_once("..")?;
    let header: Header = serde_json::from_slice(&decode(encoded)?).ok()?;
    if header.alg != "ES256" || header.b64 || header.crit != ["b64"] {
        return None;
    }
    let key = keys.keys.iter().find(|key| key["kid"] == header.kid.as_str())?;
    let coordinate = |name: &str| decode(key[name].as_str()?);
    let point = [vec![4], coordinate("x")?, coordinate("y")?].concat();
    let signed = [encoded.as_bytes(), b".", bytes].concat();
    let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
    key.verify(&signed, &decode(signature)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signer(dir: &tempfile::TempDir, name: &str) -> TokenSigner {
        TokenSigner::load_or_create(&dir.path().join(name)).unwrap()
    }

    fn signed(signer: &TokenSigner, pieces: &[&[u8]]) -> String {
        let mut detached = signer.detached("application/json");
        pieces.iter().for_each(|piece| detached.update(piece));
        detached.finish().unwrap()
    }

    #[test]
    fn a_file_is_signed_piece_by_piece_and_verified_whole() {
        let dir = tempfile::tempdir().unwrap();
        let (ours, other) = (signer(&dir, "ours"), signer(&dir, "other"));
        let keys = |signer: &TokenSigner| Jwks::from_keys([signer.public_jwk_json().as_str()]);
        let signature = signed(&ours, &[b"{\"a\":", b"1}"]);
        assert!(verify_detached(&keys(&ours), &signature, b"{\"a\":1}").is_ok());
        for (set, signature, bytes) in [
            (keys(&ours), signature.clone(), &b"{\"a\":2}"[..]),
            (keys(&ours), signature.clone(), b"{\"a\":1} "),
            (keys(&other), signature.clone(), b"{\"a\":1}"),
            (keys(&ours), signed(&other, &[b"{\"a\":1}"]), b"{\"a\":1}"),
            (keys(&ours), signature.replace("..", "."), b"{\"a\":1}"),
            (
                keys(&ours),
                signature[..signature.len() - 4].to_owned(),
                b"{\"a\":1}",
            ),
        ] {
            assert!(verify_detached(&set, &signature, bytes).is_err(), "{signature}");
        }
    }

    /// Whoever drops the criticality, or asks for another algorithm, is not believed.
    #[test]
    fn headers_are_taken_at_their_word_only_where_they_say_what_we_do() {
        let dir = tempfile::tempdir().unwrap();
        let ours = signer(&dir, "ours");
        let keys = Jwks::from_keys([ours.public_jwk_json().as_str()]);
        let good = signed(&ours, &[b"x"]);
        let (_, tail) = good.split_once("..").unwrap();
        for header in [
            serde_json::json!({"alg": "none", "b64": false, "crit": ["b64"], "kid": ours.key_id()}),
            serde_json::json!({"alg": "ES256", "b64": true, "crit": ["b64"], "kid": ours.key_id()}),
            serde_json::json!({"alg": "ES256", "b64": false, "crit": [], "kid": ours.key_id()}),
            serde_json::json!({"alg": "ES256", "b64": false, "crit": ["b64"], "kid": "another"}),
        ] {
            let header = BASE64_URL_SAFE_NO_PAD.encode(header.to_string());
            assert!(verify_detached(&keys, &format!("{header}..{tail}"), b"x").is_err());
        }
    }
}
