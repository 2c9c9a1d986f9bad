//! Proof of possession (RFC 9449): a small JWS by the key a resume token names.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use medmesh_base::media_token::PublicJwk;
use serde::Deserialize;

/// How far a browser's clock may be off. People's devices are minutes wrong; the proof
/// is single use and bound to the request, so the window buys an attacker nothing new.
const CLOCK_SKEW_SECONDS: i64 = 300;
/// A real proof is some 500 bytes.
const LENGTH_MAX: usize = 4 * 1024;
/// A UUID is 36.
const JTI_LENGTH_MAX: usize = 128;

/// What the proof must be for.
pub(super) struct Request<'a> {
    pub(super) method: &'a str,
    pub(super) url: &'a str,
    pub(super) token: &'a str,
}

/// A proof that holds.
pub(super) struct Verified {
    /// To be remembered until…
    pub(super) jti: String,
    /// …the proof is too old to be accepted anyway.
    pub(super) until_unix_s: i64,
}

#[derive(Deserialize)]
struct ProofClaims {
    htm: String,
    htu: String,
    iat: i64,
    jti: String,
    /// RFC 9449 section 4.2: digest of the token. Verified where the client sends it;
    /// the `cnf` key ties proof and token together already.
    ath: Option<String>,
}

/// RFC 9449 section 4.3, checks 2 to 12.
pub(super) fn verify(proof: &str, key: &PublicJwk, request: &Request<'_>, now: i64) -> Option<Verified> {
    if proof.len() > LENGTH_MAX {
        return None;
    }
    let header = jsonwebtoken::decode_header(proof).ok()?;
    let AlgorithmParameters::EllipticCurve(embedded) = &header.jwk.as_ref()?.algorithm else {
        return None;
    };
    let same_key = embedded.curve == EllipticCurve::P256 && embedded.x == key.x && embedded.y == key.y;
    if header.typ.as_deref() != Some("dpop+jwt") || header.alg != Algorithm::ES256 || !same_key {
        return None;
    }
    let mut validation = Validation::new(Algorithm::ES256);
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation.required_spec_claims.clear();
    let decoding = DecodingKey::from_ec_components(&key.x, &key.y).ok()?;
    let claims = jsonwebtoken::decode::<ProofClaims>(proof, &decoding, &validation)
        .ok()?
        .claims;
    let fresh = claims.iat.saturating_sub(now).unsigned_abs() <= CLOCK_SKEW_SECONDS.unsigned_abs();
    let named = (1..=JTI_LENGTH_MAX).contains(&claims.jti.len());
    let bound = claims.ath.is_none_or(|ath| ath == token_digest(request.token));
    let here = claims.htm == request.method && without_query(&claims.htu) == request.url;
    (fresh && named && bound && here).then(|| Verified {
        jti: claims.jti,
        until_unix_s: claims.iat + CLOCK_SKEW_SECONDS,
    })
}

fn token_digest(token: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA256, token.as_bytes()))
}

/// RFC 9449 section 4.3, check 9: query and fragment do not count.
fn without_query(url: &str) -> &str {
    url.split(['?', '#']).next().unwrap_or(url)
}
