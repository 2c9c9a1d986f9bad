//! `[audit]`: how often heads are published, and who outside signs them too.

use std::path::PathBuf;

use medmesh_tlog::note::Verifier;
use serde::Deserialize;

use super::check::Broken;
use super::vault::{URL_RULE, is_safe_url};

/// Longest time between heads, seconds: for so long a leaf may be covered by the database alone.
const HEAD_SECONDS_MAX: u32 = 60;
/// Longest time between questions to the outside witness, seconds.
const WITNESS_SECONDS_MAX: u32 = 3_600;

/// The audit log.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Audit {
    /// Between heads of a log that grows. Where a bucket locks objects nothing published ever goes,
    /// and a clinic that is busy all day leaves a gigabyte there each day with 1, a hundredth with 60.
    pub head_seconds: u32,
    /// Somebody outside who signs heads too.
    pub witness: Option<OutsideWitness>,
}

impl Default for Audit {
    fn default() -> Self {
        Self {
            head_seconds: 1,
            witness: None,
        }
    }
}

/// An outside witness (C2SP tlog-witness). It has to be told each log's key.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutsideWitness {
    /// Its submission prefix.
    pub url: String,
    /// Its verifier key, as it publishes it (`NAME+ID+KEY`, `cosignature/v1`).
    pub key: String,
    /// Between questions.
    #[serde(default = "every_seconds_default")]
    pub every_seconds: u32,
    /// An authority the system does not know, PEM.
    pub ca_file: Option<PathBuf>,
}

/// Public witnesses take a request per log every few seconds.
const fn every_seconds_default() -> u32 {
    10
}

impl OutsideWitness {
    /// Its key, if it is a witness's.
    #[must_use]
    pub fn verifier(&self) -> Option<Verifier> {
        self.key.parse().ok().filter(Verifier::is_witness)
    }
}

impl Audit {
    pub(super) fn rules(&self, broken: &mut Vec<Broken>) {
        let mut within = |key: &str, value: u32, max: u32| {
            if !(1..=max).contains(&value) {
                broken.push((key.to_owned(), format!("must be 1 to {max}")));
            }
        };
        within("audit.head_seconds", self.head_seconds, HEAD_SECONDS_MAX);
        let Some(witness) = &self.witness else { return };
        within(
            "audit.witness.every_seconds",
            witness.every_seconds,
            WITNESS_SECONDS_MAX,
        );
        if !is_safe_url(&witness.url) {
            broken.push(("audit.witness.url".into(), URL_RULE.into()));
        }
        if witness.verifier().is_none() {
            let why = "must be a witness's verifier key, NAME+ID+KEY of cosignature/v1";
            broken.push(("audit.witness.key".into(), why.into()));
        }
    }
}
