//! The embedded TURN relay: secrets follow the settings, and the only peers it reaches are
//! this edge's own media sockets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use medmesh_base::drain::Drain;
use medmesh_turn::{
    Limits, PeerPolicy, PeerRule, Relay, RelayAddress, RelayConfig, RelayError, RelayHandle, Secret, Secrets,
    StreamListener, TlsFiles,
};
use prometheus::Registry;
use tokio::sync::watch;

use crate::config::{Config, TurnStreamSection};
use crate::settings::Settings;

/// How often the certificate's files are looked at, as the signalling has it.
const CERTIFICATE_LOOK: Duration = Duration::from_secs(30);

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
    let turn = &config.turn;
    let tcp = turn.tcp.iter().map(|section| listener(section, false));
    let tls = turn.tls.iter().map(|section| listener(section, true));
    let bind = config.media.bind.unwrap_or(config.media.address);
    let relay = RelayConfig {
        listen: vec![listen],
        streams: tcp.chain(tls).collect(),
        tls: turn.tls.as_ref().and_then(|section| certificate(config, section)),
        relay: vec![RelayAddress {
            bind,
            advertise: config.media.address,
        }],
        ports: config.turn.port_range.0..=config.turn.port_range.1,
        workers: usize::from(config.media.shard_count()),
        limits: limits(),
        ..RelayConfig::default()
    };
    Relay::spawn(relay, secrets(&settings.borrow()), peers(media), registry).map(Some)
}

/// The media sockets, each by address and port. Nothing else of this host is in reach, nor is any control
/// node, wherever it stands.
fn peers(media: &[SocketAddr]) -> PeerPolicy {
    let rules = media
        .iter()
        .map(|address| PeerRule::ports(address.ip(), address.port()..=address.port()));
    PeerPolicy::allow_list(rules.collect())
}

/// No more allocations than half the files this process may hold: each is one, and the other half
/// is for connections of clients, the signalling and the links.
fn limits() -> Limits {
    let limits = Limits::default();
    let files = medmesh_turn::file_limit();
    let most = u32::try_from(files / 2).unwrap_or(u32::MAX);
    if most < limits.allocations {
        tracing::warn!(
            allocations = most,
            files,
            "fewer TURN allocations than the default: the limit of open files allows no more"
        );
    }
    Limits {
        allocations: limits.allocations.min(most),
        ..limits
    }
}

fn listener(section: &TurnStreamSection, tls: bool) -> StreamListener {
    let proxies = section.proxies.iter();
    StreamListener {
        proxies: proxies.filter_map(|text| text.parse().ok()).collect(),
        ..StreamListener::new(section.listen, tls)
    }
}

/// The certificate of the TLS listener: its own, or the one browsers know from the signalling.
fn certificate(config: &Config, section: &TurnStreamSection) -> Option<TlsFiles> {
    let own = section.cert_file.as_ref().zip(section.key_file.as_ref());
    let shared = || {
        config
            .signalling
            .cert_file
            .as_ref()
            .zip(config.signalling.key_file.as_ref())
    };
    own.or_else(shared).map(|(cert, key)| TlsFiles {
        cert: cert.clone(),
        key: key.clone(),
    })
}

/// The URLs browsers are handed (RFC 7065), the one that costs least first.
pub(crate) fn urls(config: &Config, relay: &RelayHandle) -> Vec<String> {
    let turn = &config.turn;
    let host = |advertise: &Option<String>, bound: Option<&SocketAddr>| {
        advertise.clone().or_else(|| bound.map(SocketAddr::to_string))
    };
    let mut bound = relay.stream_listeners().iter();
    let udp =
        host(&turn.advertise, relay.listeners().first()).map(|host| format!("turn:{host}?transport=udp"));
    let tcp = turn
        .tcp
        .as_ref()
        .and_then(|section| host(&section.advertise, bound.next()));
    let tls = turn
        .tls
        .as_ref()
        .and_then(|section| host(&section.advertise, bound.next()));
    udp.into_iter()
        .chain(tcp.map(|host| format!("turn:{host}?transport=tcp")))
        .chain(tls.map(|host| format!("turns:{host}?transport=tcp")))
        .collect()
}

/// Keeps the relay's secrets those of the settings, and its certificate that of the files.
pub(crate) async fn follow(relay: RelayHandle, mut settings: watch::Receiver<Arc<Settings>>, drain: Drain) {
    let mut look = tokio::time::interval(CERTIFICATE_LOOK);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = drain.stopping() => return,
            _ = look.tick() => match relay.reload_certificate() {
                Ok(true) => tracing::info!("relay certificate reloaded"),
                Ok(false) => {}
                Err(error) => tracing::warn!(%error, "relay certificate not reloaded"),
            },
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_media_sockets_are_reached_and_nothing_beside_them() {
        let media = ["203.0.113.9:10000", "203.0.113.9:10001", "[2001:db8::9]:10000"];
        let media = media.map(|address| address.parse().unwrap());
        let mut policy = peers(&media);
        // As the relay itself does when it starts.
        policy.own.extend(media.map(|address| address.ip()));
        for address in media {
            assert!(policy.permits(address), "{address}");
        }
        for beside in [
            "203.0.113.9:10002",
            "203.0.113.9:3478",
            "203.0.113.9:4500",
            "[2001:db8::9]:10001",
            "[::ffff:203.0.113.9]:10000",
            "[64:ff9b::203.0.113.9]:10000",
            "127.0.0.1:10000",
            "[::1]:10000",
            "0.0.0.0:10000",
            // A control node and a database, elsewhere.
            "203.0.113.20:4500",
            "10.0.0.7:5432",
        ] {
            assert!(!policy.permits(beside.parse().unwrap()), "{beside}");
        }
    }
}
