//! Who may be reached: what the configuration says, and what its peers file adds.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use medmesh_turn::peers_file::{PeerRules, PeersFile, PeersFileError};
use medmesh_turn::{PeerPolicy, RelayHandle};

use super::config::Config;
use super::metrics::{Kept, ProcessMetrics};

/// The rules in force, and where they come from.
pub(crate) struct Peers {
    /// The configuration's file.
    config: PathBuf,
    /// What it says by itself.
    base: PeerPolicy,
    file: Option<(PeersFile, PeerRules)>,
}

impl Peers {
    /// Reads the peers file, if the configuration names one.
    pub(crate) fn open(path: &Path, config: &Config) -> anyhow::Result<Self> {
        let base = config.policy()?;
        let file = config.peers.file.as_deref().map(PeersFile::open).transpose();
        Ok(Self {
            config: path.to_owned(),
            base,
            file: file.context("peers.file")?,
        })
    }

    /// What follows from both.
    pub(crate) fn policy(&self) -> PeerPolicy {
        let mut policy = self.base.clone();
        if let Some((_, rules)) = &self.file {
            rules.add_to(&mut policy);
        }
        policy
    }

    /// Takes everything again, the configuration too: edges come and go. A file that is not right changes
    /// nothing; what else the configuration says counts from the next start on.
    pub(crate) fn reload(&mut self, relay: &RelayHandle, metrics: &ProcessMetrics) {
        let read =
            |config: Config| Self::open(&self.config, &config).map_err(|error| config.source.locate(&error));
        match Config::load(&self.config).and_then(read) {
            Ok(peers) => {
                *self = peers;
                self.apply(relay, metrics);
            }
            Err(error) => refused(&error, metrics),
        }
    }

    /// Takes the peers file again if it says something else.
    pub(crate) fn look(&mut self, relay: &RelayHandle, metrics: &ProcessMetrics) {
        let looked = self.file.as_mut().map_or(Ok(false), |(file, rules)| {
            let news = file.look()?;
            let is_news = news.is_some();
            *rules = news.unwrap_or_else(|| std::mem::take(rules));
            Ok::<bool, PeersFileError>(is_news)
        });
        match looked {
            Ok(true) => self.apply(relay, metrics),
            Ok(false) => {}
            Err(error) => refused(&error.into(), metrics),
        }
    }

    fn apply(&self, relay: &RelayHandle, metrics: &ProcessMetrics) {
        let policy = self.policy();
        metrics.peer_rules(&policy);
        tracing::info!(
            allow = policy.allow.len(),
            deny = policy.deny.len(),
            "reloaded peers"
        );
        relay.set_peer_policy(policy);
    }
}

fn refused(error: &anyhow::Error, metrics: &ProcessMetrics) {
    metrics.kept(Kept::Peers);
    tracing::error!(
        error = format!("{error:#}"),
        "cannot reload the peers; the old ones stay"
    );
}
