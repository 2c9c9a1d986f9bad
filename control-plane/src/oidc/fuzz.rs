//! What the fuzzer drives of outside providers: what an admin writes of one, and what it answers.
//!
//! Compiled for tests and with `--cfg fuzzing` only.

use std::net::IpAddr;
use std::sync::OnceLock;

use aws_lc_rs::signature::ECDSA_P256_SHA256_FIXED_SIGNING;
use medmesh_clinic::identity::oidc::{Expected, OIDC_SKEW, OIDC_TOKEN_AGE_MAX};
use time::OffsetDateTime;

use super::address::{is_public, provider_url};
use super::keys::KeySet;
use super::{Discovery, Tokens};
use crate::fuzz::{Signer, split};

/// When it is.
const NOW: i64 = 1_800_000_000;
const ISSUER: &str = "https://login.example.org";
const CLIENT: &str = "clinic";
const NONCE: &str = "n-1";

struct Known {
    signer: Signer,
    keys: KeySet,
}

fn known() -> &'static Known {
    static KNOWN: OnceLock<Known> = OnceLock::new();
    KNOWN.get_or_init(|| {
        let signer = Signer::generate(&ECDSA_P256_SHA256_FIXED_SIGNING, "P-256", "ES256");
        let json = serde_json::json!({ "keys": [&signer.jwk] }).to_string();
        let keys = KeySet::read(json.as_bytes()).expect("a set of one key");
        Known { signer, keys }
    })
}

/// Reads `data` as `what u8 |` an address, a discovery document, a token's answer, a key set and a
/// token, or `header \n claims` that the provider signs.
pub fn provider(data: &[u8]) {
    let (what, data) = split(data);
    let text = String::from_utf8_lossy(data);
    match what % 5 {
        0 => address(&text),
        1 => {
            let _ = serde_json::from_slice::<Discovery>(data);
            let _ = serde_json::from_slice::<Tokens>(data);
        }
        2 => {
            // Whose keys these are signed nothing that we heard.
            let (set, token) = text.split_once('\n').unwrap_or((&text, ""));
            if let Some(keys) = KeySet::read(set.as_bytes()) {
                assert!(keys.verify(token).is_err(), "nobody signed this");
            }
        }
        3 => assert!(known().keys.verify(&text).is_err(), "nobody signed this"),
        _ => signed(data),
    }
}

/// No address leads into the network we run in.
fn address(text: &str) {
    let Some(url) = provider_url(text, false) else {
        return;
    };
    assert_eq!(url.scheme(), "https");
    assert!(url.username().is_empty() && url.password().is_none());
    let host = url.host_str().expect("an HTTPS address has a host");
    let ip = host
        .trim_start_matches('[')
        .trim_end_matches(']')
        .parse::<IpAddr>();
    // What is no address is a name, whose addresses are looked at when it is resolved.
    assert!(ip.map_or(!host.contains(':'), is_public), "{host}");
    assert_eq!(provider_url(url.as_str(), false).as_ref(), Some(&url));
}

fn signed(data: &[u8]) {
    let Known { signer, keys } = known();
    let Ok(claims) = keys.verify(&signer.token(data)) else {
        return;
    };
    let expected = Expected {
        issuer: ISSUER,
        client_id: CLIENT,
        nonce: NONCE,
        second_factor: &[],
    };
    let now = OffsetDateTime::from_unix_timestamp(NOW).expect("an instant");
    if claims.accept(&expected, now).is_ok() {
        assert_eq!(
            (claims.iss.as_str(), claims.nonce.as_deref()),
            (ISSUER, Some(NONCE))
        );
        let (age, skew) = (NOW - claims.iat, OIDC_SKEW.whole_seconds());
        assert!((-skew..=OIDC_TOKEN_AGE_MAX.whole_seconds()).contains(&age));
        assert!(claims.exp > NOW - skew);
    }
}
