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
    let rules = media
        .iter()
        .map(|address| PeerRule::ports(address.ip(), address.port()..=address.port()));
    let policy = PeerPolicy::allow_list(rules.collect());
    Relay::spawn(relay, secrets(&settings.borrow()), policy, registry).map(Some)
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
