//! What the fuzzer drives: bytes in, a panic if a promise is broken.
//!
//! Compiled for tests and with `--cfg fuzzing` only. Each function is beside what it drives.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{EcdsaKeyPair, EcdsaSigningAlgorithm, KeyPair as _};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

pub use crate::config::fuzz::files;
pub use crate::http::fuzz::{BODIES, QUERIES, bodies, headers, queries, tagged};
pub use crate::oauth::fuzz::assertions;
pub use crate::objects::fuzz::answers;
pub use crate::oidc::fuzz::provider;

/// Stands in seeds for what somebody wrote: no refusal may repeat it.
pub(crate) const MARK: &str = "Zq7CANARY";

/// The first byte and the rest; zero and nothing when there is none.
pub(crate) fn split(data: &[u8]) -> (u8, &[u8]) {
    data.split_first()
        .map_or((0, data), |(first, rest)| (*first, rest))
}

/// A key pair of this process that signs what the fuzzer makes up: the answers of somebody whose key
/// we know and whose word we do not.
pub(crate) struct Signer {
    pair: EcdsaKeyPair,
    /// The public half.
    pub(crate) jwk: serde_json::Value,
}

impl Signer {
    /// A new pair on this curve, named `k`.
    pub(crate) fn generate(algorithm: &'static EcdsaSigningAlgorithm, crv: &str, alg: &str) -> Self {
        let pair = EcdsaKeyPair::generate(algorithm).expect("randomness");
        // SEC 1: one byte of form, then the coordinates.
        let point = &pair.public_key().as_ref()[1..];
        let (x, y) = point.split_at(point.len() / 2);
        let (x, y) = (BASE64_URL_SAFE_NO_PAD.encode(x), BASE64_URL_SAFE_NO_PAD.encode(y));
        let jwk = serde_json::json!({
            "kty": "EC", "crv": crv, "x": x, "y": y, "kid": "k", "alg": alg, "use": "sig"
        });
        Self { pair, jwk }
    }

    /// A token of `header \n claims`, both whatever they are.
    pub(crate) fn token(&self, text: &[u8]) -> String {
        let end = text.iter().position(|byte| *byte == b'\n').unwrap_or(text.len());
        let (header, claims) = text.split_at(end);
        let encode = |part: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(part);
        let claims = claims.strip_prefix(b"\n").unwrap_or(claims);
        let signed = format!("{}.{}", encode(header), encode(claims));
        let signature = self.pair.sign(&SystemRandom::new(), signed.as_bytes());
        let signature = signature.expect("a key pair signs anything");
        format!("{signed}.{}", encode(signature.as_ref()))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    /// What the fuzzer begins with and what it once found, with the plain build as well.
    #[test]
    fn the_seeds_keep_every_promise() {
        type Driver = (&'static str, fn(&[u8]));
        let drivers: [Driver; 7] = [
            ("http_bodies", super::bodies),
            ("http_queries", super::queries),
            ("http_headers", super::headers),
            ("http_tagged", super::tagged),
            ("client_assertions", super::assertions),
            ("provider_answers", super::provider),
            ("storage_answers", super::answers),
        ];
        for (target, drive) in drivers {
            let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fuzz/seeds");
            let seeds = std::fs::read_dir(Path::new(folder).join(target)).expect("checked-in seeds");
            let mut driven = 0;
            for seed in seeds {
                drive(&std::fs::read(seed.unwrap().path()).unwrap());
                driven += 1;
            }
            assert!(driven > 1, "{target} has {driven} seeds");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn random_bytes_break_nothing(data in prop::collection::vec(any::<u8>(), 0..200)) {
            super::bodies(&data);
            super::queries(&data);
            super::headers(&data);
            super::tagged(&data);
            super::assertions(&data);
            super::provider(&data);
            super::answers(&data);
            super::files(&data);
        }
    }
}
