//! Relays that stand by themselves: which of them serve just now, and credentials for those.
//!
//! The control plane hands out the ICE servers of a visit and decides where its media may pass, so what
//! relays there are beside those of the edges is its to know; an edge makes no credentials, and a
//! relay apart is no edge's. Each node asks each relay every few seconds as a browser would: for an
//! allocation, over each of its URLs. That is telemetry: it stays in this node's memory, is back seconds
//! after a start, and is never agreed on.
//!
//! Secrets never leave for Raft or another node: each node has the relay's secrets file, looks at it
//! before each probe, and makes credentials under the newest epoch that the relay itself was seen to
//! know. So neither end of a rotation has to come first.

mod ask;
mod choice;
mod metrics;
#[cfg(test)]
mod tests;
mod url;

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use futures::future::join_all;
use medmesh_base::drain::Drain;
use medmesh_base::{ControlId, ParticipantId, Region};
use medmesh_turn::probe::Outcome;
use medmesh_turn::secrets_file::{SecretsFile, SecretsFileError};
use medmesh_turn::{Secret, Secrets};
use medmesh_vault::turn::TurnCredentials;
use parking_lot::Mutex;
use prometheus::Registry;
use time::OffsetDateTime;
use tokio_rustls::TlsConnector;

use crate::config::{ExternalRelay, Turn};
use ask::{AskError, Over};
use metrics::{RelayMetrics, Result as Counted};

pub use ask::TrustError;
pub use url::{TurnUrl, TurnUrlError};

/// How long the credentials of a probe are good: clocks may differ by minutes before it matters to
/// anybody in a visit.
const PROBE_LIFE: time::Duration = time::Duration::minutes(15);

/// A relay as a browser is told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handed {
    /// Those of its URLs that serve.
    pub urls: Vec<String>,
    /// What it knows the participant by.
    pub turn: TurnCredentials,
}

/// A relay of the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RelaysError {
    /// Its secrets.
    #[error("turn.external[{0}].secrets_file")]
    Secrets(usize, #[source] SecretsFileError),
    /// The authority of its certificate.
    #[error("turn.external[{0}].ca_file")]
    Trust(usize, #[source] TrustError),
}

/// The relays beside the edges'. Cheap to clone.
#[derive(Clone)]
pub struct Relays(Arc<Inner>);

struct Inner {
    relays: Vec<Arc<Relay>>,
    every: Duration,
    /// In whose name the relays are asked.
    name: String,
    metrics: RelayMetrics,
}

struct Relay {
    config: ExternalRelay,
    urls: Vec<TurnUrl>,
    probe_urls: Vec<TurnUrl>,
    /// Where a URL needs it.
    connector: Option<TlsConnector>,
    secrets: Mutex<(SecretsFile, Secrets)>,
    /// What the last probes have shown: nothing, while it serves nobody.
    serving: ArcSwapOption<Serving>,
}

/// A relay that serves.
struct Serving {
    urls: Vec<String>,
    secret: Secret,
}

impl Relays {
    /// Reads the secrets of every relay.
    ///
    /// # Errors
    /// When a file cannot be used: which, which line, and why.
    ///
    /// # Panics
    /// When registered twice in one registry.
    pub fn open(turn: &Turn, node: ControlId, registry: &Registry) -> Result<Self, RelaysError> {
        let opened = turn.external.iter().enumerate();
        let relays: Result<Vec<_>, _> = opened
            .map(|(index, config)| Relay::open(index, config).map(Arc::new))
            .collect();
        Ok(Self(Arc::new(Inner {
            relays: relays?,
            every: Duration::from_secs(turn.probe_seconds),
            name: format!("probe-control-{node}"),
            metrics: RelayMetrics::new(registry),
        })))
    }

    /// Asks every relay again and again until the drain stops.
    pub fn watch(&self, drain: &Drain) {
        for relay in &self.0.relays {
            let (inner, relay, stop) = (self.0.clone(), relay.clone(), drain.clone());
            drain.spawn(async move {
                loop {
                    tokio::select! {
                        () = stop.stopping() => return,
                        () = inner.probe(&relay) => {}
                    }
                    tokio::select! {
                        () = stop.stopping() => return,
                        () = tokio::time::sleep(inner.every) => {}
                    }
                }
            });
        }
    }

    /// Relays for a participant whose edges stand in these regions, best first, with credentials until
    /// `until`. `residency` are the regions the media may pass; empty for any.
    #[must_use]
    pub fn hand_out(
        &self,
        edges: &[&Region],
        residency: &[Region],
        participant: ParticipantId,
        until: OffsetDateTime,
    ) -> Vec<Handed> {
        let username = format!("{}:{participant}", until.unix_timestamp());
        let serving = self.0.relays.iter().filter_map(|relay| {
            let now = relay.serving.load_full()?;
            Some((&relay.config, now))
        });
        let chosen = choice::choose(serving, edges, residency, participant);
        let handed = chosen.into_iter().map(|(config, now)| {
            self.0.metrics.handed_out(&config.name);
            Handed {
                urls: now.urls.clone(),
                turn: TurnCredentials {
                    password: now.secret.password(&username),
                    username: username.clone(),
                },
            }
        });
        handed.collect()
    }
}

/// What `--check` says about files that are there.
pub(crate) fn faults(turn: &Turn) -> Vec<String> {
    let fault = |(index, config): (usize, &ExternalRelay)| {
        let error = Relay::open(index, config).err()?;
        let causes = std::iter::successors(std::error::Error::source(&error), |cause| cause.source());
        Some(causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}")))
    };
    turn.external.iter().enumerate().filter_map(fault).collect()
}

impl Relay {
    fn open(index: usize, config: &ExternalRelay) -> Result<Self, RelaysError> {
        let parsed = |urls: &[String]| -> Vec<TurnUrl> {
            urls.iter()
                .map(|url| url.parse().expect("the configuration was checked"))
                .collect()
        };
        let (urls, probe_urls) = (parsed(&config.urls), parsed(&config.probe_urls));
        let needs_tls = urls.iter().chain(&probe_urls).any(|url| url.over == Over::Tls);
        let connector = needs_tls
            .then(|| ask::tls(config.ca_file.as_deref()))
            .transpose()
            .map_err(|error| RelaysError::Trust(index, error))?;
        let secrets =
            SecretsFile::open(&config.secrets_file).map_err(|error| RelaysError::Secrets(index, error))?;
        Ok(Self {
            config: config.clone(),
            urls,
            probe_urls,
            connector,
            secrets: Mutex::new(secrets),
            serving: ArcSwapOption::empty(),
        })
    }

    /// The secrets as they are now; a file that cannot be used changes nothing.
    fn look(&self) -> Secrets {
        let name = &self.config.name;
        let mut guard = self.secrets.lock();
        let (file, secrets) = &mut *guard;
        match file.look() {
            Ok(Some(newer)) => {
                tracing::info!(relay = name, epochs = ?newer.epochs(), "relay secrets reloaded");
                *secrets = newer;
            }
            Ok(None) => {}
            Err(error) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::error!(relay = name, %error, cause, "relay secrets not reloaded; the old ones stay");
            }
        }
        secrets.clone()
    }

    /// What follows from the epochs that were taken at each of the URLs that were asked; `None`: not served.
    fn serving(&self, secrets: &Secrets, epochs: &[Option<u64>]) -> Option<Serving> {
        // Credentials are for all URLs: made with what all of them know.
        let oldest = epochs.iter().flatten().min()?;
        let secret = secrets.iter().find(|secret| secret.epoch() == *oldest)?;
        let urls = self.urls.iter().zip(epochs);
        let urls = if self.probe_urls.is_empty() {
            urls.filter(|(_, epoch)| epoch.is_some())
                .map(|(url, _)| url.to_string())
                .collect()
        } else {
            self.urls.iter().map(TurnUrl::to_string).collect()
        };
        Some(Serving {
            urls,
            secret: secret.clone(),
        })
    }
}

