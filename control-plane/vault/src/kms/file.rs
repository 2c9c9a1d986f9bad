//! The embedded KMS: root keys in one file, sealed by a passphrase or a credential.
//!
//! The file holds every version of the root key, each sealed with AES-256-GCM
//! under a key made from the passphrase (Argon2id, RFC 9106) or from a credential of
//! at least 32 random bytes (HKDF). It is 0600, replaced whole, and the same on
//! every control node: after [`Kms::rotate`] it is copied to the others *before*
//! keys are rewrapped; a node that meets a version it does not know reads its file
//! again.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{Context, Kms, KmsError, Wrapped};
use crate::envelope::NONCE_BYTES;
use crate::key::KEY_BYTES;
use crate::{DataKey, VaultError, file};

/// The format of the file.
const FORMAT: u32 = 1;
/// Memory of Argon2id, KiB: RFC 9106's second recommendation; paid once a start.
const ARGON2_KIB: u32 = 64 * 1024;
/// Passes of Argon2id, of the same recommendation.
const ARGON2_PASSES: u32 = 3;
/// Largest cost a file may ask for, so that a forged file cannot take the machine.
const ARGON2_KIB_MAX: u32 = 1024 * 1024;
/// Bytes of a salt.
const SALT_BYTES: usize = 16;
/// Shortest credential: it is not stretched, so it must be random and long.
const CREDENTIAL_BYTES_MIN: usize = 32;
/// Shortest passphrase in bytes: whoever has the file may guess at leisure.
const PASSPHRASE_BYTES_MIN: usize = 15;
/// Most versions of the root key: a rotation a month for eight years.
const VERSIONS_MAX: usize = 100;

/// What opens the file.
#[derive(Clone)]
pub enum Unlock {
    /// Something a person chose; stretched.
    Passphrase(Zeroizing<Vec<u8>>),
    /// Random bytes, as `systemd-creds` keeps them.
    Credential(Zeroizing<Vec<u8>>),
}

impl fmt::Debug for Unlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Passphrase(_) => "Passphrase",
            Self::Credential(_) => "Credential",
        })
    }
}

impl Unlock {
    /// A passphrase from an owner-only file; a line break at its end does not count.
    ///
    /// # Errors
    /// When the file is unreadable, readable by others, or too short.
    pub fn passphrase_file(path: &Path) -> Result<Self, VaultError> {
        let mut text = file::load(path)?;
        while text.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
            text.pop();
        }
        if text.len() < PASSPHRASE_BYTES_MIN {
            return Err(VaultError::Malformed(path.to_owned()));
        }
        Ok(Self::Passphrase(text))
    }

    /// A credential from an owner-only file.
    ///
    /// # Errors
    /// When the file is unreadable, readable by others, or too short.
    pub fn credential_file(path: &Path) -> Result<Self, VaultError> {
        Self::credential(file::load(path)?, path)
    }

    /// A credential systemd handed to this service (`LoadCredentialEncrypted=`). Systemd guards the
    /// directory, and its access lists show as group bits, so the mode is not judged.
    ///
    /// # Errors
    /// When there is none of that name, or it is too short.
    pub fn systemd_credential(name: &str) -> Result<Self, VaultError> {
        let dir = std::env::var_os("CREDENTIALS_DIRECTORY").unwrap_or_default();
        let path = Path::new(&dir).join(name);
        let bytes = std::fs::read(&path).map_err(|source| VaultError::File {
            path: path.clone(),
            source,
        })?;
        Self::credential(Zeroizing::new(bytes), &path)
    }

    /// The credential in an owner-only file, which is made if it is not there.
    ///
    /// # Errors
    /// As [`Unlock::credential_file`].
    pub fn credential_file_or_create(path: &Path) -> Result<Self, VaultError> {
        let bytes = file::load_or_create(path, || {
            Ok(Zeroizing::new(DataKey::generate()?.expose().to_vec()))
        })?;
        Self::credential(bytes, path)
    }

    fn credential(bytes: Zeroizing<Vec<u8>>, path: &Path) -> Result<Self, VaultError> {
        if bytes.len() < CREDENTIAL_BYTES_MIN {
            return Err(VaultError::Malformed(path.to_owned()));
        }
        Ok(Self::Credential(bytes))
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    format: u32,
    unlock: UnlockBy,
    keys: Vec<SealedRoot>,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "snake_case", deny_unknown_fields)]
