//! Time-limited credentials ("TURN REST"): user name `expiry:opaque-id`, password an
//! HMAC of it under a secret that both the control plane and the relay know.
//!
//! Nothing is looked up and nothing is stored: whoever holds the secret of an epoch
//! can make credentials, and the relay checks them with the name alone. Two epochs
//! are valid at a time so that the secret can be rotated without cutting anybody off.

use std::fmt;
use std::ops::Deref;

use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use md5::{Digest as _, Md5};

/// Longest user name accepted: RFC 8489 §14.3 allows 508 bytes; ours are a timestamp and a
/// UUID, and what an unauthenticated sender can make us hash should stay small.
pub(crate) const USERNAME_BYTES_MAX: usize = 128;

/// How a password becomes a key (RFC 8489 §18.5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PasswordAlgorithm {
    /// What everybody understands, and what a request that names none has used.
    #[default]
    Md5,
    /// Stronger.
    Sha256,
}

impl PasswordAlgorithm {
    /// The key of `username` in `realm`: a digest of `username ":" realm ":" password`.
    ///
    /// MD5 comes from RustCrypto's `md-5`: aws-lc-rs has no safe API for it (it is only in
    /// aws-lc-sys, behind FFI), and no secrecy rests on it here: the input already holds a
    /// 160-bit HMAC output, and the RFC fixes the function on the wire.
    #[must_use]
    pub fn key(self, username: &str, realm: &str, password: &str) -> IntegrityKey {
        let parts = [username, ":", realm, ":", password];
        match self {
            Self::Md5 => {
                let mut md5 = Md5::new();
                parts.iter().for_each(|part| md5.update(part.as_bytes()));
                IntegrityKey::Md5(md5.finalize().into())
            }
            Self::Sha256 => {
                let mut sha256 = digest::Context::new(&digest::SHA256);
                parts.iter().for_each(|part| sha256.update(part.as_bytes()));
                let digest = sha256.finish();
                IntegrityKey::Sha256(*digest.as_ref().first_chunk().expect("SHA-256 has 32 bytes"))
            }
        }
    }
}

/// The key of MESSAGE-INTEGRITY for one user (RFC 8489 §9.2.2); dereferences to its bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum IntegrityKey {
    /// By [`PasswordAlgorithm::Md5`].
    Md5([u8; 16]),
    /// By [`PasswordAlgorithm::Sha256`].
    Sha256([u8; 32]),
}

impl IntegrityKey {
    /// What it was made with.
    #[must_use]
    pub const fn algorithm(&self) -> PasswordAlgorithm {
        match self {
            Self::Md5(_) => PasswordAlgorithm::Md5,
            Self::Sha256(_) => PasswordAlgorithm::Sha256,
        }
    }
}

impl Deref for IntegrityKey {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Md5(bytes) => bytes,
            Self::Sha256(bytes) => bytes,
        }
    }
}

/// Keys do not show in logs.
impl fmt::Debug for IntegrityKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IntegrityKey({:?})", self.algorithm())
    }
}

/// The secret of one epoch.
///
/// The text is used as it is (base64url from the control plane), as
/// `coturn --use-auth-secret` does.
#[derive(Clone)]
pub struct Secret {
    epoch: u64,
    key: hmac::Key,
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret(epoch {})", self.epoch)
    }
}

impl Secret {
    /// The secret `text` of `epoch`.
    #[must_use]
    pub fn new(epoch: u64, text: &str) -> Self {
        // SHA-1 is what every TURN client and server of the convention computes; HMAC-SHA-1 is
        // not touched by the collision attacks on the bare hash.
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
        Self { epoch, key }
    }

    /// Which epoch it is of.
    #[must_use]
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The password that belongs to `username` under this secret.
    #[must_use]
    pub fn password(&self, username: &str) -> String {
        BASE64_STANDARD.encode(hmac::sign(&self.key, username.as_bytes()))
    }

    /// The integrity key of `username` in `realm`.
    pub(crate) fn integrity_key(
        &self,
        algorithm: PasswordAlgorithm,
        username: &str,
        realm: &str,
    ) -> IntegrityKey {
        algorithm.key(username, realm, &self.password(username))
    }
}

