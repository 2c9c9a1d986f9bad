//! A machine of a clinic: proves itself with a key of its own, and then asks as anybody does.
//!
//! ```text
//! let key = MachineKey::from_pem("2026-01", &std::fs::read("machine.pem")?)?;   // PKCS#8, P-384 or RSA
//! let machine = Machine::new("https://clinic.example.org", client_id, key, None)?;
//! let clinic = machine.clinic().await?;          // a token, or the one there is
//! clinic.appointment_list(&AppointmentQuery::default()).await?;
//! ```

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA384, RsaKeyPair,
};
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use medmesh_api_types::Secret;
use medmesh_api_types::client::{
    ASSERTION_TYPE, GRANT_TYPE, OauthMetadata, TOKEN_PATH, TokenAnswer, TokenRequest,
};
use medmesh_base::ClientId;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::ClientError;
use crate::clinic::Clinic;
use crate::transport::Transport;

/// How long an assertion is good, seconds: it is used at once.
const ASSERTION_SECONDS: i64 = 60;
/// A token that ends sooner than this is not begun with.
const TOKEN_MARGIN: Duration = Duration::from_secs(30);
/// Where the service says what its token endpoint is called.
const METADATA_PATH: &str = "/.well-known/oauth-authorization-server";

/// Letters of a line of PEM (RFC 7468 section 2).
const PEM_LINE: usize = 64;

enum Pair {
    Es384(EcdsaKeyPair),
    Rs384(RsaKeyPair),
}

/// The key a machine proves itself with. Never formatted by `Debug`.
pub struct MachineKey {
    id: String,
    pair: Pair,
}

impl std::fmt::Debug for MachineKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MachineKey")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl MachineKey {
    /// A private key in PEM (PKCS#8), P-384 or RSA, and the `kid` its public half is registered under.
    ///
    /// # Errors
    /// [`ClientError::Configuration`] for anything else.
    pub fn from_pem(id: &str, pem: &[u8]) -> Result<Self, ClientError> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem).map_err(|_| ClientError::Configuration("key"))?;
        Self::from_pkcs8(id, der.secret_pkcs8_der())
    }

    /// The same in DER.
    ///
    /// # Errors
    /// [`ClientError::Configuration`].
    pub fn from_pkcs8(id: &str, der: &[u8]) -> Result<Self, ClientError> {
        let ec = EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, der).map(Pair::Es384);
        let pair = match ec {
            Ok(pair) => pair,
            Err(_) => RsaKeyPair::from_pkcs8(der)
                .map(Pair::Rs384)
                .map_err(|_| ClientError::Configuration("key"))?,
        };
        let id = id.to_owned();
        Ok(Self { id, pair })
    }

    /// A new P-384 key as PEM (PKCS#8), for a file that nobody else reads.
    ///
    /// # Errors
    /// [`ClientError::Configuration`] when the system has no random bytes.
    pub fn generate_pem() -> Result<String, ClientError> {
        let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, &SystemRandom::new());
        let made = made.map_err(|_| ClientError::Configuration("key"))?;
        let text = BASE64_STANDARD.encode(made.as_ref());
        let mut pem = "-----BEGIN PRIVATE KEY-----\n".to_owned();
        for (n, letter) in text.chars().enumerate() {
            if n > 0 && n % PEM_LINE == 0 {
                pem.push('\n');
            }
            pem.push(letter);
        }
        Ok(pem + "\n-----END PRIVATE KEY-----\n")
    }

    /// How it signs: `ES384` or `RS384`.
    #[must_use]
    pub const fn algorithm(&self) -> &'static str {
        match self.pair {
            Pair::Es384(_) => "ES384",
            Pair::Rs384(_) => "RS384",
        }
    }

    /// The public half as a JSON Web Key, for an admin to register.
    #[must_use]
    pub fn public_jwk(&self) -> Map<String, Value> {
        let encode = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
        let key = match &self.pair {
            Pair::Es384(pair) => {
                let point = pair.public_key().as_ref();
                let (x, y) = point[1..].split_at((point.len() - 1) / 2);
                json!({"kty": "EC", "crv": "P-384", "x": encode(x), "y": encode(y)})
            }
            Pair::Rs384(pair) => {
                let (n, e) = rsa_numbers(pair.public_key().as_ref());
                json!({"kty": "RSA", "n": encode(n), "e": encode(e)})
            }
        };
        let mut members = key.as_object().cloned().unwrap_or_default();
        members.insert("kid".into(), self.id.as_str().into());
        members.insert("alg".into(), self.algorithm().into());
        members.insert("use".into(), "sig".into());
        members
    }

    /// A JWT with these claims.
    ///
    /// # Errors
    /// [`ClientError::Configuration`] when the system has no random bytes.
    pub fn sign(&self, claims: &Value) -> Result<String, ClientError> {
        let header = json!({"alg": self.algorithm(), "kid": self.id, "typ": "JWT"});
        let encode = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        let text = format!("{}.{}", encode(&header), encode(claims));
        let (random, failed) = (SystemRandom::new(), |_| ClientError::Configuration("key"));
        let signature = match &self.pair {
            Pair::Es384(pair) => pair
                .sign(&random, text.as_bytes())
                .map_err(failed)?
                .as_ref()
                .to_vec(),
            Pair::Rs384(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA384, &random, text.as_bytes(), &mut signature)
                    .map_err(failed)?;
                signature
            }
        };
        Ok(format!("{text}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature)))
    }
}

