//! From `[vault]` to the keyring; and what keeps its keys young.

mod desk;
mod floors;
mod metrics;
mod rotation;

use std::sync::Arc;
use std::time::Duration;

use medmesh_store::{Keyring, KeyringSettings};
use medmesh_vault::kms::{
    AwsCredentials, AwsKms, AwsSettings, FileKms, TransitAuth, TransitKms, TransitSettings, Unlock,
};
use medmesh_vault::{Kms, VaultError};

use crate::config::{AwsVault, FileVault, TransitVault, Vault};

pub(crate) use desk::described;
pub use floors::watch as watch_floors;
pub use metrics::watch as watch_kms;
pub use rotation::handlers;

/// Opens the KMS the configuration names. Only the embedded one is touched by this; the others
/// are asked when a key is needed.
///
/// # Errors
/// When a key file is unreadable, readable by others, or does not open with what should unlock it.
pub fn open(config: &Vault) -> Result<Keyring, VaultError> {
    let kms: Arc<dyn Kms> = match (&config.file, &config.transit, &config.aws) {
        (Some(file), ..) => Arc::new(file_kms(file)?),
        (_, Some(transit), _) => Arc::new(TransitKms::new(transit_settings(transit))?),
        (.., Some(aws)) => Arc::new(AwsKms::new(aws_settings(aws))?),
        (None, None, None) => unreachable!("the configuration's rules want one KMS"),
    };
    let settings = KeyringSettings {
        lifetime: Duration::from_secs(config.cache_seconds),
        patients_max: config.patients_cached,
        waits_for_register: true,
    };
    Ok(Keyring::new(kms, settings))
}

fn transit_settings(config: &TransitVault) -> TransitSettings {
    let auth = match (&config.token_file, &config.role_id, &config.secret_id_file) {
        (None, Some(role_id), Some(secret_id_file)) => TransitAuth::AppRole {
            role_id: role_id.clone(),
            secret_id_file: secret_id_file.clone(),
        },
        (token_file, ..) => TransitAuth::TokenFile(token_file.clone().unwrap_or_default()),
    };
    TransitSettings {
        url: config.url.clone(),
        mount: config.mount.clone(),
        key: config.key.clone(),
        auth,
        ca_file: config.ca_file.clone(),
    }
}

fn aws_settings(config: &AwsVault) -> AwsSettings {
    let file = config.credentials_file.clone();
    AwsSettings {
        region: config.region.clone(),
        key_id: config.key_id.clone(),
        endpoint: config.endpoint.clone(),
        credentials: file.map_or(AwsCredentials::Environment, AwsCredentials::File),
    }
}

fn file_kms(file: &FileVault) -> Result<FileKms, VaultError> {
    let unlock = match (&file.passphrase_file, &file.credential_file, &file.credential) {
        (Some(path), _, _) => Unlock::passphrase_file(path)?,
        (_, Some(path), _) => Unlock::credential_file(path)?,
        (_, _, name) => Unlock::systemd_credential(name.as_deref().unwrap_or_default())?,
    };
    FileKms::load_or_create(&file.key_file, &unlock)
}
