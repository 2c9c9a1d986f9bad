//! Both ceremonies, made by hand as an authenticator makes them; and each step broken once.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ciborium::cbor;
use proptest::prelude::*;

use super::*;

const RP_ID: &str = "portal.test";
const ORIGIN: &str = "https://portal.test";
const CHALLENGE: &[u8] = b"a challenge of more than sixteen bytes";
const OWNER: &[u8] = b"the person";
/// Present, verified.
const UV: u8 = 0b0000_0101;
const AT: u8 = 0b0100_0000;

enum Key {
    Es256(EcdsaKeyPair),
    EdDsa(Ed25519KeyPair),
    Rs256(RsaKeyPair),
}

impl Key {
    fn all() -> [Self; 3] {
        [
            Self::Es256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap()),
            Self::EdDsa(Ed25519KeyPair::generate().unwrap()),
            Self::Rs256(RsaKeyPair::generate(KeySize::Rsa2048).unwrap()),
        ]
    }

    fn cose(&self) -> Vec<u8> {
        let bytes = |bytes: &[u8]| Value::Bytes(bytes.to_vec());
        let value = match self {
            Self::Es256(key) => {
                let point = key.public_key().as_ref();
                cbor!({1 => 2, 3 => -7, -1 => 1, -2 => bytes(&point[1..33]), -3 => bytes(&point[33..])})
            }
            Self::EdDsa(key) => cbor!({1 => 1, 3 => -8, -1 => 6, -2 => bytes(key.public_key().as_ref())}),
            Self::Rs256(key) => {
                // SEQUENCE { INTEGER n (257 bytes, the first a zero), INTEGER 65537 }
                let der = key.public_key().as_ref();
                cbor!({1 => 3, 3 => -257, -1 => bytes(&der[9..265]), -2 => bytes(&[1, 0, 1])})
            }
        };
        encode(&value.unwrap())
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Es256(key) => key.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec(),
            Self::EdDsa(key) => key.sign(message).as_ref().to_vec(),
            Self::Rs256(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature)
                    .unwrap();
                signature
            }
        }
    }
}

fn encode(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    ciborium::into_writer(value, &mut bytes).unwrap();
    bytes
}

fn client_data(kind: &str, challenge: &[u8], origin: &str, more: &str) -> Vec<u8> {
    let challenge = BASE64_URL_SAFE_NO_PAD.encode(challenge);
    format!(r#"{{"type":"{kind}","challenge":"{challenge}","origin":"{origin}"{more}}}"#).into_bytes()
}

fn authenticator_data(rp_id: &str, flags: u8, count: u32) -> Vec<u8> {
    let mut data = digest(&SHA256, rp_id.as_bytes()).as_ref().to_vec();
    data.push(flags);
    data.extend(count.to_be_bytes());
    data
}

fn attested(key: &Key, flags: u8) -> Vec<u8> {
    let mut data = authenticator_data(RP_ID, flags | AT, 1);
    data.extend([9; 16]);
    data.extend(4_u16.to_be_bytes());
    data.extend(b"cred");
    data.extend(key.cose());
    data
}

fn attestation(format: &str, statement: &Value, auth_data: &[u8]) -> Vec<u8> {
    let auth_data = Value::Bytes(auth_data.to_vec());
    encode(&cbor!({"fmt" => format, "attStmt" => statement, "authData" => auth_data}).unwrap())
}

fn expecting(origins: &[String]) -> Expectation<'_> {
    Expectation {
        challenge: CHALLENGE,
        origins,
        rp_id: RP_ID,
    }
}

