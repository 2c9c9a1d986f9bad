//! `[objects]`: where audit tiles and heads are published.

use std::path::PathBuf;

use serde::Deserialize;

use super::check::Broken;
use super::vault::{URL_RULE, is_safe_url};

/// Longest retention a bucket is asked for, days: a century.
const LOCK_DAYS_MAX: u32 = 36_500;

/// Object storage: a directory, or a bucket.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Objects {
    /// A directory all control nodes see; `objects` in the data directory when absent, which is
    /// right for a node alone.
    pub dir: Option<PathBuf>,
    /// A bucket instead.
    pub s3: Option<S3>,
}

/// A bucket of anything that speaks S3.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct S3 {
    /// Its name.
    pub bucket: String,
    /// Its region, part of every signature.
    pub region: String,
    /// Another address than the region's own: MinIO, Ceph, a VPC endpoint.
    pub endpoint: Option<String>,
    /// Whether the bucket is the first part of the path rather than of the host's name; true where
    /// an endpoint is named.
    pub path_style: Option<bool>,
    /// In the form of `~/.aws/credentials`; the usual variables when absent, and then the machine's
    /// own role.
    pub credentials_file: Option<PathBuf>,
    /// An authority the system does not know, PEM.
    pub ca_file: Option<PathBuf>,
    /// The bucket must lock what is put into it (COMPLIANCE) for at least this many days; nothing is
    /// published where it does not. Six years are 2192.
    pub lock_days: Option<u32>,
}

impl Objects {
    pub(super) fn rules(&self, broken: &mut Vec<Broken>) {
        let Some(s3) = &self.s3 else { return };
        if self.dir.is_some() {
            broken.push((
                "objects".into(),
                "must have one of dir and [objects.s3], not both".into(),
            ));
        }
        let is_name = |name: &str, more: &[u8]| {
            let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || more.contains(&b);
            !name.is_empty() && name.bytes().all(plain)
        };
        if !(3..=63).contains(&s3.bucket.len()) || !is_name(&s3.bucket, b"-.") {
            let why = "must be the name of a bucket: 3 to 63 of a-z, 0-9, '-' and '.'";
            broken.push(("objects.s3.bucket".into(), why.into()));
        }
        if !is_name(&s3.region, b"-") {
            broken.push(("objects.s3.region".into(), "must be a region's name".into()));
        }
        if s3
            .endpoint
            .as_ref()
            .is_some_and(|endpoint| !is_safe_url(endpoint))
        {
            broken.push(("objects.s3.endpoint".into(), URL_RULE.into()));
        }
        if s3
            .lock_days
            .is_some_and(|days| !(1..=LOCK_DAYS_MAX).contains(&days))
        {
            let why = format!("must be 1 to {LOCK_DAYS_MAX}");
            broken.push(("objects.s3.lock_days".into(), why));
        }
    }
}
