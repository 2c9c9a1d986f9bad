//! From `[vault]` to the keyring.

use std::sync::Arc;
use std::time::Duration;

use medmesh_store::{Keyring, KeyringSettings};
use medmesh_vault::kms::{FileKms, Unlock};
use medmesh_vault::{Kms, VaultError};

use crate::config::{FileVault, Vault};

/// Opens the KMS the configuration names. Only the embedded one is touched by this; the others
/// are asked when a key is needed.
///
/// # Errors
/// When a key file is unreadable, readable by others, or does not open with what should unlock it.
pub fn open(config: &Vault) -> Result<Keyring, VaultError> {
    let kms: Arc<dyn Kms> = match &config.file {
        Some(file) => Arc::new(file_kms(file)?),
        None => unreachable!("the configuration's rules want one KMS"),
    };
    let settings = KeyringSettings {
        lifetime: Duration::from_secs(config.cache_seconds),
        patients_max: config.patients_cached,
    };
    Ok(Keyring::new(kms, settings))
}

fn file_kms(file: &FileVault) -> Result<FileKms, VaultError> {
    let unlock = match (&file.passphrase_file, &file.credential_file, &file.credential) {
        (Some(path), _, _) => Unlock::passphrase_file(path)?,
        (_, Some(path), _) => Unlock::credential_file(path)?,
        (_, _, name) => Unlock::systemd_credential(name.as_deref().unwrap_or_default())?,
    };
    FileKms::load_or_create(&file.key_file, &unlock)
}