/// Modulus and exponent of a PKCS#1 `RSAPublicKey` (RFC 8017 appendix A.1.1), without leading zeros.
pub(crate) fn rsa_numbers(der: &[u8]) -> (&[u8], &[u8]) {
    let (inside, _) = der_value(der);
    let (n, rest) = der_value(inside);
    let (e, _) = der_value(rest);
    (without_zeros(n), without_zeros(e))
}

fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    &number[zeros..]
}

/// The value of the first element, and what comes after it; nothing where the bytes are no DER.
fn der_value(der: &[u8]) -> (&[u8], &[u8]) {
    let read = || {
        let (length, rest) = der.get(1..)?.split_first()?;
        let (length, rest) = match usize::from(*length) {
            short @ 0..0x80 => (short, rest),
            long => {
                let (bytes, rest) = rest.split_at_checked(long - 0x80)?;
                let length = bytes.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
                (length, rest)
            }
        };
        rest.split_at_checked(length)
    };
    read().unwrap_or_default()
}

struct Held {
    clinic: Clinic,
    until: Instant,
}

/// A machine at one control node. Clones share the token.
#[derive(Clone)]
pub struct Machine(Arc<Inner>);

struct Inner {
    base_url: String,
    ca_pem: Option<Vec<u8>>,
    transport: Transport,
    client: ClientId,
    key: MachineKey,
    scope: Option<String>,
    token_endpoint: Mutex<Option<String>>,
    held: Mutex<Option<Held>>,
}

impl std::fmt::Debug for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Machine")
            .field("client", &self.0.client)
            .finish_non_exhaustive()
    }
}

impl Machine {
    /// The machine `client` at the control node at `base_url`, asking for these scopes (with spaces
    /// between), or for all it has. With `ca_pem` only certificates under it are trusted.
    ///
    /// # Errors
    /// When an argument is unusable.
    pub fn new(
        base_url: &str,
        client: ClientId,
        key: MachineKey,
        scope: Option<&str>,
        ca_pem: Option<&[u8]>,
    ) -> Result<Self, ClientError> {
        Ok(Self(Arc::new(Inner {
            base_url: base_url.to_owned(),
            ca_pem: ca_pem.map(<[u8]>::to_vec),
            transport: Transport::new(base_url, None, ca_pem)?,
            client,
            key,
            scope: scope.map(str::to_owned),
            token_endpoint: Mutex::default(),
            held: Mutex::default(),
        })))
    }

