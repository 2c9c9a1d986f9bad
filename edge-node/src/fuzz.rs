//! What the fuzzer drives: bytes in, a panic if a promise is broken.
//!
//! Compiled for tests and with `--cfg fuzzing` only.

use std::sync::{Arc, OnceLock};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::BytesMut;
use medmesh_base::EdgeId;
use medmesh_sfu::MeshMessage;
use medmesh_wire::fleet::EdgeConfig;
use prost::Message as _;
use tokio::sync::watch;

use crate::admission::{Admission, Credentials, Refusal};
use crate::mesh::convert::{self, Received};
use crate::mesh::frame;
use crate::settings::Settings;

/// The moment tokens are checked at.
pub const NOW: i64 = 1_800_000_000;
/// The URL tokens are shown at.
const URL: &str = "https://edge.example/v1/whip";
/// Stands in a payload for the public key that signs, as JWK.
const KEY_MARK: &str = "\"@jwk\"";

/// Reads `data` as what a peer sends on its mesh stream. Each message it holds is one to the
/// shards or is refused; what is understood is understood again after it was written.
pub fn mesh_stream(data: &[u8]) {
    let mut buffer = BytesMut::from(data);
    while let Ok(Some(wire)) = frame::take(&mut buffer) {
        let framed = frame::frame(&wire);
        let again = frame::take(&mut BytesMut::from(&framed[..]));
        assert_eq!(again.ok().flatten().as_ref(), Some(&wire));
        match convert::decode(wire) {
            Ok(Received::Message(message)) => {
                let again = convert::decode(convert::encode(message.clone()));
                assert_eq!(again, Ok(Received::Message(message)));
            }
            Ok(Received::Hello(edge)) => {
                assert_eq!(convert::decode(convert::hello(edge)), Ok(Received::Hello(edge)));
            }
            Ok(Received::Unknown) | Err(_) => {}
        }
    }
}

/// The message in `data`, if it is one for a shard.
#[must_use]
pub fn mesh_message(data: &[u8]) -> Option<MeshMessage> {
    let wire = medmesh_wire::mesh::MeshMessage::decode(data).ok()?;
    match convert::decode(wire) {
        Ok(Received::Message(message)) => Some(message),
        _ => None,
    }
}

/// Reads `data` as the configuration a control node pushes.
pub fn edge_config(data: &[u8]) {
    if let Ok(config) = EdgeConfig::decode(data) {
        let _ = Settings::from_wire(&config);
    }
    let _ = Settings::from_wire(&EdgeConfig {
        jwks: String::from_utf8_lossy(data).into_owned(),
        ..EdgeConfig::default()
    });
}

/// Reads `data` as a token and a proof, as they come from the network: nobody comes in.
pub fn bearer(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (token, proof) = text.split_once('\n').unwrap_or((&text, ""));
    let refused = desk().check(&credentials(token, Some(proof)), NOW);
    assert!(refused.is_err(), "nobody signed this");
}

/// Reads `data` as `token header \n token claims \n proof header \n proof claims`, all JSON, and
/// signs both with the issuer's key: what a compromised or future issuer and its browser may say.
///
/// `"@jwk"` in it stands for that key.
pub fn signed(data: &[u8]) {
    let signer = signer();
    let text = String::from_utf8_lossy(data).replace(KEY_MARK, &signer.jwk);
    let mut lines = text.split('\n');
    let mut sign = || {
        let (header, claims) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
        signer.sign(header, claims)
    };
    let (token, proof) = (sign(), sign());
    let desk = desk();
    if let Ok(claims) = desk.check(&credentials(&token, Some(&proof)), NOW) {
        assert!(
            claims.edges.iter().any(|edge| edge.id == edge_id()),
            "for this edge"
        );
        assert!(
            claims.exp > NOW - 10 && claims.nbf < NOW + 10,
            "in its time: {claims:?}"
        );
        assert_eq!(desk.spend(&claims, NOW), Ok(()));
        let again = desk.check(&credentials(&token, Some(&proof)), NOW);
        assert!(
            matches!(again, Err(Refusal::Replayed | Refusal::ProofReplayed)),
            "{again:?}"
        );
    }
}

fn credentials<'a>(token: &'a str, proof: Option<&'a str>) -> Credentials<'a> {
    Credentials {
        token: Some(token),
        proof,
        method: "POST",
        url: URL,
    }
}

/// The edge tokens are for.
fn edge_id() -> EdgeId {
    EdgeId::from_uuid(uuid::Uuid::from_u64_pair(1, 1))
}

struct Signer {
    pair: EcdsaKeyPair,
    jwk: String,
    settings: Arc<Settings>,
}

impl Signer {
    fn sign(&self, header: &str, claims: &str) -> String {
        let encode = |part: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(part);
        let signed = format!("{}.{}", encode(header.as_bytes()), encode(claims.as_bytes()));
        let signature = self.pair.sign(&SystemRandom::new(), signed.as_bytes());
        let signature = signature.expect("a P-256 key signs anything");
        format!("{signed}.{}", encode(signature.as_ref()))
    }
}

fn signer() -> &'static Signer {
    static SIGNER: OnceLock<Signer> = OnceLock::new();
    SIGNER.get_or_init(|| {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("randomness");
        // SEC 1: one byte of form, then the coordinates.
        let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
        let (x, y) = (BASE64_URL_SAFE_NO_PAD.encode(x), BASE64_URL_SAFE_NO_PAD.encode(y));
        let coordinates = format!(r#""kty":"EC","crv":"P-256","x":"{x}","y":"{y}""#);
        let settings = Settings::from_wire(&EdgeConfig {
            jwks: format!(r#"{{"keys":[{{{coordinates},"kid":"k","alg":"ES256"}}]}}"#),
            ..EdgeConfig::default()
        });
        Signer {
            pair,
            jwk: format!("{{{coordinates}}}"),
            settings: Arc::new(settings.expect("a key set of one key")),
        }
    })
}

fn desk() -> Admission {
    let (_, settings) = watch::channel(signer().settings.clone());
    Admission::new(edge_id(), settings)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn random_bytes_break_nothing(data in prop::collection::vec(any::<u8>(), 0..200)) {
            super::mesh_stream(&data);
            super::edge_config(&data);
            super::bearer(&data);
            super::signed(&data);
        }
    }
}
