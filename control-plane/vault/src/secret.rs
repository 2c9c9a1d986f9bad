//! The secret all control nodes share, and what is derived from it.

use std::fmt;
use std::path::Path;

use aws_lc_rs::hkdf;
use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use medmesh_base::{ClinicId, PersonId};
use zeroize::Zeroizing;

use crate::{VaultError, file};

/// Bytes of the cluster secret: HKDF-SHA-256 gains nothing from more.
const SECRET_BYTES: usize = 32;

/// The secret every control node of a cluster holds in a file.
#[derive(Clone)]
pub struct ClusterSecret(Zeroizing<Vec<u8>>);

impl fmt::Debug for ClusterSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClusterSecret")
    }
}

impl ClusterSecret {
    /// Reads the secret, or makes one if the file does not exist. On further
    /// nodes of a cluster the file is copied there first.
    ///
    /// # Errors
    /// When the file is unreadable, readable by others, or not 32 bytes.
    pub fn load_or_create(path: &Path) -> Result<Self, VaultError> {
        let bytes = file::load_or_create(path, || {
            let mut bytes = Zeroizing::new(vec![0; SECRET_BYTES]);
            SystemRandom::new()
                .fill(&mut bytes)
                .map_err(|_| VaultError::Crypto)?;
            Ok(bytes)
        })?;
        if bytes.len() != SECRET_BYTES {
            return Err(VaultError::Malformed(path.to_owned()));
        }
        Ok(Self(bytes))
    }

    /// The TURN secret of an epoch, as the base64url text TURN servers are given.
    #[must_use]
    pub fn turn_secret(&self, epoch: u64) -> Zeroizing<String> {
        self.derive("medmesh turn secret v1", epoch)
    }

    /// The key under which control nodes digest what they compare but must not keep readable:
    /// labels of login counters, bodies of creating requests.
    #[must_use]
    pub fn digest_key(&self) -> Zeroizing<String> {
        self.derive("medmesh digest key v1", 0)
    }

    /// The seed of the Ed25519 key of this epoch that signs the heads of one clinic's audit log.
    #[must_use]
    pub fn audit_seed(&self, clinic: ClinicId, epoch: u32) -> Zeroizing<[u8; SECRET_BYTES]> {
        let (first, later) = (b"medmesh audit head v1", b"medmesh audit head v2");
        let clinic = clinic.as_uuid();
        match epoch {
            // As before keys could be replaced.
            0 => self.derive_bytes(&[first, clinic.as_bytes()]),
            _ => self.derive_bytes(&[later, clinic.as_bytes(), &epoch.to_be_bytes()]),
        }
    }

    /// What shows that an entry in the register of the erased is this cluster's: text of letters, digits,
    /// `-` and `_`.
    #[must_use]
    pub fn erasure_tag(&self, clinic: ClinicId, patient: PersonId) -> Zeroizing<String> {
        let bytes = self.derive_bytes(&[
            b"medmesh erasure v1",
            clinic.as_uuid().as_bytes(),
            patient.as_uuid().as_bytes(),
        ]);
        Zeroizing::new(BASE64_URL_SAFE_NO_PAD.encode(bytes.as_slice()))
    }

    /// The secret of the join token that a creating request with this key is answered with: the same one
    /// however often it comes, and kept nowhere.
    #[must_use]
    pub fn join_secret(&self, idempotency_key: &str) -> Zeroizing<[u8; SECRET_BYTES]> {
        self.derive_bytes(&[b"medmesh join token v1", idempotency_key.as_bytes()])
    }

    fn derive(&self, purpose: &str, epoch: u64) -> Zeroizing<String> {
        let bytes = self.derive_bytes(&[purpose.as_bytes(), &epoch.to_be_bytes()]);
        Zeroizing::new(BASE64_URL_SAFE_NO_PAD.encode(bytes.as_slice()))
    }

    fn derive_bytes(&self, info: &[&[u8]]) -> Zeroizing<[u8; SECRET_BYTES]> {
        let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, b"medmesh cluster secret");
        let mut out = Zeroizing::new([0; SECRET_BYTES]);
        salt.extract(&self.0)
            .expand(info, hkdf::HKDF_SHA256)
            .and_then(|okm| okm.fill(out.as_mut_slice()))
            .expect("32 bytes is one HKDF-SHA-256 block, far below its limit");
        out
    }
}
