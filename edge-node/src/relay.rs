//! The embedded TURN relay: secrets follow the settings, and the only peers it reaches are
//! this edge's own media sockets.

use std::net::SocketAddr;
use std::sync::Arc;

use medmesh_base::drain::Drain;
use medmesh_turn::{
    PeerPolicy, PeerRule, Relay, RelayAddress, RelayConfig, RelayError, RelayHandle, Secret, Secrets,
};
use prometheus::Registry;
use tokio::sync::watch;

use crate::config::Config;
use crate::settings::Settings;

/// Starts the relay if it is enabled.
pub(crate) fn spawn(
    config: &Config,
    media: &[SocketAddr],
    settings: &watch::Receiver<Arc<Settings>>,
    registry: &Registry,
) -> Result<Option<RelayHandle>, RelayError> {
    let (true, Some(listen)) = (config.turn.enabled, config.turn.listen) else {
        return Ok(None);
    };
    let bind = config.media.bind.unwrap_or(config.media.address);
    let relay = RelayConfig {
        listen: vec![listen],
        relay: vec![RelayAddress {
            bind,
            advertise: config.media.address,
        }],
        ports: config.turn.port_range.0..=config.turn.port_range.1,
        workers: usize::from(config.media.shard_count()),
        ..RelayConfig::default()
    };
    let rules = media
        .iter()
        .map(|address| PeerRule::ports(address.ip(), address.port()..=address.port()));
    let policy = PeerPolicy::allow_list(rules.collect());
    Relay::spawn(relay, secrets(&settings.borrow()), policy, registry).map(Some)
}

/// Keeps the relay's secrets those of the settings.
pub(crate) async fn follow(relay: RelayHandle, mut settings: watch::Receiver<Arc<Settings>>, drain: Drain) {
    loop {
        tokio::select! {
            () = drain.stopping() => return,
            changed = settings.changed() => {
                if changed.is_err() {
                    return;
                }
                let now = settings.borrow_and_update().clone();
                relay.set_secrets(secrets(&now));
            }
        }
    }
}

fn secrets(settings: &Settings) -> Secrets {
    let mut newest_first = settings
        .turn_secrets
        .iter()
        .map(|secret| Secret::new(secret.epoch, &secret.text));
    match newest_first.next() {
        Some(current) => Secrets::new(current, newest_first.next()),
        None => Secrets::none(),
    }
}
