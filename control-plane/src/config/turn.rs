//! `[turn]`: relays that stand by themselves (`medmesh-turn`), and which participants they are for.

use std::path::PathBuf;

use medmesh_base::Region;
use serde::Deserialize;

use super::check::Broken;
use crate::relays::TurnUrl;

/// Relays a control node asks after every few seconds; a fleet has a few in each region.
const RELAYS_MAX: usize = 64;
/// UDP, TCP and TLS, over each address family.
const URLS_MAX: usize = 6;
/// Longest name: it is in every metric of the relay.
const NAME_MAX: usize = 32;
/// How seldom a relay may be asked: whatever dies is handed out for that long.
const PROBE_SECONDS_MAX: u64 = 60;

/// Relays that are no part of an edge.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Turn {
    /// `[[turn.external]]`
    pub external: Vec<ExternalRelay>,
    /// How often each relay is asked whether it serves.
    pub probe_seconds: u64,
}

impl Default for Turn {
    fn default() -> Self {
        Self {
            external: Vec::new(),
            // A visit that begins right after a relay died still has the relays of its edges.
            probe_seconds: 5,
        }
    }
}

/// A relay that browsers are sent to beside those of their edges.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExternalRelay {
    /// What it is called in metrics and logs.
    pub name: String,
    /// Where it stands: a visit that may run in some regions only gets no relay elsewhere.
    pub region: Region,
    /// Regions of edges whose participants it is for; its own when absent.
    #[serde(default)]
    pub serves: Vec<Region>,
    /// As browsers take them (RFC 7065): `turn:host:3478?transport=udp`,
    /// `turns:host:443?transport=tcp`.
    pub urls: Vec<String>,
    /// The relay's own secrets file, or a copy; looked at again before each probe.
    pub secrets_file: PathBuf,
    /// Where this node reaches it, if not at `urls`; then these say whether it is handed out.
    #[serde(default)]
    pub probe_urls: Vec<String>,
    /// An authority the system does not know, PEM, for `turns:`.
    pub ca_file: Option<PathBuf>,
}

impl ExternalRelay {
    /// Whether it is for participants of edges in this region.
    #[must_use]
    pub fn is_for(&self, region: &Region) -> bool {
        if self.serves.is_empty() {
            self.region == *region
        } else {
            self.serves.contains(region)
        }
    }
}

impl Turn {
    pub(super) fn rules(&self, broken: &mut Vec<Broken>) {
        if !(1..=PROBE_SECONDS_MAX).contains(&self.probe_seconds) {
            let why = format!("must be 1 to {PROBE_SECONDS_MAX}");
            broken.push(("turn.probe_seconds".into(), why));
        }
        if self.external.len() > RELAYS_MAX {
            broken.push(("turn.external".into(), format!("must be at most {RELAYS_MAX}")));
        }
        for (index, relay) in self.external.iter().enumerate() {
            let key = format!("turn.external[{index}]");
            relay.rules(&key, broken);
            if self.external[..index]
                .iter()
                .any(|other| other.name == relay.name)
            {
                let why = format!("{:?} is listed twice", relay.name);
                broken.push((format!("{key}.name"), why));
            }
        }
    }
}

impl ExternalRelay {
    fn rules(&self, key: &str, broken: &mut Vec<Broken>) {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let name = &self.name;
        if name.is_empty() || name.len() > NAME_MAX || !name.bytes().all(plain) {
            let why = format!("must be 1 to {NAME_MAX} of a-z, 0-9 and '-'");
            broken.push((format!("{key}.name"), why));
        }
        if self.urls.is_empty() || self.urls.len() > URLS_MAX {
            broken.push((format!("{key}.urls"), format!("must be 1 to {URLS_MAX}")));
        }
        if self.probe_urls.len() > URLS_MAX {
            broken.push((format!("{key}.probe_urls"), format!("must be at most {URLS_MAX}")));
        }
        for (field, urls) in [("urls", &self.urls), ("probe_urls", &self.probe_urls)] {
            for (index, url) in urls.iter().enumerate() {
                if let Err(why) = url.parse::<TurnUrl>() {
                    broken.push((format!("{key}.{field}[{index}]"), why.to_string()));
                }
            }
        }
    }
}
