//! One symmetric key of the hierarchy, and what it may seal.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use aws_lc_rs::{hkdf, hmac};
use zeroize::Zeroizing;

use crate::VaultError;
use crate::envelope::{Field, HEADER_BYTES, Header, KeyKind, NONCE_BYTES, TAG_BYTES};

/// Bytes of every key: AES-256 and HMAC-SHA-256 alike.
pub const KEY_BYTES: usize = 32;

/// Most messages under one key. With random 96-bit nonces, NIST SP 800-38D section 8.3 allows
/// 2^32 for a collision probability below 2^-32.
pub const SEALS_PER_KEY_MAX: u64 = 1 << 32;

/// From here on a key should be rotated: half the bound, so that a cluster sealing 2,000 fields
/// a second still has twelve days to do it.
pub const SEALS_PER_KEY_ROTATE: u64 = 1 << 31;

/// 32 secret bytes that are not in use yet: fresh, or just unwrapped. Zeroed when dropped.
#[derive(Clone)]
pub struct DataKey(Zeroizing<[u8; KEY_BYTES]>);

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataKey")
    }
}

impl DataKey {
    /// Fresh random bytes.
    ///
    /// # Errors
    /// [`VaultError::Crypto`] when the system has no randomness.
    pub fn generate() -> Result<Self, VaultError> {
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        SystemRandom::new()
            .fill(bytes.as_mut_slice())
            .map_err(|_| VaultError::Crypto)?;
        Ok(Self(bytes))
    }

    /// Bytes that came out of a KMS or an envelope.
    ///
    /// # Errors
    /// [`VaultError::Sealed`] unless there are 32.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, VaultError> {
        let bytes = bytes.try_into().map_err(|_| VaultError::Sealed)?;
        Ok(Self(Zeroizing::new(bytes)))
    }

    /// The bytes, for a KMS or an envelope.
    #[must_use]
    pub fn expose(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    /// A key of another purpose (HKDF-SHA-256, RFC 5869).
    #[must_use]
    pub(crate) fn derive(&self, purpose: &[u8], salt: &[u8]) -> Zeroizing<[u8; KEY_BYTES]> {
        let mut out = Zeroizing::new([0; KEY_BYTES]);
        hkdf::Salt::new(hkdf::HKDF_SHA256, salt)
            .extract(self.0.as_slice())
            .expand(&[purpose], hkdf::HKDF_SHA256)
            .and_then(|okm| okm.fill(out.as_mut_slice()))
            .expect("32 bytes is one HKDF-SHA-256 block, far below its limit");
        out
    }
}

/// How many messages are under one key. Whoever takes the same key into use again hands the same
/// count over, so that nothing sealed in between is forgotten.
#[derive(Debug, Default)]
pub struct SealCount {
    /// What the keeper of the count knows of.
    known: AtomicU64,
    /// Sealed here since, and not reported yet.
    fresh: AtomicU64,
}

impl SealCount {
    /// Takes note of the keeper's number, which other processes add to as well.
    pub fn learn(&self, known: u64) {
        self.known.fetch_max(known, Ordering::Relaxed);
    }

    /// Every message known of.
    #[must_use]
    pub fn total(&self) -> u64 {
        let known = self.known.load(Ordering::Relaxed);
        known.saturating_add(self.fresh.load(Ordering::Relaxed))
    }

    /// What was sealed here and not reported yet, for the keeper to add. A crash loses at most what
    /// was sealed since the last report.
    #[must_use]
    pub fn take(&self) -> u64 {
        let taken = self.fresh.swap(0, Ordering::Relaxed);
        self.known.fetch_add(taken, Ordering::Relaxed);
        taken
    }

    /// Takes back what could not be reported.
    pub fn give_back(&self, taken: u64) {
        self.known.fetch_sub(taken, Ordering::Relaxed);
        self.fresh.fetch_add(taken, Ordering::Relaxed);
    }

    /// One more. Says whether it is still allowed.
    fn add(&self) -> bool {
        let fresh = self.fresh.fetch_add(1, Ordering::Relaxed);
        self.known.load(Ordering::Relaxed).saturating_add(fresh) < SEALS_PER_KEY_MAX
    }
}

/// A key in use: seals and opens fields, wraps the keys below it, counts what it sealed.
///
/// The library zeroes its key schedule when it is dropped; the bytes kept beside it are zeroed too.
pub struct Key {
    kind: KeyKind,
    version: u32,
    fields: RandomizedNonceKey,
    secret: DataKey,
    count: Arc<SealCount>,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("kind", &self.kind)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

impl Key {
    /// Takes a key into use. `sealed_before` is how many messages are known to be under it.
    ///
    /// # Errors
    /// [`VaultError::Crypto`], never expected.
    pub fn new(kind: KeyKind, version: u32, secret: DataKey, sealed_before: u64) -> Result<Self, VaultError> {
        let count = SealCount::default();
        count.learn(sealed_before);
        Self::counted(kind, version, secret, Arc::new(count))
    }

