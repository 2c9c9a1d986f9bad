//! `[vault]`: the KMS that holds the root key, and how long keys stay in memory.

use std::path::PathBuf;

use serde::Deserialize;

use super::check::Broken;

/// Shortest useful time: a clinic's key is unwrapped at least this rarely.
const CACHE_SECONDS_MIN: u64 = 5;
/// Longest time: an erased patient's key must be gone from memory within the hour.
const CACHE_SECONDS_MAX: u64 = 3_600;
/// Most patients' keys in memory, about 1 kB each.
const PATIENTS_CACHED_MAX: usize = 1_000_000;

/// The keys behind the sealed columns. One of the tables inside says where the root key is.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vault {
    /// How long an unwrapped key may be used; the KMS may be away this long unnoticed.
    #[serde(default = "cache_seconds_default")]
    pub cache_seconds: u64,
    /// Patients whose keys are in memory at once.
    #[serde(default = "patients_cached_default")]
    pub patients_cached: usize,
    /// The embedded KMS.
    pub file: Option<FileVault>,
    /// HashiCorp Vault's transit engine.
    pub transit: Option<TransitVault>,
    /// AWS KMS.
    pub aws: Option<AwsVault>,
}

/// HashiCorp Vault's transit engine, with a token or an AppRole.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransitVault {
    /// Base URL.
    pub url: String,
    /// Where the engine is mounted.
    #[serde(default = "transit_mount_default")]
    pub mount: String,
    /// Name of a key that is `derived`.
    pub key: String,
    /// Holds a token.
    pub token_file: Option<PathBuf>,
    /// AppRole: which role.
    pub role_id: Option<String>,
    /// AppRole: holds the secret id.
    pub secret_id_file: Option<PathBuf>,
    /// An authority the system does not know, PEM.
    pub ca_file: Option<PathBuf>,
}

/// AWS KMS. Credentials come from a file, or from the usual variables.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AwsVault {
    /// Region.
    pub region: String,
    /// Id, ARN or alias of a symmetric key.
    pub key_id: String,
    /// Another address than the region's own.
    pub endpoint: Option<String>,
    /// In the form of `~/.aws/credentials`.
    pub credentials_file: Option<PathBuf>,
}

fn transit_mount_default() -> String {
    "transit".into()
}

/// The embedded KMS: the root key in a file, the same on every control node. One of the three
/// others unlocks it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileVault {
    /// Holds the root key; made at the first start.
    pub key_file: PathBuf,
    /// Holds a passphrase of 15 bytes or more.
    pub passphrase_file: Option<PathBuf>,
    /// Holds 32 random bytes or more.
    pub credential_file: Option<PathBuf>,
    /// Name of a credential systemd hands to the service (`LoadCredentialEncrypted=`).
    pub credential: Option<String>,
}

fn cache_seconds_default() -> u64 {
    300
}

fn patients_cached_default() -> usize {
    16_384
}

impl Vault {
    pub(super) fn rules(&self, broken: &mut Vec<Broken>) {
        if !(CACHE_SECONDS_MIN..=CACHE_SECONDS_MAX).contains(&self.cache_seconds) {
            let why = format!("must be {CACHE_SECONDS_MIN} to {CACHE_SECONDS_MAX}");
            broken.push(("vault.cache_seconds".into(), why));
        }
        if !(1..=PATIENTS_CACHED_MAX).contains(&self.patients_cached) {
            let why = format!("must be 1 to {PATIENTS_CACHED_MAX}");
            broken.push(("vault.patients_cached".into(), why));
        }
        let drivers = [self.file.is_some(), self.transit.is_some(), self.aws.is_some()];
        if drivers.iter().filter(|is_there| **is_there).count() != 1 {
            let why = "must have one of [vault.file], [vault.transit] and [vault.aws]";
            broken.push(("vault".into(), why.into()));
        }
        if let Some(transit) = &self.transit {
            transit.rules(broken);
        }
        if let Some(endpoint) = self.aws.as_ref().and_then(|aws| aws.endpoint.as_ref())
            && !is_safe_url(endpoint)
        {
            broken.push(("vault.aws.endpoint".into(), URL_RULE.into()));
        }
        if let Some(file) = &self.file {
            file.rules(broken);
        }
    }
}

/// Keys travel in the answers.
pub(super) const URL_RULE: &str = "must be https://, or http:// on a loopback address";

pub(super) fn is_safe_url(url: &str) -> bool {
    let local = ["http://127.0.0.1", "http://localhost", "http://[::1]"];
    url.starts_with("https://")
        || local.iter().any(|prefix| {
            let rest = url.strip_prefix(prefix);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(':') || rest.starts_with('/'))
        })
}

impl TransitVault {
    fn rules(&self, broken: &mut Vec<Broken>) {
        if !is_safe_url(&self.url) {
            broken.push(("vault.transit.url".into(), URL_RULE.into()));
        }
        let by_role = self.role_id.is_some() && self.secret_id_file.is_some();
        let half = self.role_id.is_some() != self.secret_id_file.is_some();
        if half || by_role == self.token_file.is_some() {
            let why = "must have token_file, or role_id and secret_id_file";
            broken.push(("vault.transit".into(), why.into()));
        }
    }
}

impl FileVault {
    fn rules(&self, broken: &mut Vec<Broken>) {
        let ways = [
            self.passphrase_file.is_some(),
            self.credential_file.is_some(),
            self.credential.is_some(),
        ];
        if ways.iter().filter(|is_there| **is_there).count() != 1 {
            let why = "must have one of passphrase_file, credential_file and credential";
            broken.push(("vault.file".into(), why.into()));
        }
        if let Some(name) = &self.credential
            && (name.is_empty() || name.contains('/'))
        {
            broken.push((
                "vault.file.credential".into(),
                "must be a name without '/'".into(),
            ));
        }
    }
}