    /// The clinic's routes under a token that is good for a while: the one there is, or a new one.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn clinic(&self) -> Result<Clinic, ClientError> {
        let now = Instant::now();
        let held = lock(&self.0.held)
            .as_ref()
            .map(|held| (held.clinic.clone(), held.until));
        if let Some((clinic, _)) = held.filter(|(_, until)| *until > now + TOKEN_MARGIN) {
            return Ok(clinic);
        }
        let answer = self.token().await?;
        let clinic = Clinic::with_token(
            &self.0.base_url,
            answer.access_token.expose(),
            self.0.ca_pem.as_deref(),
        )?;
        *lock(&self.0.held) = Some(Held {
            clinic: clinic.clone(),
            until: now + Duration::from_secs(answer.expires_in.into()),
        });
        Ok(clinic)
    }

    /// Forgets the token there is: after an answer that it is no longer good, the next one is another.
    pub fn forget(&self) {
        *lock(&self.0.held) = None;
    }

    /// A new token.
    ///
    /// # Errors
    /// [`ClientError::NoToken`] when the machine is not let in; [`ClientError`].
    pub async fn token(&self) -> Result<TokenAnswer, ClientError> {
        let endpoint = self.token_endpoint().await?;
        let (client, now) = (
            self.0.client.to_string(),
            OffsetDateTime::now_utc().unix_timestamp(),
        );
        let claims = json!({
            "iss": client, "sub": client, "aud": endpoint, "iat": now, "exp": now + ASSERTION_SECONDS,
            "jti": Uuid::new_v4(),
        });
        let request = TokenRequest {
            grant_type: GRANT_TYPE.to_owned(),
            client_assertion_type: ASSERTION_TYPE.to_owned(),
            client_assertion: Secret::new(self.0.key.sign(&claims)?),
            scope: self.0.scope.clone(),
            client_id: None,
        };
        self.0.transport.post_form(TOKEN_PATH, &request).await
    }

    /// What the assertion has to be made out to: the service says it, once.
    async fn token_endpoint(&self) -> Result<String, ClientError> {
        let known = lock(&self.0.token_endpoint).clone();
        if let Some(known) = known {
            return Ok(known);
        }
        let metadata: OauthMetadata = self.0.transport.get(METADATA_PATH).await?;
        *lock(&self.0.token_endpoint) = Some(metadata.token_endpoint.clone());
        Ok(metadata.token_endpoint)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // Whoever panicked while holding it left a whole value behind.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
    use aws_lc_rs::rsa::KeySize;

    use super::*;

    #[test]
    fn keys_of_both_kinds_are_read_and_told() {
        let ec =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, &SystemRandom::new()).unwrap();
        let ec = MachineKey::from_pkcs8("one", ec.as_ref()).unwrap();
        let jwk = ec.public_jwk();
        assert_eq!(
            (jwk["kid"].as_str(), jwk["alg"].as_str()),
            (Some("one"), Some("ES384"))
        );
        assert_eq!(jwk["x"].as_str().unwrap().len(), 64);
        let rsa = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let der: Pkcs8V1Der<'_> = rsa.as_der().unwrap();
        let rsa = MachineKey::from_pkcs8("two", der.as_ref()).unwrap();
        let jwk = rsa.public_jwk();
        assert_eq!(
            (jwk["alg"].as_str(), jwk["e"].as_str()),
            (Some("RS384"), Some("AQAB"))
        );
        assert_eq!(
            BASE64_URL_SAFE_NO_PAD
                .decode(jwk["n"].as_str().unwrap())
                .unwrap()
                .len(),
            256
        );
        assert!(MachineKey::from_pem("three", b"not a key").is_err());
        let made = MachineKey::generate_pem().unwrap();
        assert_eq!(
            MachineKey::from_pem("four", made.as_bytes()).unwrap().algorithm(),
            "ES384"
        );
        assert!(!format!("{ec:?}").contains("pair"));
    }
}
