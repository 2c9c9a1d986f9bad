//! Public keys as authenticators write them (RFC 9052 section 7, RFC 9053) and what they signed.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use ciborium::Value;
use coset::iana::{Ec2KeyParameter, EllipticCurve, EnumI64 as _, KeyType, OkpKeyParameter, RsaKeyParameter};
use coset::{CborSerializable as _, CoseKey, Label, RegisteredLabel, RegisteredLabelWithPrivate, iana};

use super::PasskeyError;

/// COSE algorithms offered to the browser, the preferred first: ES256, `EdDSA`, RS256.
pub const PASSKEY_ALGORITHMS: [i64; 3] = [-7, -8, -257];

/// Bytes of a coordinate of P-256, and of an Ed25519 key.
const COORDINATE: usize = 32;

/// A key whose algorithm was offered.
pub(super) enum PublicKey {
    /// The uncompressed point.
    Es256(Vec<u8>),
    EdDsa(Vec<u8>),
    Rs256 {
        n: Vec<u8>,
        e: Vec<u8>,
    },
}

impl PublicKey {
    pub(super) fn parse(cose: &[u8]) -> Result<Self, PasskeyError> {
        let key = CoseKey::from_slice(cose).map_err(|_| PasskeyError::Key)?;
        let Some(RegisteredLabelWithPrivate::Assigned(algorithm)) = &key.alg else {
            return Err(PasskeyError::Key);
        };
        let RegisteredLabel::Assigned(kind) = &key.kty else {
            return Err(PasskeyError::Key);
        };
        match (kind, algorithm) {
            (KeyType::EC2, iana::Algorithm::ES256) => {
                on_curve(&key, Ec2KeyParameter::Crv.to_i64(), EllipticCurve::P_256)?;
                let mut point = vec![4];
                point.extend(coordinate(&key, Ec2KeyParameter::X.to_i64())?);
                point.extend(coordinate(&key, Ec2KeyParameter::Y.to_i64())?);
                Ok(Self::Es256(point))
            }
            (KeyType::OKP, iana::Algorithm::EdDSA) => {
                on_curve(&key, OkpKeyParameter::Crv.to_i64(), EllipticCurve::Ed25519)?;
                Ok(Self::EdDsa(coordinate(&key, OkpKeyParameter::X.to_i64())?))
            }
            (KeyType::RSA, iana::Algorithm::RS256) => Ok(Self::Rs256 {
                n: bytes(&key, RsaKeyParameter::N.to_i64())?,
                e: bytes(&key, RsaKeyParameter::E.to_i64())?,
            }),
            _ => Err(PasskeyError::Key),
        }
    }

    pub(super) const fn algorithm(&self) -> i64 {
        match self {
            Self::Es256(_) => PASSKEY_ALGORITHMS[0],
            Self::EdDsa(_) => PASSKEY_ALGORITHMS[1],
            Self::Rs256 { .. } => PASSKEY_ALGORITHMS[2],
        }
    }

    pub(super) fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), PasskeyError> {
        let verified = match self {
            Self::Es256(point) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point).verify(message, signature)
            }
            Self::EdDsa(key) => UnparsedPublicKey::new(&ED25519, key).verify(message, signature),
            Self::Rs256 { n, e } => {
                RsaPublicKeyComponents { n, e }.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
            }
        };
        verified.map_err(|_| PasskeyError::Signature)
    }
}

fn param(key: &CoseKey, label: i64) -> Result<&Value, PasskeyError> {
    let found = key.params.iter().find(|(known, _)| *known == Label::Int(label));
    found.map(|(_, value)| value).ok_or(PasskeyError::Key)
}

fn bytes(key: &CoseKey, label: i64) -> Result<Vec<u8>, PasskeyError> {
    param(key, label)?.as_bytes().cloned().ok_or(PasskeyError::Key)
}

fn coordinate(key: &CoseKey, label: i64) -> Result<Vec<u8>, PasskeyError> {
    let bytes = bytes(key, label)?;
    if bytes.len() == COORDINATE {
        Ok(bytes)
    } else {
        Err(PasskeyError::Key)
    }
}

fn on_curve(key: &CoseKey, label: i64, curve: EllipticCurve) -> Result<(), PasskeyError> {
    let found = param(key, label)?.as_integer().map(i128::from);
    if found == Some(i128::from(curve.to_i64())) {
        Ok(())
    } else {
        Err(PasskeyError::Key)
    }
}
