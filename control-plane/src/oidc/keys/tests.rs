//! Tokens that try to choose how they are checked.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::json;

use super::*;

struct Signer {
    pkcs8: Vec<u8>,
    point: Vec<u8>,
}

impl Signer {
    fn new() -> Self {
        let document =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref()).unwrap();
        Self {
            pkcs8: document.as_ref().to_vec(),
            point: pair.public_key().as_ref().to_vec(),
        }
    }

    fn jwk(&self, kid: &str) -> Value {
        let (x, y) = self.point[1..].split_at(32);
        json!({"kty": "EC", "crv": "P-256", "kid": kid, "use": "sig",
            "x": BASE64_URL_SAFE_NO_PAD.encode(x), "y": BASE64_URL_SAFE_NO_PAD.encode(y)})
    }

    fn sign(&self, kid: Option<&str>) -> String {
        let mut header = Header::new(Algorithm::ES256);
        header.kid = kid.map(str::to_owned);
        encode(&header, &claims(), &EncodingKey::from_ec_der(&self.pkcs8)).unwrap()
    }
}

fn claims() -> Value {
    json!({"iss": "https://a.example", "sub": "1", "aud": "clinic", "exp": 1, "iat": 1})
}

fn set(keys: &[Value]) -> KeySet {
    KeySet::read(json!({ "keys": keys }).to_string().as_bytes()).unwrap()
}

fn refused(set: &KeySet, token: &str) -> KeyError {
    set.verify(token).unwrap_err()
}

#[test]
fn a_key_verifies_what_it_signed_and_nothing_else() {
    let (one, two) = (Signer::new(), Signer::new());
    let keys = set(&[one.jwk("one"), two.jwk("two")]);
    assert_eq!(keys.verify(&one.sign(Some("one"))).unwrap().sub, "1");
    assert_eq!(refused(&keys, &one.sign(Some("two"))), KeyError::Wrong);
    assert_eq!(refused(&keys, &one.sign(Some("three"))), KeyError::Unknown);
    assert_eq!(refused(&keys, &one.sign(None)), KeyError::Unknown);
    assert!(set(&[one.jwk("one")]).verify(&one.sign(None)).is_ok());
    let mut altered = one.sign(Some("one"));
    altered.replace_range(altered.len() - 4.., "AAAA");
    assert_eq!(refused(&keys, &altered), KeyError::Wrong);
}

#[test]
fn no_token_chooses_how_it_is_checked() {
    let one = Signer::new();
    let keys = set(&[one.jwk("one")]);
    let body = |header: Value| {
        let part = |json: &Value| BASE64_URL_SAFE_NO_PAD.encode(json.to_string());
        format!("{}.{}", part(&header), part(&claims()))
    };
    for unsigned in [
        format!("{}.", body(json!({"alg": "none", "kid": "one"}))),
        format!("{}.", body(json!({"alg": "ES256", "kid": "one"}))),
        body(json!({"alg": "ES256", "kid": "one"})),
        String::new(),
        "..".to_owned(),
    ] {
        assert!(keys.verify(&unsigned).is_err(), "{unsigned}");
    }
    // The public key taken for a secret.
    for secret in [one.point.clone(), one.jwk("one").to_string().into_bytes()] {
        let mut header = Header::new(Algorithm::HS256);
        header.kid = Some("one".into());
        let forged = encode(&header, &claims(), &EncodingKey::from_secret(&secret)).unwrap();
        assert_eq!(refused(&keys, &forged), KeyError::Unusable);
    }
}

#[test]
fn keys_that_are_not_for_this_are_left_out() {
    let one = Signer::new();
    let with = |name: &str, value: &str| {
        let mut jwk = one.jwk("one");
        jwk[name] = json!(value);
        jwk
    };
    for useless in [
        with("use", "enc"),
        with("alg", "ES384"),
        with("kty", "oct"),
        json!({"kty": "oct", "kid": "one", "k": "c2VjcmV0"}),
        json!({"kty": "RSA", "kid": "one", "e": "AQAB", "n": BASE64_URL_SAFE_NO_PAD.encode([1; 128])}),
        json!({"kty": "new", "kid": "one"}),
        json!(7),
    ] {
        let keys = set(std::slice::from_ref(&useless));
        assert!(keys.verify(&one.sign(Some("one"))).is_err(), "{useless}");
        assert!(
            set(&[useless, one.jwk("two")])
                .verify(&one.sign(Some("two")))
                .is_ok(),
            "the others count"
        );
    }
    assert!(
        set(&[with("alg", "ES256")])
            .verify(&one.sign(Some("one")))
            .is_ok()
    );
    assert!(KeySet::read(b"[]").is_none() && KeySet::read(b"").is_none());
}
