//! What a clinic's admin registers for a machine, and what machines say of themselves.
#![no_main]

use libfuzzer_sys::fuzz_target;
use medmesh_base::ClientId;
use medmesh_clinic::client::{AssertionClaims, ClientKeys, ClientName, Expected, Scopes};
use medmesh_fuzz::input::Input;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

/// When it is.
const NOW: i64 = 1_800_000_000;

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    match input.byte() % 3 {
        0 => keys(input.0),
        1 => claims(input.0),
        _ => {
            let text = String::from_utf8_lossy(input.0);
            if let Ok(name) = text.parse::<ClientName>() {
                assert_eq!(name.as_str().parse(), Ok(name.clone()));
            }
            if let Ok(scopes) = text.parse::<Scopes>() {
                assert!(scopes.is_within(scopes));
                assert!(scopes.iter().all(|scope| scopes.contains(scope)));
            }
        }
    }
});

fn keys(data: &[u8]) {
    let Ok(set) = serde_json::from_slice::<Vec<serde_json::Map<String, serde_json::Value>>>(data) else {
        return;
    };
    if let Ok(keys) = ClientKeys::read(&set) {
        let again: Vec<_> = keys.as_slice().iter().map(|key| key.to_jwk()).collect();
        assert!(again.iter().all(|key| !key.contains_key("d")));
        assert_eq!(ClientKeys::read(&again), Ok(keys));
    }
}

fn claims(data: &[u8]) {
    let Ok(claims) = serde_json::from_slice::<AssertionClaims>(data) else {
        return;
    };
    let expected = Expected {
        client: ClientId::from_uuid(Uuid::from_u128(1)),
        token_endpoint: "https://portal.test/oauth/token",
    };
    let now = OffsetDateTime::from_unix_timestamp(NOW).expect("an instant");
    if let Ok(assertion) = claims.accept(&expected, now) {
        assert_eq!(claims.iss, expected.client.to_string());
        assert_eq!(claims.sub, claims.iss);
        assert_eq!(assertion.jti, claims.jti);
        // Remembered at least until nobody believes it any more, and not for ever.
        assert!(assertion.until > now - Duration::hours(1) && assertion.until < now + Duration::hours(2));
    }
}
