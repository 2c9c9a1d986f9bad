//! The public keys a machine proves itself with (RFC 7517, RFC 7518 section 6), as the admin who
//! registers it writes them: P-384 for ES384, RSA for RS384, and nothing else.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use crate::word::words;

/// Most keys of one machine at once: the present, the next, and some slack for several instances.
pub const CLIENT_KEYS_MAX: usize = 8;
/// Longest `kid`: the thumbprint of RFC 7638 has 43 characters.
pub const KEY_ID_BYTES_MAX: usize = 64;
/// Shortest RSA modulus (NIST SP 800-131A).
pub const RSA_BITS_MIN: usize = 2048;
/// Longest RSA modulus: verifying gets slower with its square, and nobody has longer ones.
pub const RSA_BITS_MAX: usize = 4096;
/// Bytes of one P-384 coordinate.
const COORDINATE_BYTES: usize = 48;
/// 65537, the one exponent that is in use.
const RSA_EXPONENT: [u8; 3] = [1, 0, 1];
/// Members that only a private or symmetric key has (RFC 7518 sections 6.2.2, 6.3.2, 6.4.1).
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

words! {
    /// How a key signs. The key decides, not the token.
    "signature algorithm" KeyAlgorithm {
        /// ECDSA over P-384 with SHA-384.
        Es384 = "ES384",
        /// RSASSA-PKCS1-v1_5 with SHA-384.
        Rs384 = "RS384",
    }
}

/// Why a key set cannot be used. Says which rule, never what was in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    /// None, or too many.
    #[error("a client has 1 to 8 keys")]
    Count,
    /// No name, or too long a one.
    #[error("every key has a kid of 1 to 64 visible ASCII characters")]
    Id,
    /// Two of one name.
    #[error("every key has a kid of its own")]
    SameId,
    /// The half that must not leave the machine.
    #[error("a key holds its private half; make a new one and register only the public half")]
    Private,
    /// Neither of the two kinds.
    #[error("keys are EC keys on P-384 (ES384) or RSA keys (RS384)")]
    Kind,
    /// For something else than signing, or for another algorithm.
    #[error("a key is meant for something else than signing with ES384 or RS384")]
    Usage,
    /// Coordinates, modulus or exponent are none.
    #[error("a key is malformed, or RSA of fewer than 2048 or more than 4096 bits")]
    Malformed,
}

/// The numbers of a public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublicKey {
    /// A point on P-384. That it is on the curve is for whoever has the curve to check.
    P384 {
        /// 48 bytes.
        x: Vec<u8>,
        /// 48 bytes.
        y: Vec<u8>,
    },
    /// An RSA modulus of [`RSA_BITS_MIN`] to [`RSA_BITS_MAX`] bits; the exponent is 65537.
    Rsa {
        /// Big-endian, without leading zeros.
        n: Vec<u8>,
    },
}

/// One public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientKey {
    id: String,
    key: PublicKey,
}

impl ClientKey {
    /// Its name, by which an assertion says which one it was signed with.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its numbers.
    #[must_use]
    pub const fn key(&self) -> &PublicKey {
        &self.key
    }

    /// How it signs.
    #[must_use]
    pub const fn algorithm(&self) -> KeyAlgorithm {
        match self.key {
            PublicKey::P384 { .. } => KeyAlgorithm::Es384,
            PublicKey::Rsa { .. } => KeyAlgorithm::Rs384,
        }
    }

    /// The uncompressed point (SEC 1, 2.3.3) of a P-384 key.
    #[must_use]
    pub fn point(&self) -> Option<Vec<u8>> {
        match &self.key {
            PublicKey::P384 { x, y } => Some([&[4], &x[..], &y[..]].concat()),
            PublicKey::Rsa { .. } => None,
        }
    }

    /// Modulus and exponent of an RSA key, big-endian.
    #[must_use]
    pub fn modulus_and_exponent(&self) -> Option<(&[u8], &'static [u8])> {
        match &self.key {
            PublicKey::P384 { .. } => None,
            PublicKey::Rsa { n } => Some((n, &RSA_EXPONENT)),
        }
    }