/// The secrets in force: none (every request is refused), one, or two while rotating.
#[derive(Clone, Debug, Default)]
pub struct Secrets {
    current: Option<Secret>,
    previous: Option<Secret>,
}

impl Secrets {
    /// No secret yet: the relay answers Binding requests and refuses everything else.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// The secret in force and, while rotating, the one before it.
    #[must_use]
    pub fn new(current: Secret, previous: Option<Secret>) -> Self {
        Self {
            current: Some(current),
            previous,
        }
    }

    /// The secrets in force, newest first.
    pub fn iter(&self) -> impl Iterator<Item = &Secret> {
        self.current.iter().chain(&self.previous)
    }

    /// Epochs in force, newest first.
    #[must_use]
    pub fn epochs(&self) -> Vec<u64> {
        self.iter().map(|secret| secret.epoch).collect()
    }
}

/// A well-formed user name of the convention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Username<'a> {
    /// Seconds since the Unix epoch after which no allocation may be made with it.
    pub(crate) expires_unix_s: u64,
    /// What quotas are counted by: the part that survives a renewal of the credentials.
    pub(crate) opaque: &'a str,
}

impl<'a> Username<'a> {
    /// `None` unless it is `digits:opaque` with a non-empty opaque part and a bounded length.
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        if text.len() > USERNAME_BYTES_MAX {
            return None;
        }
        let (expiry, opaque) = text.split_once(':')?;
        if opaque.is_empty() || expiry.is_empty() || !expiry.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        Some(Self {
            expires_unix_s: expiry.parse().ok()?,
            opaque,
        })
    }
}

/// `MD5(username ":" realm ":" password)`, RFC 8489 §9.2.2: the key of a client that names no
/// password algorithm.
#[must_use]
pub fn long_term_key(username: &str, realm: &str, password: &str) -> IntegrityKey {
    PasswordAlgorithm::Md5.key(username, realm, password)
}

/// A user name and password for Binding requests (RFC 8489 §9.1), where the relay is to
/// answer those to its own clients only.
#[derive(Clone, PartialEq, Eq)]
pub struct ShortTermCredential {
    /// Sent as it is.
    pub username: String,
    /// The key as it is.
    pub password: String,
}

impl fmt::Debug for ShortTermCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ShortTermCredential({})", self.username)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn password_is_what_coturn_computes() {
        // printf '1700000000:abc' | openssl dgst -sha1 -hmac north -binary | base64
        let secret = Secret::new(1, "north");
        assert_eq!(secret.password("1700000000:abc"), "g5HTmCBrPDhYXFpM/1dHUtfE+c4=");
    }

    #[test]
    fn long_term_key_is_the_example_of_rfc_8489() {
        // RFC 8489 §9.2.2: user, realm, pass.
        let key = long_term_key("user", "realm", "pass");
        let hex: String = key.iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hex, "8493fbc53ba582fb4c044c456bdc40eb");
    }

    #[test]
    fn sha256_key_is_the_digest_of_the_same_text() {
        // printf user:realm:pass | sha256sum
        let key = PasswordAlgorithm::Sha256.key("user", "realm", "pass");
        let hex: String = key.iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(
            hex,
            "07e934117abd40836e7c6329b54731b2b2d2a5f9a71f544922d75e0730d8251b"
        );
        assert!(!format!("{key:?}").contains(&hex[..4]), "{key:?}");
    }

    #[test]
    fn usernames_that_are_not_the_convention_are_refused() {
        let long = format!("1:{}", "x".repeat(USERNAME_BYTES_MAX));
        for text in [
            "",
            "abc",
            ":abc",
            "12:",
            "12x:abc",
            "-1:abc",
            "+1:abc",
            "99999999999999999999999:a",
            &long,
        ] {
            assert_eq!(Username::parse(text), None, "{text}");
        }
        assert_eq!(
            Username::parse("12:a:b"),
            Some(Username {
                expires_unix_s: 12,
                opaque: "a:b"
            })
        );
    }

    #[test]
    fn secrets_do_not_show_in_debug_output() {
        let secrets = Secrets::new(Secret::new(2, "hush"), Some(Secret::new(1, "quiet")));
        let text = format!("{secrets:?}");
        assert!(!text.contains("hush") && !text.contains("quiet"), "{text}");
        assert_eq!(secrets.epochs(), [2, 1]);
    }
}
