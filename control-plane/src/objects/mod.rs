//! Object storage: a directory or a bucket, and whether the bucket locks what is put into it.
//!
//! What must stay and what must go do not go into one bucket: heads of audit logs and the register of the
//! erased are to be locked for years, copies of records may lie there for seven days ([`Opened`]).
//!
//! Locking is the bucket's own doing: its default retention holds for everything put into it, by us
//! and by whoever took our keys. We only look whether it is so ([`Lock`]), at the start, before
//! publishing and with every verification. (A lock per request would have to be asked for by the very
//! party whose hands the lock is to bind.)

mod ask;
mod digest;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod lock;
mod passing;
mod shared;
mod versions;

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt as _;
use object_store::aws::{AmazonS3, AmazonS3Builder, Checksum};
use object_store::local::LocalFileSystem;
use object_store::{BackoffConfig, Certificate, ClientOptions, ObjectStore, RetryConfig};

use crate::config::{Objects, S3};

use ask::Asker;
use digest::WithDigest;
pub use lock::{Lock, LockError};
use passing::Passing;
pub use passing::PassingError;
pub use shared::{Sharing, Unshared};
pub(crate) use versions::Version;
use versions::Versions;

/// Until a connection stands.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Until a whole object is there: the largest has some ten kilobytes.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
/// How often a request that failed in passing is sent again, and for how long: the next head comes
/// within seconds and does the same.
const RETRIES_MAX: usize = 3;
const RETRY_FOR: Duration = Duration::from_secs(15);