enum UnlockBy {
    Passphrase { salt: String, kib: u32, passes: u32 },
    Credential { salt: String },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SealedRoot {
    version: u32,
    sealed: String,
}

type Roots = BTreeMap<u32, RandomizedNonceKey>;

/// The embedded KMS.
pub struct FileKms {
    path: PathBuf,
    unlock: UnlockBy,
    /// Seals the versions in the file; kept, because a new version may come at any time.
    kek: Zeroizing<[u8; KEY_BYTES]>,
    roots: RwLock<Roots>,
}

impl fmt::Debug for FileKms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileKms")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl FileKms {
    /// Opens the file, or makes it with a first root key.
    ///
    /// # Errors
    /// When the file is unreadable, readable by others, not of this form, or sealed by something else.
    pub fn load_or_create(path: &Path, unlock: &Unlock) -> Result<Self, VaultError> {
        let bytes = file::load_or_create(path, || first_file(unlock))?;
        let file = parse(path, &bytes)?;
        let kek = key_from(unlock, &file.unlock).map_err(|()| VaultError::Malformed(path.to_owned()))?;
        let roots = open_roots(path, &file, &kek)?;
        Ok(Self {
            path: path.to_owned(),
            unlock: file.unlock,
            kek,
            roots: RwLock::new(roots),
        })
    }

    fn reload(&self) -> Result<(), VaultError> {
        let file = parse(&self.path, &file::load(&self.path)?)?;
        let roots = open_roots(&self.path, &file, &self.kek)?;
        *self.roots.write().unwrap_or_else(PoisonError::into_inner) = roots;
        Ok(())
    }

    fn add_version(&self) -> Result<(), VaultError> {
        let mut file = parse(&self.path, &file::load(&self.path)?)?;
        if file.keys.len() >= VERSIONS_MAX {
            return Err(VaultError::Exhausted);
        }
        let version = file.keys.iter().map(|key| key.version).max().unwrap_or(0) + 1;
        let fresh = DataKey::generate()?;
        file.keys.push(seal_root(version, &fresh, &self.kek)?);
        file.unlock = self.unlock.clone();
        file::replace(&self.path, &to_bytes(&file))?;
        self.reload()
    }

    fn latest(&self) -> u32 {
        let roots = self.roots.read().unwrap_or_else(PoisonError::into_inner);
        *roots
            .keys()
            .next_back()
            .expect("a key file without a key is refused")
    }

    fn wrap_now(&self, context: Context, key: &DataKey) -> Result<Wrapped, KmsError> {
        let roots = self.roots.read().unwrap_or_else(PoisonError::into_inner);
        let (version, root) = roots
            .last_key_value()
            .expect("a key file without a key is refused");
        let blob = seal_with(root, &context.bytes(), key.expose()).map_err(|_| broken())?;
        Ok(Wrapped {
            root: root_name(*version),
            blob,
        })
    }

    fn unwrap_now(&self, context: Context, wrapped: &Wrapped) -> Result<DataKey, KmsError> {
        let version: u32 = wrapped
            .root
            .strip_prefix("file:")
            .and_then(|version| version.parse().ok())
            .ok_or_else(|| KmsError::Refused("wrapped by another KMS".into()))?;
        if !self.knows(version) {
            // Rotated elsewhere, and the file came here since.
            self.reload()
                .map_err(|error| KmsError::Unavailable(error.to_string()))?;
        }
        let roots = self.roots.read().unwrap_or_else(PoisonError::into_inner);
        let root = roots.get(&version).ok_or_else(|| {
            KmsError::Unavailable(format!("the key file has no root key of version {version} yet"))
        })?;
        let bytes = open_with(root, &context.bytes(), &wrapped.blob)
            .map_err(|_| KmsError::Refused("the wrapped key is not of this context".into()))?;
        DataKey::from_slice(&bytes).map_err(|_| broken())
    }

    fn knows(&self, version: u32) -> bool {
        let roots = self.roots.read().unwrap_or_else(PoisonError::into_inner);
        roots.contains_key(&version)
    }
}

