//! Keys, scopes and claims, each with what is wrong about it.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};
use time::macros::datetime;

use super::*;

const NOW: OffsetDateTime = datetime!(2026-03-01 12:00 UTC);
const ENDPOINT: &str = "https://clinic.example.org/oauth/token";
const ID: &str = "01890000-0000-7000-8000-000000000001";

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        other => panic!("{other}"),
    }
}

fn text(bytes: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

fn point(change: Value) -> Map<String, Value> {
    let mut key = object(json!({
        "kid": "one", "kty": "EC", "crv": "P-384", "x": text(&[1; 48]), "y": text(&[2; 48]),
    }));
    key.extend(object(change));
    key
}

fn modulus(bytes: usize, change: Value) -> Map<String, Value> {
    let mut key = object(json!({"kid": "two", "kty": "RSA", "n": text(&vec![0xff; bytes]), "e": "AQAB"}));
    key.extend(object(change));
    key
}

#[test]
fn keys_of_both_kinds_are_read_and_written() {
    let set = [
        point(json!({"alg": "ES384", "use": "sig", "key_ops": ["verify"], "x5t": "aside"})),
        modulus(256, json!({})),
    ];
    let keys = ClientKeys::read(&set).unwrap();
    assert_eq!(keys.get("one").unwrap().algorithm(), KeyAlgorithm::Es384);
    assert_eq!(keys.get("two").unwrap().algorithm(), KeyAlgorithm::Rs384);
    assert_eq!(keys.get("three"), None);
    let written: Vec<_> = keys.as_slice().iter().map(ClientKey::to_jwk).collect();
    assert!(!written[0].contains_key("x5t"));
    assert_eq!(ClientKeys::read(&written), Ok(keys));
}

#[test]
fn no_other_key_will_do() {
    let long = "k".repeat(KEY_ID_BYTES_MAX + 1);
    for (key, fault) in [
        (point(json!({"kid": null})), KeyFault::Id),
        (point(json!({"kid": ""})), KeyFault::Id),
        (point(json!({"kid": "with space"})), KeyFault::Id),
        (point(json!({"kid": long})), KeyFault::Id),
        (point(json!({"d": text(&[3; 48])})), KeyFault::Private),
        (modulus(256, json!({"p": "AQ"})), KeyFault::Private),
        (
            object(json!({"kid": "k", "kty": "oct", "k": "AAAA"})),
            KeyFault::Private,
        ),
        (object(json!({"kid": "k", "kty": "oct"})), KeyFault::Kind),
        (
            object(json!({"kid": "k", "kty": "OKP", "crv": "Ed25519", "x": "AA"})),
            KeyFault::Kind,
        ),
        (point(json!({"crv": "P-256"})), KeyFault::Kind),
        (point(json!({"crv": "P-521"})), KeyFault::Kind),
        (point(json!({"kty": "RSA"})), KeyFault::Kind),
        (point(json!({"alg": "RS384"})), KeyFault::Usage),
        (modulus(256, json!({"alg": "RS256"})), KeyFault::Usage),
        (modulus(256, json!({"alg": "HS384"})), KeyFault::Usage),
        (point(json!({"use": "enc"})), KeyFault::Usage),
        (point(json!({"key_ops": ["sign"]})), KeyFault::Usage),
        (point(json!({"x": text(&[1; 47])})), KeyFault::Malformed),
        (point(json!({"y": "not base64!"})), KeyFault::Malformed),
        (modulus(255, json!({})), KeyFault::Malformed),
        (modulus(513, json!({})), KeyFault::Malformed),
        (modulus(0, json!({})), KeyFault::Malformed),
        (modulus(256, json!({"e": "Aw"})), KeyFault::Malformed),
        (
            modulus(256, json!({"n": text(&[&[0], &[0xff; 256][..]].concat())})),
            KeyFault::Malformed,
        ),
        (
            modulus(256, json!({"n": text(&[0xfe; 256])})),
            KeyFault::Malformed,
        ),
    ] {
        assert_eq!(ClientKey::read(&key), Err(fault), "{key:?}");
    }
    assert_eq!(ClientKeys::read(&[]), Err(KeyFault::Count));
    let many: Vec<_> = (0..=CLIENT_KEYS_MAX)
        .map(|n| point(json!({"kid": n.to_string()})))
        .collect();
    assert_eq!(ClientKeys::read(&many), Err(KeyFault::Count));
    assert!(ClientKeys::read(&many[1..]).is_ok());
    let twice = [point(json!({})), point(json!({}))];
    assert_eq!(ClientKeys::read(&twice), Err(KeyFault::SameId));
}

#[test]
fn scopes_are_words_with_a_space_between() {
    let two: Scopes = "system/Appointment.cu system/Appointment.rs".parse().unwrap();
    assert_eq!(two.to_string(), "system/Appointment.rs system/Appointment.cu");
    assert!(two.is_within(Scopes::ALL) && !Scopes::ALL.is_within(two));
    assert_eq!(Scopes::ALL.iter().count(), Scope::ALL.len());
    for wrong in [
        "",
        " ",
        "system/*.rs",
        "system/Appointment.rs ",
        "system/appointment.rs",
        "openid",
    ] {
        assert_eq!(wrong.parse::<Scopes>(), Err(UnknownScope), "{wrong:?}");
    }
}

fn accept(change: &Value) -> Result<Assertion, AssertionFault> {
    let mut claims = json!({
        "iss": ID, "sub": ID, "aud": ENDPOINT, "jti": "j-1",
        "exp": NOW.unix_timestamp() + 300, "iat": NOW.unix_timestamp(),
    });
    for (name, value) in change.as_object().unwrap() {
        claims[name] = value.clone();
    }
    let claims: AssertionClaims = serde_json::from_value(claims).unwrap();
    let expected = Expected {
        client: ID.parse().unwrap(),
        token_endpoint: ENDPOINT,
    };
    claims.accept(&expected, NOW)
}

#[test]
fn an_assertion_that_says_what_it_must_is_believed() {
    let second = NOW.unix_timestamp();
    for good in [
        json!({}),
        json!({"aud": [ENDPOINT]}),
        json!({"iat": null}),
        json!({"exp": second - 29}),
        json!({"exp": second + 330}),
        json!({"nbf": second + 30}),
        json!({"iat": second + 30}),
        json!({"jti": "j".repeat(JTI_BYTES_MAX)}),
    ] {
        let assertion = accept(&good).unwrap();
        assert!(
            assertion.until > NOW,
            "it is remembered for as long as it is good: {good}"
        );
    }
}

#[test]
fn whatever_is_not_for_us_now_is_refused() {
    let second = NOW.unix_timestamp();
    let other = "01890000-0000-7000-8000-000000000002";
    for (change, fault) in [
        (json!({"iss": other}), AssertionFault::Issuer),
        (
            json!({"iss": ID.to_uppercase().replace("01890000", "{01890000")}),
            AssertionFault::Issuer,
        ),
        (json!({"sub": other}), AssertionFault::Subject),
        (json!({"sub": ""}), AssertionFault::Subject),
        (
            json!({"aud": "https://clinic.example.org"}),
            AssertionFault::Audience,
        ),
        (json!({"aud": format!("{ENDPOINT}/")}), AssertionFault::Audience),
        (json!({"aud": []}), AssertionFault::Audience),
        (
            json!({"aud": [ENDPOINT, "https://other.example.org"]}),
            AssertionFault::Audience,
        ),
        (json!({"exp": second - 30}), AssertionFault::Expired),
        (json!({"exp": i64::MIN}), AssertionFault::Expired),
        (json!({"exp": i64::MAX}), AssertionFault::Expired),
        (json!({"exp": second + 331}), AssertionFault::Lifetime),
        (json!({"exp": 253_402_300_799_i64}), AssertionFault::Lifetime),
        (json!({"nbf": second + 31}), AssertionFault::NotBefore),
        (json!({"nbf": i64::MAX}), AssertionFault::NotBefore),
        (json!({"iat": second + 31}), AssertionFault::IssuedAt),
        (json!({"iat": second - 331}), AssertionFault::IssuedAt),
        (json!({"iat": i64::MIN}), AssertionFault::IssuedAt),
        (json!({"jti": ""}), AssertionFault::Id),
        (json!({"jti": "j".repeat(JTI_BYTES_MAX + 1)}), AssertionFault::Id),
    ] {
        assert_eq!(accept(&change), Err(fault), "{change}");
    }
}

#[test]
fn a_name_is_of_a_system() {
    assert_eq!(
        " Riverside EHR ".parse::<ClientName>().unwrap().as_str(),
        "Riverside EHR"
    );
    for wrong in ["", "  ", "two\nlines", &"n".repeat(CLIENT_NAME_CHARS_MAX + 1)] {
        assert_eq!(wrong.parse::<ClientName>(), Err(Invalid::ClientName));
    }
}