/// Object storage cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A file of the configuration cannot be read.
    #[error("objects.s3.{key}")]
    File {
        /// The configuration's key.
        key: &'static str,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file with credentials that others can read.
    #[error("objects.s3.credentials_file is readable by others")]
    Exposed,
    /// The credentials' file holds none.
    #[error("objects.s3.credentials_file holds no credentials")]
    Credentials,
    /// The directory or the bucket's address cannot be used.
    #[error("objects")]
    Store(#[from] object_store::Error),
    /// No TLS client can be made.
    #[error("objects.s3.ca_file")]
    Tls(#[from] reqwest::Error),
}

/// What was opened: a place for each kind of thing, by how long it must stay; all closed until
/// [`Opened::sharing`] knows that the other nodes use them too.
pub struct Opened {
    /// Whether they do.
    pub sharing: Sharing,
    /// Heads and tiles of audit logs: years.
    pub audit: Kept,
    /// The register of the erased: as long as there may be a backup with them in it.
    pub erasures: Kept,
    /// Copies of records: seven days, and not longer.
    pub copies: Copies,
}

/// A place whose objects must stay, where the configuration says so.
#[derive(Clone)]
pub struct Kept {
    /// Where objects go.
    pub store: Arc<dyn ObjectStore>,
    /// What must be true of the bucket.
    pub lock: Option<Lock>,
    versions: Option<Versions>,
}

impl From<Arc<dyn ObjectStore>> for Kept {
    /// A place that keeps what nobody removes.
    fn from(store: Arc<dyn ObjectStore>) -> Self {
        Self {
            store,
            lock: None,
            versions: None,
        }
    }
}

impl Kept {
    /// Names in a folder. Where objects are locked, also those that somebody hid.
    ///
    /// # Errors
    /// When the storage fails, or gives only a part.
    pub(crate) async fn names(&self, folder: &str) -> Result<Vec<Version>, object_store::Error> {
        if let Some(versions) = self.versions.as_ref().filter(|_| self.lock.is_some()) {
            let found = versions.list(&format!("{folder}/")).await;
            return found.map_err(|source| object_store::Error::Generic {
                store: "S3",
                source: Box::new(source),
            });
        }
        let folder = object_store::path::Path::from(folder);
        let found = self.store.list(Some(&folder)).map_ok(|found| Version {
            name: found.location.to_string(),
            hides: false,
        });
        found.try_collect().await
    }
}

/// Where copies of records are.
#[derive(Clone)]
pub struct Copies {
    /// Where objects go.
    pub store: Arc<dyn ObjectStore>,
    passing: Option<Passing>,
}

impl Copies {
    /// Whether what is removed there is gone.
    ///
    /// # Errors
    /// [`PassingError`].
    pub async fn check(&self) -> Result<(), PassingError> {
        match &self.passing {
            Some(passing) => passing.check().await,
            None => Ok(()),
        }
    }
}

/// Opens what the configuration names; nothing is sent yet.
///
/// # Errors
/// [`OpenError`].
pub fn open(config: &Objects, default_dir: &Path) -> Result<Opened, OpenError> {
    let Some(s3) = &config.s3 else {
        let store = local(config.dir.as_deref().unwrap_or(default_dir))?;
        let copies = Copies {
            store: store.clone(),
            passing: None,
        };
        return Ok(Opened::guarded(store.clone().into(), store.into(), copies));
    };
    let audit = Bucket::open(s3, &s3.bucket)?;
    let another = |name: &Option<String>| match name {
        Some(name) => Bucket::open(s3, name),
        None => Ok(audit.clone()),
    };
    let (erasures, copies) = (another(&s3.erasures_bucket)?, another(&s3.copies_bucket)?);
    let copies = Copies {
        passing: Some(Passing {
            asker: copies.asker,
            is_own: s3.copies_bucket.is_some(),
        }),
        store: copies.store,
    };
    Ok(Opened::guarded(
        audit.kept(s3.lock_days),
        erasures.kept(s3.erasures_days()),
        copies,
    ))
}

impl Opened {
    /// The mark of what is shared lies with the audit log: that stays, and there is always a place for it.
    fn guarded(audit: Kept, erasures: Kept, copies: Copies) -> Self {
        let sharing = Sharing::of(audit.store.clone());
        let behind = |place: Kept| Kept {
            store: sharing.guard(place.store),
            ..place
        };
        Self {
            audit: behind(audit),
            erasures: behind(erasures),
            copies: Copies {
                store: sharing.guard(copies.store),
                ..copies
            },
            sharing,
        }
    }
}

/// A directory, which is made if need be.
pub(crate) fn local(dir: &Path) -> Result<Arc<dyn ObjectStore>, object_store::Error> {
    std::fs::create_dir_all(dir).map_err(|source| object_store::Error::Generic {
        store: "local",
        source: Box::new(source),
    })?;
    Ok(Arc::new(LocalFileSystem::new_with_prefix(dir)?))
}

/// A bucket, and who asks about it.
#[derive(Clone)]
struct Bucket {
    store: Arc<dyn ObjectStore>,
    asker: Asker,
}

impl Bucket {
    fn open(config: &S3, name: &str) -> Result<Self, OpenError> {
        let (store, url, roots) = bucket(config, name)?;
        let asker = Asker::new(&store, &config.region, &url, roots.as_deref())?;
        Ok(Self {
            store: Arc::new(store),
            asker,
        })
    }

    fn kept(self, days: Option<u32>) -> Kept {
        Kept {
            store: self.store,
            lock: days.map(|days| Lock::new(self.asker.clone(), days)),
            versions: Some(Versions(self.asker)),
        }
    }
}

/// The client, the bucket's URL, and what signs its certificate where the system does not know.
type Client = (AmazonS3, String, Option<Vec<u8>>);

fn bucket(config: &S3, name: &str) -> Result<Client, OpenError> {
    // Harmless if the process has chosen already: there is one provider.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let (endpoint, url) = address(config, name);
    let mut client = ClientOptions::new()
        .with_connect_timeout(CONNECT_TIMEOUT)
        .with_timeout(ANSWER_TIMEOUT)
        // The configuration's rules allow it on loopback only.
        .with_allow_http(endpoint.starts_with("http://"));
    let read = |key: &'static str, path: &Path| {
        std::fs::read(path).map_err(|source| OpenError::File { key, source })
    };
    let roots = config
        .ca_file
        .as_ref()
        .map(|path| read("ca_file", path))
        .transpose()?;
    if let Some(pem) = &roots {
        client = client.with_root_certificate(Certificate::from_pem(pem)?);
    }
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(name)
        .with_region(&config.region)
        .with_endpoint(endpoint)
        .with_virtual_hosted_style_request(!path_style(config))
        .with_checksum_algorithm(Checksum::SHA256)
        .with_http_connector(WithDigest)
        .with_retry(RetryConfig {
            max_retries: RETRIES_MAX,
            retry_timeout: RETRY_FOR,
            backoff: BackoffConfig::default(),
        })
        .with_client_options(client);
    let keys = match &config.credentials_file {
        Some(path) => {
            let about = std::fs::metadata(path).map_err(|source| OpenError::File {
                key: "credentials_file",
                source,
            })?;
            if about.permissions().mode() & 0o077 != 0 {
                return Err(OpenError::Exposed);
            }
            let text = String::from_utf8(read("credentials_file", path)?);
            let found = text.ok().and_then(|text| Keys::parse(&text));
            Some(found.ok_or(OpenError::Credentials)?)
        }
        None => Keys::from_environment(),
    };
    // Without any the machine's own role is asked for (EC2, ECS).
    if let Some(keys) = keys {
        builder = builder
            .with_access_key_id(keys.id)
            .with_secret_access_key(keys.secret);
        if let Some(token) = keys.token {
            builder = builder.with_token(token);
        }
    }
    Ok((builder.build()?, url, roots))
}

fn path_style(config: &S3) -> bool {
    config.path_style.unwrap_or(config.endpoint.is_some())
}

/// What the client takes for an endpoint, and the bucket's own URL.
fn address(config: &S3, bucket: &str) -> (String, String) {
    let base = config
        .endpoint
        .clone()
        .unwrap_or_else(|| format!("https://s3.{}.amazonaws.com", config.region));
    let base = base.trim_end_matches('/').to_owned();
    if path_style(config) {
        let url = format!("{base}/{bucket}");
        return (base, url);
    }
    let (scheme, host) = base.split_once("://").unwrap_or(("https", &base));
    let url = format!("{scheme}://{bucket}.{host}");
    (url.clone(), url)
}

/// Who we are to the bucket.
struct Keys {
    id: String,
    secret: String,
    token: Option<String>,
}

impl Keys {
    fn from_environment() -> Option<Self> {
        let get = |name| std::env::var(name).ok();
        Some(Self {
            id: get("AWS_ACCESS_KEY_ID")?,
            secret: get("AWS_SECRET_ACCESS_KEY")?,
            token: get("AWS_SESSION_TOKEN"),
        })
    }

    /// The first profile of a credentials file.
    fn parse(text: &str) -> Option<Self> {
        let get = |wanted: &str| {
            let mut lines = text.lines().filter_map(|line| line.split_once('='));
            let found = lines.find(|(name, _)| name.trim() == wanted);
            found.map(|(_, value)| value.trim().to_owned())
        };
        Some(Self {
            id: get("aws_access_key_id")?,
            secret: get("aws_secret_access_key")?,
            token: get("aws_session_token"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(endpoint: Option<&str>, path_style: Option<bool>) -> S3 {
        S3 {
            bucket: "audit".to_owned(),
            region: "eu-central-1".to_owned(),
            endpoint: endpoint.map(str::to_owned),
            path_style,
            credentials_file: None,
            ca_file: None,
            lock_days: None,
            erasures_bucket: None,
            erasures_lock_days: None,
            copies_bucket: None,
        }
    }

    #[test]
    fn buckets_are_found_where_they_are() {
        let url = |endpoint, style| address(&config(endpoint, style), "audit").1;
        assert_eq!(url(None, None), "https://audit.s3.eu-central-1.amazonaws.com");
        assert_eq!(
            url(None, Some(true)),
            "https://s3.eu-central-1.amazonaws.com/audit"
        );
        assert_eq!(
            url(Some("https://minio.test:9000/"), None),
            "https://minio.test:9000/audit"
        );
        assert_eq!(
            url(Some("https://store.test"), Some(false)),
            "https://audit.store.test"
        );
    }

    #[test]
    fn credentials_are_read_and_missing_ones_noticed() {
        let keys = Keys::parse("[default]\naws_access_key_id = A\naws_secret_access_key=b=c\n").unwrap();
        assert_eq!(
            (keys.id.as_str(), keys.secret.as_str(), keys.token),
            ("A", "b=c", None)
        );
        assert!(Keys::parse("[default]\naws_access_key_id = A\n").is_none());
    }
}