impl Kms for FileKms {
    fn name(&self) -> &'static str {
        "file"
    }

    fn generate(&self, context: Context) -> BoxFuture<'_, Result<(DataKey, Wrapped), KmsError>> {
        Box::pin(async move {
            let key = DataKey::generate().map_err(|_| broken())?;
            let wrapped = self.wrap_now(context, &key)?;
            Ok((key, wrapped))
        })
    }

    fn wrap<'a>(&'a self, context: Context, key: &'a DataKey) -> BoxFuture<'a, Result<Wrapped, KmsError>> {
        Box::pin(async move { self.wrap_now(context, key) })
    }

    fn unwrap<'a>(
        &'a self,
        context: Context,
        wrapped: &'a Wrapped,
    ) -> BoxFuture<'a, Result<DataKey, KmsError>> {
        Box::pin(async move { self.unwrap_now(context, wrapped) })
    }

    fn rewrap<'a>(
        &'a self,
        context: Context,
        wrapped: &'a Wrapped,
    ) -> BoxFuture<'a, Result<Wrapped, KmsError>> {
        Box::pin(async move { self.wrap_now(context, &self.unwrap_now(context, wrapped)?) })
    }

    fn rotate(&self) -> BoxFuture<'_, Result<(), KmsError>> {
        Box::pin(async move {
            self.add_version().map_err(|error| match error {
                VaultError::Exhausted => {
                    KmsError::Refused(format!("the key file holds {VERSIONS_MAX} root keys, the most"))
                }
                error => KmsError::Unavailable(error.to_string()),
            })
        })
    }

    fn root(&self) -> BoxFuture<'_, Result<String, KmsError>> {
        Box::pin(async move { Ok(root_name(self.latest())) })
    }
}

fn root_name(version: u32) -> String {
    format!("file:{version}")
}

fn broken() -> KmsError {
    KmsError::Refused("cryptographic operation failed".into())
}

fn first_file(unlock: &Unlock) -> Result<Zeroizing<Vec<u8>>, VaultError> {
    let salt = BASE64_STANDARD.encode(&DataKey::generate()?.expose()[..SALT_BYTES]);
    let by = match unlock {
        Unlock::Passphrase(_) => UnlockBy::Passphrase {
            salt,
            kib: ARGON2_KIB,
            passes: ARGON2_PASSES,
        },
        Unlock::Credential(_) => UnlockBy::Credential { salt },
    };
    let kek = key_from(unlock, &by).map_err(|()| VaultError::Crypto)?;
    let file = KeyFile {
        format: FORMAT,
        unlock: by,
        keys: vec![seal_root(1, &DataKey::generate()?, &kek)?],
    };
    Ok(to_bytes(&file))
}

fn to_bytes(file: &KeyFile) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(serde_json::to_vec_pretty(file).expect("strings and numbers are JSON"))
}

fn parse(path: &Path, bytes: &[u8]) -> Result<KeyFile, VaultError> {
    let malformed = || VaultError::Malformed(path.to_owned());
    let file: KeyFile = serde_json::from_slice(bytes).map_err(|_| malformed())?;
    let sound = file.format == FORMAT && (1..=VERSIONS_MAX).contains(&file.keys.len());
    if sound { Ok(file) } else { Err(malformed()) }
}

/// The key that seals the versions. `Err` when the file wants another kind of unlocking, or an
/// absurd amount of it.
fn key_from(unlock: &Unlock, by: &UnlockBy) -> Result<Zeroizing<[u8; KEY_BYTES]>, ()> {
    let decode = |salt: &str| BASE64_STANDARD.decode(salt).map_err(|_| ());
    match (unlock, by) {
        (Unlock::Passphrase(passphrase), UnlockBy::Passphrase { salt, kib, passes }) => {
            if *kib > ARGON2_KIB_MAX || *passes > ARGON2_PASSES * 4 {
                return Err(());
            }
            let params = Params::new(*kib, *passes, 1, Some(KEY_BYTES)).map_err(|_| ())?;
            let mut out = Zeroizing::new([0; KEY_BYTES]);
            Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
                .hash_password_into(passphrase, &decode(salt)?, out.as_mut_slice())
                .map_err(|_| ())?;
            Ok(out)
        }
        (Unlock::Credential(bytes), UnlockBy::Credential { salt }) => {
            let salt = decode(salt)?;
            let mut out = Zeroizing::new([0; KEY_BYTES]);
            aws_lc_rs::hkdf::Salt::new(aws_lc_rs::hkdf::HKDF_SHA256, &salt)
                .extract(bytes)
                .expand(&[b"medmesh root v1"], aws_lc_rs::hkdf::HKDF_SHA256)
                .and_then(|okm| okm.fill(out.as_mut_slice()))
                .map_err(|_| ())?;
            Ok(out)
        }
        _ => Err(()),
    }
}

