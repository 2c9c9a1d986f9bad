//! What the fuzzer drives of machines' assertions.
//!
//! Compiled for tests and with `--cfg fuzzing` only.

use std::sync::OnceLock;

use aws_lc_rs::signature::ECDSA_P384_SHA384_FIXED_SIGNING;
use medmesh_base::ClientId;
use medmesh_clinic::client::{ASSERTION_LIFETIME_MAX, ASSERTION_SKEW, ClientKeys, Expected};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{Unproved, are_points};
use crate::fuzz::{Signer, split};

/// When it is.
const NOW: i64 = 1_800_000_000;
/// Where assertions are to be for.
const TOKEN_ENDPOINT: &str = "https://portal.test/oauth/token";

struct Known {
    signer: Signer,
    keys: ClientKeys,
}

fn known() -> &'static Known {
    static KNOWN: OnceLock<Known> = OnceLock::new();
    KNOWN.get_or_init(|| {
        let signer = Signer::generate(&ECDSA_P384_SHA384_FIXED_SIGNING, "P-384", "ES384");
        let jwk = signer.jwk.as_object().expect("a key is an object").clone();
        let keys = ClientKeys::read(&[jwk]).expect("a good key");
        assert!(are_points(&keys));
        Known { signer, keys }
    })
}

/// Reads `data` as `how u8 |` an assertion nobody signed, or as `header \n claims` that the machine
/// itself signs: what a compromised or careless one may say.
pub fn assertions(data: &[u8]) {
    let (how, data) = split(data);
    let Known { signer, keys } = known();
    if how % 2 == 0 {
        let text = String::from_utf8_lossy(data);
        if let Ok(unproved) = Unproved::read(&text) {
            assert!(unproved.prove(keys).is_err(), "nobody signed this");
        }
        return;
    }
    let token = signer.token(data);
    let Ok(unproved) = Unproved::read(&token) else {
        return;
    };
    let Ok((_, claims)) = unproved.prove(keys) else {
        return;
    };
    let expected = Expected {
        client: ClientId::from_uuid(Uuid::from_u128(1)),
        token_endpoint: TOKEN_ENDPOINT,
    };
    let now = OffsetDateTime::from_unix_timestamp(NOW).expect("an instant");
    if let Ok(assertion) = claims.accept(&expected, now) {
        assert_eq!(unproved.client, expected.client);
        // Remembered until nobody believes it any more, and not for ever.
        let longest = ASSERTION_LIFETIME_MAX + 2 * ASSERTION_SKEW;
        assert!(assertion.until > now && assertion.until <= now + longest);
    }
}
