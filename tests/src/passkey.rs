//! A passkey in software: what a phone's authenticator does, without the phone. Its owner is
//! always there and always verified.

use std::sync::atomic::{AtomicU32, Ordering};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use medmesh_api_types::factor::{
    PasskeyAssertion, PasskeyAttestation, PasskeyCreation, PasskeyRegistration, PasskeyRequest,
    PasskeySignature,
};
use medmesh_base::PersonId;
use medmesh_clinic::identity::passkey::Credential;
use uuid::Uuid;

/// User present and verified.
const FLAGS: u8 = 0b0000_0101;
/// With a new credential inside.
const ATTESTED: u8 = 0b0100_0000;

/// One passkey on one device.
#[derive(Debug)]
pub struct SoftPasskey {
    key: EcdsaKeyPair,
    id: Vec<u8>,
    origin: String,
    count: AtomicU32,
}

impl SoftPasskey {
    /// A new passkey for pages of this origin.
    ///
    /// # Panics
    /// When the system has no random numbers.
    #[must_use]
    pub fn generate(origin: &str) -> Self {
        Self {
            key: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING)
                .expect("the system has random numbers"),
            id: Uuid::new_v4().as_bytes().to_vec(),
            origin: origin.to_owned(),
            count: AtomicU32::new(0),
        }
    }

    /// The same passkey as another page would use it.
    #[must_use]
    pub fn at_origin(self, origin: &str) -> Self {
        Self {
            origin: origin.to_owned(),
            ..self
        }
    }

    /// What the service keeps of it.
    #[must_use]
    pub fn credential(&self) -> Credential {
        Credential {
            id: self.id.clone(),
            public_key: self.cose(),
            sign_count: 0,
            backup_eligible: false,
            backed_up: false,
            aaguid: Uuid::nil(),
        }
    }

    /// Answers `navigator.credentials.create`.
    #[must_use]
    pub fn create(&self, options: &PasskeyCreation) -> PasskeyRegistration {
        let mut data = self.authenticator_data(&options.rp.id, FLAGS | ATTESTED);
        data.extend([0; 16]);
        data.extend(u16::try_from(self.id.len()).expect("sixteen bytes").to_be_bytes());
        data.extend(&self.id);
        data.extend(self.cose());
        // {"fmt": "none", "attStmt": {}, "authData": bytes}
        let mut object = b"\xa3\x63fmt\x64none\x67attStmt\xa0\x68authData\x59".to_vec();
        object.extend(
            u16::try_from(data.len())
                .expect("some hundred bytes")
                .to_be_bytes(),
        );
        object.extend(data);
        PasskeyRegistration {
            id: BASE64_URL_SAFE_NO_PAD.encode(&self.id),
            response: PasskeyAttestation {
                client_data_json: BASE64_URL_SAFE_NO_PAD
                    .encode(self.client_data("webauthn.create", &options.challenge)),
                attestation_object: BASE64_URL_SAFE_NO_PAD.encode(object),
            },
        }
    }

    /// Answers `navigator.credentials.get`, as the passkey of `person`.
    ///
    /// # Panics
    /// When the system has no random numbers.
    #[must_use]
    pub fn get(&self, options: &PasskeyRequest, person: PersonId) -> PasskeyAssertion {
        let client_data = self.client_data("webauthn.get", &options.challenge);
        let data = self.authenticator_data(&options.rp_id, FLAGS);
        let message = [data.as_slice(), digest(&SHA256, client_data.as_bytes()).as_ref()].concat();
        let signature = self
            .key
            .sign(&SystemRandom::new(), &message)
            .expect("the system has random numbers");
        PasskeyAssertion {
            id: BASE64_URL_SAFE_NO_PAD.encode(&self.id),
            response: PasskeySignature {
                client_data_json: BASE64_URL_SAFE_NO_PAD.encode(client_data),
                authenticator_data: BASE64_URL_SAFE_NO_PAD.encode(data),
                signature: BASE64_URL_SAFE_NO_PAD.encode(signature.as_ref()),
                user_handle: Some(BASE64_URL_SAFE_NO_PAD.encode(person.as_uuid().as_bytes())),
            },
        }
    }

    fn client_data(&self, kind: &str, challenge: &str) -> String {
        let origin = &self.origin;
        format!(r#"{{"type":"{kind}","challenge":"{challenge}","origin":"{origin}","crossOrigin":false}}"#)
    }

    fn authenticator_data(&self, rp_id: &str, flags: u8) -> Vec<u8> {
        let count = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        let mut data = digest(&SHA256, rp_id.as_bytes()).as_ref().to_vec();
        data.push(flags);
        data.extend(count.to_be_bytes());
        data
    }

    /// `{1: 2, 3: -7, -1: 1, -2: x, -3: y}`
    fn cose(&self) -> Vec<u8> {
        let point = self.key.public_key().as_ref();
        let mut key = b"\xa5\x01\x02\x03\x26\x20\x01\x21\x58\x20".to_vec();
        key.extend(&point[1..33]);
        key.extend(b"\x22\x58\x20");
        key.extend(&point[33..65]);
        key
    }
}