impl Inner {
    /// Asks a relay over all its URLs at once.
    async fn probe(&self, relay: &Arc<Relay>) {
        let looking = relay.clone();
        let Ok(secrets) = tokio::task::spawn_blocking(move || looking.look()).await else {
            return;
        };
        let until = OffsetDateTime::now_utc() + PROBE_LIFE;
        let username = format!("{}:{}", until.unix_timestamp(), self.name);
        let urls = if relay.probe_urls.is_empty() {
            &relay.urls
        } else {
            &relay.probe_urls
        };
        let asked = urls.iter().map(|url| self.ask(relay, url, &secrets, &username));
        let epochs = join_all(asked).await;
        let serving = relay.serving(&secrets, &epochs);
        self.metrics
            .secret_epoch(&relay.config.name, serving.as_ref().map(|now| now.secret.epoch()));
        let (name, serves) = (&relay.config.name, serving.is_some());
        let served = relay.serving.swap(serving.map(Arc::new)).is_some();
        match (served, serves) {
            (false, true) => tracing::info!(relay = name, "relay serves"),
            (true, false) => tracing::warn!(relay = name, "relay does not serve; nobody is sent there"),
            _ => {}
        }
    }

    /// The epoch of the credentials the relay takes there; `None`: it serves nobody.
    async fn ask(&self, relay: &Relay, url: &TurnUrl, secrets: &Secrets, username: &str) -> Option<u64> {
        let begun = Instant::now();
        let asked = ask::ask(url, relay.connector.as_ref(), secrets, username).await;
        let (name, text) = (&relay.config.name, url.to_string());
        let counted = match &asked {
            Ok(Outcome::Serves { .. }) => Counted::Serves,
            Ok(Outcome::Stranger) => Counted::Credentials,
            Ok(Outcome::Refuses(_)) => Counted::Refused,
            Ok(Outcome::Nonsense) => Counted::Nonsense,
            Err(AskError::Silent) => Counted::Silent,
            Err(AskError::Unreachable(_)) => Counted::Unreachable,
        };
        self.metrics.asked(name, &text, counted, begun.elapsed());
        match asked {
            Ok(Outcome::Serves { epoch }) => return Some(epoch),
            Ok(outcome) => tracing::debug!(relay = name, url = text, ?outcome, "relay does not serve"),
            Err(error) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::debug!(relay = name, url = text, %error, cause, "relay does not serve");
            }
        }
        None
    }
}
