//! The process around the relay: files, signals, the admin listener.

pub(crate) mod admin;
pub(crate) mod config;
pub(crate) mod secrets;

use std::path::PathBuf;
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

/// How often a draining process looks whether it is empty.
const DRAIN_LOOK: Duration = Duration::from_millis(100);
/// How long connections of scrapers may take to end.
const ADMIN_PATIENCE: Duration = Duration::from_secs(2);
/// How often the secrets file is looked at: soon enough for whoever copies it to several machines.
const SECRETS_LOOK: Duration = Duration::from_secs(10);

/// What is looked at again while the process runs.
pub(crate) struct Files {
    /// The configuration.
    pub(crate) config: PathBuf,
    /// The secrets.
    pub(crate) secrets: SecretsFile,
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
    let relay = Relay::spawn(relay, secrets, config.policy()?, &registry)?;
    let drain = Drain::new();
    let is_ready = Arc::new(AtomicBool::new(true));
    admin::spawn(config.admin.listen, registry, is_ready.clone(), &drain).await?;
    tracing::info!(udp = ?relay.listeners(), streams = ?relay.stream_listeners(), "relay is up");

    let mut hangup = signal(SignalKind::hangup()).context("cannot wait for SIGHUP")?;
    let mut terminate = pin!(terminate_signal());
    let mut look = tokio::time::interval(config.certificate_look()?);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut secrets_look = tokio::time::interval(SECRETS_LOOK);
    secrets_look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            signal = &mut terminate => {
                signal.context("cannot wait for SIGTERM")?;
                break;
            }
            _ = hangup.recv() => {
                reload_secrets(&mut files.secrets, &relay);
                reload_certificate(&relay);
                reload_peers(&files, &relay);
            }
            _ = secrets_look.tick() => reload_secrets(&mut files.secrets, &relay),
            _ = look.tick() => reload_certificate(&relay),
        }
    }
    is_ready.store(false, Ordering::Relaxed);
    empty(&relay, Duration::from_secs(config.turn.drain_s)).await;
    relay.stop();
    drain.finish(ADMIN_PATIENCE).await;
    Ok(())
}

/// Takes the secrets again if their file says something else. One that cannot be read changes nothing.
fn reload_secrets(file: &mut SecretsFile, relay: &RelayHandle) {
    match file.look() {
        Ok(Some(secrets)) => {
            tracing::info!(epochs = ?secrets.epochs(), "reloaded secrets");
            relay.set_secrets(secrets);
        }
        Ok(None) => {}
        Err(error) => {
            let error = anyhow::Error::from(error);
            tracing::error!(
                error = format!("{error:#}"),
                "cannot reload secrets; the old ones stay"
            );
        }
    }
}

/// Takes who may be reached from the configuration again: edges come and go. A file that is not right
/// changes nothing; what else it says counts from the next start on.
fn reload_peers(files: &Files, relay: &RelayHandle) {
    let read = |config: Config| config.policy().map_err(|error| config.source.locate(&error));
    match Config::load(&files.config).and_then(read) {
        Ok(policy) => {
            tracing::info!(
                allow = policy.allow.len(),
                deny = policy.deny.len(),
                "reloaded peers"
            );
            relay.set_peer_policy(policy);
        }
        Err(error) => tracing::error!(
            error = format!("{error:#}"),
            "cannot reload the peers; the old ones stay"
        ),
    }
}

/// Takes the certificate again if its files were written. Half-written files change nothing.
fn reload_certificate(relay: &RelayHandle) {
    match relay.reload_certificate() {
        Ok(true) => tracing::info!("reloaded the certificate"),
        Ok(false) => {}
        Err(error) => tracing::error!(%error, "cannot reload the certificate; the old one stays"),
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