fn aead(key: &[u8; KEY_BYTES]) -> Result<RandomizedNonceKey, VaultError> {
    RandomizedNonceKey::new(&AES_256_GCM, key).map_err(|_| VaultError::Crypto)
}

fn seal_with(key: &RandomizedNonceKey, aad: &[u8], plain: &[u8]) -> Result<Vec<u8>, VaultError> {
    let mut text = plain.to_vec();
    let nonce = key
        .seal_in_place_append_tag(Aad::from(aad), &mut text)
        .map_err(|_| VaultError::Crypto)?;
    Ok([nonce.as_ref().as_slice(), &text].concat())
}

fn open_with(key: &RandomizedNonceKey, aad: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, VaultError> {
    let (nonce, text) = sealed.split_at_checked(NONCE_BYTES).ok_or(VaultError::Sealed)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| VaultError::Sealed)?;
    let mut text = Zeroizing::new(text.to_vec());
    let length = key
        .open_in_place(nonce, Aad::from(aad), &mut text)
        .map_err(|_| VaultError::Sealed)?
        .len();
    text.truncate(length);
    Ok(text)
}

fn root_aad(version: u32) -> Vec<u8> {
    format!("medmesh root key {version}").into_bytes()
}

fn seal_root(version: u32, key: &DataKey, kek: &[u8; KEY_BYTES]) -> Result<SealedRoot, VaultError> {
    let sealed = seal_with(&aead(kek)?, &root_aad(version), key.expose())?;
    Ok(SealedRoot {
        version,
        sealed: BASE64_STANDARD.encode(sealed),
    })
}

fn open_roots(path: &Path, file: &KeyFile, kek: &[u8; KEY_BYTES]) -> Result<Roots, VaultError> {
    let malformed = || VaultError::Malformed(path.to_owned());
    let kek = aead(kek)?;
    let open = |root: &SealedRoot| {
        let sealed = BASE64_STANDARD.decode(&root.sealed).map_err(|_| malformed())?;
        // A wrong passphrase shows here.
        let bytes = open_with(&kek, &root_aad(root.version), &sealed).map_err(|_| malformed())?;
        Ok((root.version, aead(DataKey::from_slice(&bytes)?.expose())?))
    };
    file.keys.iter().map(open).collect()
}

/// Reads `data` as the file of the root keys, unlocked by a credential: what a key sealed is the only
/// thing that is a key, and a fault says nothing but where.
#[cfg(any(test, fuzzing))]
pub fn fuzz_key_file(data: &[u8]) {
    let path = Path::new("vault.keys");
    let unlock = Unlock::Credential(Zeroizing::new(vec![7; CREDENTIAL_BYTES_MIN]));
    let file = match parse(path, data) {
        Ok(file) => file,
        Err(error) => return assert!(matches!(error, VaultError::Malformed(_))),
    };
    let Ok(kek) = key_from(&unlock, &file.unlock) else {
        return;
    };
    assert!(open_roots(path, &file, &kek).is_err(), "nobody sealed these");
    let mut ours = KeyFile {
        keys: vec![seal_root(1, &DataKey::generate().expect("randomness"), &kek).expect("a key seals")],
        ..file
    };
    let ours_again = parse(path, &to_bytes(&ours)).expect("just written");
    assert!(open_roots(path, &ours_again, &kek).is_ok());
    // The same under another version is another key's.
    ours.keys[0].version = 2;
    assert!(open_roots(path, &ours, &kek).is_err());
}