fn registered(key: &Key, flags: u8) -> Result<Credential, PasskeyError> {
    let origins = [ORIGIN.to_owned()];
    let client_data = client_data("webauthn.create", CHALLENGE, ORIGIN, r#","crossOrigin":false"#);
    let object = attestation("none", &Value::Map(vec![]), &attested(key, flags));
    register(
        &expecting(&origins),
        &Registration {
            client_data: &client_data,
            attestation_object: &object,
        },
    )
}

fn asserted(
    stored: &Credential,
    key: &Key,
    data: &[u8],
    client: &[u8],
    handle: Option<&[u8]>,
) -> Result<Asserted, PasskeyError> {
    let origins = [ORIGIN.to_owned()];
    let signature = key.sign(&signed_bytes(data, client));
    let given = Assertion {
        client_data: client,
        authenticator_data: data,
        signature: &signature,
        user_handle: handle,
    };
    authenticate(&expecting(&origins), stored, OWNER, &given)
}

fn get() -> Vec<u8> {
    client_data("webauthn.get", CHALLENGE, ORIGIN, "")
}

#[test]
fn a_passkey_of_every_algorithm_registers_and_signs_in() {
    for key in Key::all() {
        let stored = registered(&key, UV).unwrap();
        assert_eq!(
            (stored.id.as_slice(), stored.sign_count, stored.aaguid),
            (b"cred".as_slice(), 1, Uuid::from_bytes([9; 16]))
        );
        let data = authenticator_data(RP_ID, UV, 2);
        let now = asserted(&stored, &key, &data, &get(), Some(OWNER)).unwrap();
        assert_eq!(
            now,
            Asserted {
                sign_count: 2,
                backed_up: false
            }
        );
        // The other algorithm's key does not open it.
        for other in Key::all() {
            assert_eq!(
                asserted(&stored, &other, &data, &get(), None),
                Err(PasskeyError::Signature)
            );
        }
    }
}

#[test]
fn every_step_of_a_sign_in_is_needed() {
    let [key, ..] = Key::all();
    let stored = registered(&key, UV).unwrap();
    let good = authenticator_data(RP_ID, UV, 2);
    let refused = |data: &[u8], client: &[u8], handle: Option<&[u8]>| {
        asserted(&stored, &key, data, client, handle).unwrap_err()
    };
    for (client, why) in [
        (
            client_data("webauthn.create", CHALLENGE, ORIGIN, ""),
            PasskeyError::Ceremony,
        ),
        (
            client_data("webauthn.get", b"another", ORIGIN, ""),
            PasskeyError::Challenge,
        ),
        (
            client_data("webauthn.get", CHALLENGE, "https://portal.test.evil.test", ""),
            PasskeyError::Origin,
        ),
        (
            client_data("webauthn.get", CHALLENGE, "http://portal.test", ""),
            PasskeyError::Origin,
        ),
        (
            client_data("webauthn.get", CHALLENGE, ORIGIN, r#","crossOrigin":true"#),
            PasskeyError::Origin,
        ),
        (
            client_data(
                "webauthn.get",
                CHALLENGE,
                ORIGIN,
                r#","topOrigin":"https://evil.test""#,
            ),
            PasskeyError::Origin,
        ),
        (b"{".to_vec(), PasskeyError::ClientData),
    ] {
        assert_eq!(refused(&good, &client, None), why);
    }
    for (data, why) in [
        (authenticator_data("evil.test", UV, 2), PasskeyError::RelyingParty),
        (authenticator_data(RP_ID, 0b100, 2), PasskeyError::NotPresent),
        (authenticator_data(RP_ID, 0b001, 2), PasskeyError::NotVerified),
        (authenticator_data(RP_ID, UV | 1 << 4, 2), PasskeyError::Backup),
        (authenticator_data(RP_ID, UV | 1 << 3, 2), PasskeyError::Backup),
        (authenticator_data(RP_ID, UV, 1), PasskeyError::Counter),
        (authenticator_data(RP_ID, UV, 0), PasskeyError::Counter),
        (good[..36].to_vec(), PasskeyError::AuthenticatorData),
        ([good.as_slice(), b"x"].concat(), PasskeyError::AuthenticatorData),
        (
            authenticator_data(RP_ID, UV | 1 << 7, 2),
            PasskeyError::AuthenticatorData,
        ),
    ] {
        assert_eq!(refused(&data, &get(), None), why);
    }
    assert_eq!(
        refused(&good, &get(), Some(b"somebody else")),
        PasskeyError::UserHandle
    );
    // A signature over other client data, under data that says the right thing.
    let signature = key.sign(&signed_bytes(&good, b"other"));
    let origins = [ORIGIN.to_owned()];
    let (client, handle) = (get(), None);
    let given = Assertion {
        client_data: &client,
        authenticator_data: &good,
        signature: &signature,
        user_handle: handle,
    };
    assert_eq!(
        authenticate(&expecting(&origins), &stored, OWNER, &given),
        Err(PasskeyError::Signature)
    );
}

#[test]
fn a_synced_passkey_counts_nothing_and_may_begin_to_be_backed_up() {
    let [key, ..] = Key::all();
    let mut stored = registered(&key, UV | 1 << 3).unwrap();
    stored.sign_count = 0;
    let data = authenticator_data(RP_ID, UV | 1 << 3 | 1 << 4, 0);
    let now = asserted(&stored, &key, &data, &get(), None).unwrap();
    assert_eq!(
        now,
        Asserted {
            sign_count: 0,
            backed_up: true
        }
    );
}

#[test]
fn self_attestation_is_checked_and_other_kinds_are_refused() {
    let [key, other, _] = Key::all();
    let origins = [ORIGIN.to_owned()];
    let client_data = client_data("webauthn.create", CHALLENGE, ORIGIN, "");
    let data = attested(&key, UV);
    let check = |format: &str, statement: Value| {
        let object = attestation(format, &statement, &data);
        register(
            &expecting(&origins),
            &Registration {
                client_data: &client_data,
                attestation_object: &object,
            },
        )
        .map(|_| ())
    };
    let signed = |key: &Key| Value::Bytes(key.sign(&signed_bytes(&data, &client_data)));
    assert_eq!(
        check("packed", cbor!({"alg" => -7, "sig" => signed(&key)}).unwrap()),
        Ok(())
    );
    assert_eq!(
        check("packed", cbor!({"alg" => -7, "sig" => signed(&other)}).unwrap()),
        Err(PasskeyError::Signature)
    );
    let refused = Err(PasskeyError::Attestation);
    assert_eq!(
        check("packed", cbor!({"alg" => -8, "sig" => signed(&key)}).unwrap()),
        refused
    );
    assert_eq!(
        check(
            "packed",
            cbor!({"alg" => -7, "sig" => signed(&key), "x5c" => []}).unwrap()
        ),
        refused
    );
    assert_eq!(check("none", cbor!({"alg" => -7}).unwrap()), refused);
    assert_eq!(check("fido-u2f", Value::Map(vec![])), refused);
}

#[test]
fn keys_that_were_not_offered_are_refused() {
    let bytes = |length: usize| Value::Bytes(vec![1; length]);
    for key in [
        cbor!({1 => 2, 3 => -35, -1 => 2, -2 => bytes(48), -3 => bytes(48)}), // ES384
        cbor!({1 => 2, 3 => -7, -1 => 2, -2 => bytes(32), -3 => bytes(32)}),  // another curve
        cbor!({1 => 2, 3 => -7, -1 => 1, -2 => bytes(31), -3 => bytes(32)}),  // a short coordinate
        cbor!({1 => 1, 3 => -7, -1 => 6, -2 => bytes(32)}),                   // type and algorithm disagree
        cbor!({1 => 2, -1 => 1, -2 => bytes(32), -3 => bytes(32)}),           // no algorithm
        cbor!({1 => 3, 3 => -257, -1 => bytes(256)}),                         // no exponent
    ] {
        assert!(PublicKey::parse(&encode(&key.unwrap())).is_err());
    }
}

proptest! {
    /// Whatever arrives, it is refused and not a panic; and a good answer with any byte changed is refused.
    #[test]
    fn garbage_is_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300), at in 0_usize..200, flip in 1_u8..) {
        let origins = [ORIGIN.to_owned()];
        let client = client_data("webauthn.create", CHALLENGE, ORIGIN, "");
        let given = Registration { client_data: &client, attestation_object: &bytes };
        prop_assert!(register(&expecting(&origins), &given).is_err());
        prop_assert!(AuthenticatorData::parse(&bytes).is_err() || bytes.len() >= 37);
        let key = Key::EdDsa(Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap());
        let stored = Credential {
            id: b"cred".to_vec(), public_key: key.cose(), sign_count: 0, backup_eligible: false, backed_up: false, aaguid: Uuid::nil(),
        };
        let (data, client) = (authenticator_data(RP_ID, UV, 2), get());
        let signature = key.sign(&signed_bytes(&data, &client));
        let mut changed = [data.clone(), signature.clone()].concat();
        let at = at % changed.len();
        changed[at] ^= flip;
        let (data, signature) = changed.split_at(data.len());
        let given = Assertion { client_data: &client, authenticator_data: data, signature, user_handle: None };
        prop_assert!(authenticate(&expecting(&origins), &stored, OWNER, &given).is_err());
    }
}