    /// [`Key::new`] that goes on with a count.
    ///
    /// # Errors
    /// [`VaultError::Crypto`], never expected.
    pub fn counted(
        kind: KeyKind,
        version: u32,
        secret: DataKey,
        count: Arc<SealCount>,
    ) -> Result<Self, VaultError> {
        let field_key = secret.derive(b"medmesh fields v1", b"");
        let fields =
            RandomizedNonceKey::new(&AES_256_GCM, field_key.as_slice()).map_err(|_| VaultError::Crypto)?;
        Ok(Self {
            kind,
            version,
            fields,
            secret,
            count,
        })
    }

    /// Which level it is of.
    #[must_use]
    pub const fn kind(&self) -> KeyKind {
        self.kind
    }

    /// Its version.
    #[must_use]
    pub const fn version(&self) -> u32 {
        self.version
    }

    /// Seals a value for one place: an envelope of [`crate::envelope::OVERHEAD_BYTES`] more.
    ///
    /// # Errors
    /// [`VaultError::Exhausted`] when the key has sealed all it may; [`VaultError::Crypto`].
    pub fn seal(&self, field: &Field<'_>, plain: &[u8]) -> Result<Vec<u8>, VaultError> {
        if !self.count.add() {
            return Err(VaultError::Exhausted);
        }
        let header = Header {
            kind: self.kind,
            key_version: self.version,
        };
        let aad = field.associated(&header);
        let mut text = Vec::with_capacity(plain.len() + TAG_BYTES);
        text.extend_from_slice(plain);
        let nonce = self
            .fields
            .seal_in_place_append_tag(Aad::from(aad), &mut text)
            .map_err(|_| VaultError::Crypto)?;
        let mut sealed = Vec::with_capacity(HEADER_BYTES + NONCE_BYTES + text.len());
        sealed.extend_from_slice(&header.to_bytes());
        sealed.extend_from_slice(nonce.as_ref());
        sealed.extend_from_slice(&text);
        Ok(sealed)
    }

    /// Opens what [`Key::seal`] made for the same place.
    ///
    /// # Errors
    /// [`VaultError::Sealed`] when it was made for another place, under another key, or altered.
    pub fn open(&self, field: &Field<'_>, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let header = Header::read(sealed)?;
        if header.kind != self.kind || header.key_version != self.version {
            return Err(VaultError::Sealed);
        }
        let body = &sealed[HEADER_BYTES..];
        let (nonce, text) = body.split_at_checked(NONCE_BYTES).ok_or(VaultError::Sealed)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| VaultError::Sealed)?;
        let mut text = Zeroizing::new(text.to_vec());
        let length = self
            .fields
            .open_in_place(nonce, Aad::from(field.associated(&header)), &mut text)
            .map_err(|_| VaultError::Sealed)?
            .len();
        text.truncate(length);
        Ok(text)
    }

    /// Wraps the key of the level below for one place.
    ///
    /// # Errors
    /// As [`Key::seal`].
    pub fn wrap(&self, field: &Field<'_>, below: &DataKey) -> Result<Vec<u8>, VaultError> {
        self.seal(field, below.expose())
    }

    /// Unwraps what [`Key::wrap`] made for the same place.
    ///
    /// # Errors
    /// As [`Key::open`].
    pub fn unwrap(&self, field: &Field<'_>, wrapped: &[u8]) -> Result<DataKey, VaultError> {
        DataKey::from_slice(&self.open(field, wrapped)?)
    }

    /// A key for keyed digests of one purpose (HMAC-SHA-256), e.g. a blind index.
    #[must_use]
    pub(crate) fn digest_key(&self, purpose: &str) -> hmac::Key {
        let bytes = self.secret.derive(purpose.as_bytes(), b"medmesh digest v1");
        hmac::Key::new(hmac::HMAC_SHA256, bytes.as_slice())
    }

    /// The key of one object (see [`crate::stream`]); the salt is the object's.
    pub(crate) fn object_key(&self, salt: &[u8]) -> Zeroizing<[u8; KEY_BYTES]> {
        self.secret.derive(b"medmesh object v1", salt)
    }

    /// How many messages are under it, as far as known here.
    #[must_use]
    pub const fn count(&self) -> &Arc<SealCount> {
        &self.count
    }
}
