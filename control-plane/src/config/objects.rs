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
    /// Another bucket for the register of the erased; this one when absent.
    pub erasures_bucket: Option<String>,
    /// For how many days the bucket with the register must lock (COMPLIANCE): longer than any backup is
    /// kept. `lock_days` when absent and it is the same bucket.
    pub erasures_lock_days: Option<u32>,
    /// Another bucket for the copies of records, which lie there for seven days; it must neither lock nor
    /// keep older versions. This one when absent, which it cannot be where this one locks.
    pub copies_bucket: Option<String>,
}

impl S3 {
    /// For how long what is in the register must stay, where it must.
    pub(crate) fn erasures_days(&self) -> Option<u32> {
        let shared = self.lock_days.filter(|_| self.erasures_bucket.is_none());
        self.erasures_lock_days.max(shared)
    }

    fn lock_rules(&self, broken: &mut Vec<Broken>) {
        for (key, days) in [
            ("lock_days", self.lock_days),
            ("erasures_lock_days", self.erasures_lock_days),
        ] {
            if days.is_some_and(|days| !(1..=LOCK_DAYS_MAX).contains(&days)) {
                let why = format!("must be 1 to {LOCK_DAYS_MAX}");
                broken.push((format!("objects.s3.{key}"), why));
            }
        }
        if self.erasures_bucket.as_ref() == Some(&self.bucket) {
            let why = "must be another bucket; without it the register is in objects.s3.bucket";
            broken.push(("objects.s3.erasures_bucket".into(), why.into()));
        }
        let (own, erasures) = (Some(&self.bucket), self.erasures_bucket.as_ref());
        let copies = self.copies_bucket.as_ref();
        if copies.is_some() && (copies == own || copies == erasures) {
            let why = "must be a bucket for copies of records alone";
            broken.push(("objects.s3.copies_bucket".into(), why.into()));
        }
        let locks = self.lock_days.is_some() || (erasures.is_none() && self.erasures_lock_days.is_some());
        if locks && copies.is_none() {
            let why = "must name another bucket, without a lock: copies of records go after seven days";
            broken.push(("objects.s3.copies_bucket".into(), why.into()));
        }
    }
}

/// What a bucket may be called, as far as we care.
fn is_bucket(name: &str) -> bool {
    (3..=63).contains(&name.len()) && is_name(name, b"-.")
}

fn is_name(name: &str, more: &[u8]) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || more.contains(&b);
    !name.is_empty() && name.bytes().all(plain)
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
        for (key, name) in [
            ("bucket", Some(&s3.bucket)),
            ("erasures_bucket", s3.erasures_bucket.as_ref()),
            ("copies_bucket", s3.copies_bucket.as_ref()),
        ] {
            if name.is_some_and(|name| !is_bucket(name)) {
                let why = "must be the name of a bucket: 3 to 63 of a-z, 0-9, '-' and '.'";
                broken.push((format!("objects.s3.{key}"), why.into()));
            }
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
        s3.lock_rules(broken);
    }
}