    /// Reads one JSON Web Key.
    ///
    /// # Errors
    /// The first [`KeyFault`].
    pub fn read(jwk: &Map<String, Value>) -> Result<Self, KeyFault> {
        if PRIVATE.iter().any(|member| jwk.contains_key(*member)) {
            return Err(KeyFault::Private);
        }
        let text = |member: &str| jwk.get(member).map(|value| value.as_str().unwrap_or_default());
        let id = text("kid").unwrap_or_default();
        if !(1..=KEY_ID_BYTES_MAX).contains(&id.len()) || !id.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(KeyFault::Id);
        }
        let key = match (text("kty"), text("crv")) {
            (Some("EC"), Some("P-384")) => PublicKey::P384 {
                x: coordinate(text("x"))?,
                y: coordinate(text("y"))?,
            },
            (Some("RSA"), None) => PublicKey::Rsa {
                n: modulus(text("n"), text("e"))?,
            },
            _ => return Err(KeyFault::Kind),
        };
        let key = Self {
            id: id.to_owned(),
            key,
        };
        let verifies = |operations: &Value| {
            let operations = operations.as_array();
            operations.is_some_and(|all| all.iter().any(|operation| operation == "verify"))
        };
        let is_meant = text("use").is_none_or(|meant| meant == "sig")
            && text("alg").is_none_or(|meant| meant == key.algorithm().as_str())
            && jwk.get("key_ops").is_none_or(verifies);
        if is_meant { Ok(key) } else { Err(KeyFault::Usage) }
    }

    /// As a JSON Web Key, with what it has to say and nothing else.
    #[must_use]
    pub fn to_jwk(&self) -> Map<String, Value> {
        let encode = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
        let (id, algorithm) = (&self.id, self.algorithm().as_str());
        let value = match &self.key {
            PublicKey::P384 { x, y } => json!({
                "kid": id, "kty": "EC", "crv": "P-384", "x": encode(x), "y": encode(y),
                "alg": algorithm, "use": "sig",
            }),
            PublicKey::Rsa { n } => json!({
                "kid": id, "kty": "RSA", "n": encode(n), "e": encode(&RSA_EXPONENT),
                "alg": algorithm, "use": "sig",
            }),
        };
        match value {
            Value::Object(members) => members,
            _ => Map::new(),
        }
    }
}

fn decode(text: Option<&str>) -> Result<Vec<u8>, KeyFault> {
    let text = text.ok_or(KeyFault::Malformed)?;
    BASE64_URL_SAFE_NO_PAD
        .decode(text)
        .map_err(|_| KeyFault::Malformed)
}

fn coordinate(text: Option<&str>) -> Result<Vec<u8>, KeyFault> {
    let bytes = decode(text)?;
    if bytes.len() == COORDINATE_BYTES {
        Ok(bytes)
    } else {
        Err(KeyFault::Malformed)
    }
}

fn modulus(n: Option<&str>, e: Option<&str>) -> Result<Vec<u8>, KeyFault> {
    let (n, e) = (decode(n)?, decode(e)?);
    let leading = n.first().map_or(0, |byte| byte.leading_zeros() as usize);
    let bits = 8 * n.len() - leading;
    let is_sound = leading < 8
        && (RSA_BITS_MIN..=RSA_BITS_MAX).contains(&bits)
        && n.last().is_some_and(|byte| byte % 2 == 1)
        && e == RSA_EXPONENT;
    if is_sound { Ok(n) } else { Err(KeyFault::Malformed) }
}

/// The keys of one machine: 1 to [`CLIENT_KEYS_MAX`], each with a name of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientKeys(Vec<ClientKey>);

impl ClientKeys {
    /// Reads the keys of a JSON Web Key Set. Every one has to be usable: one that is left out
    /// silently would be missed on the day it is needed.
    ///
    /// # Errors
    /// The first [`KeyFault`].
    pub fn read(keys: &[Map<String, Value>]) -> Result<Self, KeyFault> {
        if !(1..=CLIENT_KEYS_MAX).contains(&keys.len()) {
            return Err(KeyFault::Count);
        }
        let read: Vec<ClientKey> = keys.iter().map(ClientKey::read).collect::<Result<_, _>>()?;
        let is_named_twice =
            |(n, key): (usize, &ClientKey)| read[..n].iter().any(|before| before.id == key.id);
        if read.iter().enumerate().any(is_named_twice) {
            return Err(KeyFault::SameId);
        }
        Ok(Self(read))
    }

    /// The keys.
    #[must_use]
    pub fn as_slice(&self) -> &[ClientKey] {
        &self.0
    }

    /// The key of that name.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&ClientKey> {
        self.0.iter().find(|key| key.id == id)
    }
}
