//! The process around the relay: files, signals, the admin listener.

pub(crate) mod admin;
pub(crate) mod config;
pub(crate) mod metrics;
pub(crate) mod peers;
pub(crate) mod secrets;

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use medmesh_base::drain::{Drain, terminate_signal};
use medmesh_turn::secrets_file::SecretsFile;
use medmesh_turn::{Relay, RelayConfig, RelayHandle, Secrets};
use tokio::signal::unix::{SignalKind, signal};

use config::Config;
use metrics::{Kept, ProcessMetrics};
use peers::Peers;

/// How often a draining process looks whether it is empty.
const DRAIN_LOOK: Duration = Duration::from_millis(100);
/// How long connections of scrapers may take to end.
const ADMIN_PATIENCE: Duration = Duration::from_secs(2);
/// How often the files of secrets and peers are looked at: soon enough for whoever copies them to several
/// machines.
const FILES_LOOK: Duration = Duration::from_secs(10);

/// What is looked at again while the process runs.
pub(crate) struct Files {
    /// The secrets.
    pub(crate) secrets: SecretsFile,
    /// Who may be reached.
    pub(crate) peers: Peers,
}

/// What the relay is told, checked against this machine: the certificate's files, and the
/// files the process may hold, of which it takes as many as it is allowed.
pub(crate) fn prepare(config: &Config) -> anyhow::Result<RelayConfig> {
    let mut relay = config.relay()?;
    relay.validate()?;
    if let Some(files) = &relay.tls {
        files.check().context("turn.certificate")?;
    }
    let files = medmesh_turn::raise_file_limit().context("cannot raise the limit of open files")?;
    config.fit(&mut relay, files)?;
    config.certificate_look()?;
    Ok(relay)
}

/// Runs until SIGTERM or SIGINT, then drains: no new allocations, the old ones live on until
/// they end, the drain time is over, or the signal comes again.
pub(crate) async fn run(
    config: Config,
    mut files: Files,
    relay: RelayConfig,
    secrets: Secrets,
) -> anyhow::Result<()> {
    let registry = prometheus::Registry::new();
    let metrics = ProcessMetrics::new(&registry);
    let policy = files.peers.policy();
    metrics.peer_rules(&policy);
    let relay = Relay::spawn(relay, secrets, policy, &registry)?;
    let drain = Drain::new();
    let is_ready = Arc::new(AtomicBool::new(true));
    admin::spawn(config.admin.listen, registry, is_ready.clone(), &drain).await?;
    tracing::info!(udp = ?relay.listeners(), streams = ?relay.stream_listeners(), "relay is up");

    let mut hangup = signal(SignalKind::hangup()).context("cannot wait for SIGHUP")?;
    let mut terminate = pin!(terminate_signal());
    let mut look = tokio::time::interval(config.certificate_look()?);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut files_look = tokio::time::interval(FILES_LOOK);
    files_look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            signal = &mut terminate => {
                signal.context("cannot wait for SIGTERM")?;
                break;
            }
            _ = hangup.recv() => {
                reload_secrets(&mut files.secrets, &relay, &metrics);
                reload_certificate(&relay, &metrics);
                files.peers.reload(&relay, &metrics);
            }
            _ = files_look.tick() => {
                reload_secrets(&mut files.secrets, &relay, &metrics);
                files.peers.look(&relay, &metrics);
            }
            _ = look.tick() => reload_certificate(&relay, &metrics),
        }
    }
    is_ready.store(false, Ordering::Relaxed);
    empty(&relay, Duration::from_secs(config.turn.drain_s)).await;
    relay.stop();
    drain.finish(ADMIN_PATIENCE).await;
    Ok(())
}

/// Takes the secrets again if their file says something else. One that cannot be read changes nothing.
fn reload_secrets(file: &mut SecretsFile, relay: &RelayHandle, metrics: &ProcessMetrics) {
    match file.look() {
        Ok(Some(secrets)) => {
            tracing::info!(epochs = ?secrets.epochs(), "reloaded secrets");
            relay.set_secrets(secrets);
        }
        Ok(None) => {}
        Err(error) => {
            metrics.kept(Kept::Secrets);
            let error = anyhow::Error::from(error);
            tracing::error!(
                error = format!("{error:#}"),
                "cannot reload secrets; the old ones stay"
            );
        }
    }
}

/// Takes the certificate again if its files were written. Half-written files change nothing.
fn reload_certificate(relay: &RelayHandle, metrics: &ProcessMetrics) {
    match relay.reload_certificate() {
        Ok(true) => tracing::info!("reloaded the certificate"),
        Ok(false) => {}
        Err(error) => {
            metrics.kept(Kept::Certificate);
            tracing::error!(%error, "cannot reload the certificate; the old one stays");
        }
    }
}

async fn empty(relay: &RelayHandle, patience: Duration) {
    relay.drain();
    tracing::info!(allocations = relay.stats().allocations, "draining");
    let emptied = async {
        while relay.stats().allocations > 0 {
            tokio::time::sleep(DRAIN_LOOK).await;
        }
    };
    tokio::select! {
        _ = tokio::time::timeout(patience, emptied) => {}
        _ = terminate_signal() => {}
    }
    tracing::info!(allocations = relay.stats().allocations, "stopping");
}
