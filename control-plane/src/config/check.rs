//! What must be true of the values together.

use std::path::Path;

use http::Uri;
use medmesh_link::{LEAF_LIFE_MAX, LEAF_LIFE_MIN};

use super::Config;
use crate::relays;

/// Longest cluster name: it is a part of a URI in every certificate.
const CLUSTER_NAME_MAX: usize = 32;
/// Most control nodes: a Raft quorum gains nothing from more, and each write waits for half of them.
const CONTROL_NODES_MAX: usize = 7;

/// Key and what is wrong with it.
pub(super) type Broken = (String, String);

impl Config {
    /// Every rule that the values break.
    pub(super) fn broken_rules(&self) -> Vec<Broken> {
        let mut broken = Vec::new();
        self.node_rules(&mut broken);
        self.listener_rules(&mut broken);
        self.portal_rules(&mut broken);
        self.engine_rules(&mut broken);
        self.vault.rules(&mut broken);
        self.limits.rules(&mut broken);
        self.objects.rules(&mut broken);
        self.audit.rules(&mut broken);
        self.turn.rules(&mut broken);
        broken
    }

    fn node_rules(&self, broken: &mut Vec<Broken>) {
        let name = &self.node.cluster;
        let plain = name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if name.is_empty() || name.len() > CLUSTER_NAME_MAX || !plain {
            let why = format!("must be 1 to {CLUSTER_NAME_MAX} of a-z, 0-9 and '-'");
            broken.push(("node.cluster".into(), why));
        }
        if self.node.id.0 == 0 {
            broken.push(("node.id".into(), "must be 1 or more".into()));
        }
        let peers = &self.cluster.peers;
        if peers.len() > CONTROL_NODES_MAX {
            broken.push((
                "cluster.peers".into(),
                format!("must be at most {CONTROL_NODES_MAX}"),
            ));
        }
        if !peers.is_empty() && !peers.iter().any(|peer| peer.id == self.node.id) {
            let why = format!("must include this node ({})", self.node.id);
            broken.push(("cluster.peers".into(), why));
        }
        if self.cluster.join && peers.len() < 2 {
            let why = "joins a cluster that `cluster.peers` does not name";
            broken.push(("cluster.join".into(), why.into()));
        }
        if peers.len() > 1 && self.objects.dir.is_none() && self.objects.s3.is_none() {
            let why = "several nodes need objects.dir or [objects.s3]: storage that all of them see";
            broken.push(("cluster.peers".into(), why.into()));
        }
        if peers.len() > 1 && self.redis.is_none() && !self.limits.per_node {
            let why = "several nodes need [redis]: counters that all of them see; or limits.per_node = true";
            broken.push(("cluster.peers".into(), why.into()));
        }
        for (index, peer) in peers.iter().enumerate() {
            if peers[..index].iter().any(|other| other.id == peer.id) {
                broken.push((
                    format!("cluster.peers[{index}]"),
                    format!("node {} is listed twice", peer.id),
                ));
            }
            if !is_host_port(&peer.link) {
                broken.push((format!("cluster.peers[{index}].link"), "must be host:port".into()));
            }
        }
        let life = self.cluster.certificate_life();
        if !(LEAF_LIFE_MIN..=LEAF_LIFE_MAX).contains(&life) {
            let (min, max) = (LEAF_LIFE_MIN.as_secs(), LEAF_LIFE_MAX.as_secs());
            let why = format!("must be {min} to {max} (a week)");
            broken.push(("cluster.certificate_lifetime_seconds".into(), why));
        }
        if !is_host_port(&self.link.advertise) {
            broken.push(("link.advertise".into(), "must be host:port".into()));
        }
    }

    /// Whether every control node sees what the others count.
    #[must_use]
    pub fn shares_limits(&self) -> bool {
        self.redis.is_some() || self.cluster.peers.len() <= 1
    }

    fn listener_rules(&self, broken: &mut Vec<Broken>) {
        if !self.http.listen.ip().is_loopback() {
            let why = "plain HTTP listens on a loopback address only; use [https] for others";
            broken.push(("http.listen".into(), why.into()));
        }
        if !is_base_url(&self.http.public_url) {
            broken.push((
                "http.public_url".into(),
                "must be http(s)://host[:port] without a path".into(),
            ));
        }
        for (index, origin) in self.http.allowed_origins.iter().enumerate() {
            if !is_base_url(origin) {
                let key = format!("http.allowed_origins[{index}]");
                broken.push((key, "must be http(s)://host[:port] without a path".into()));
            }
        }
    }

    fn portal_rules(&self, broken: &mut Vec<Broken>) {
        let Some(portals) = &self.portals else { return };
        for (index, origin) in portals.connect_origins.iter().enumerate() {
            let plain = origin
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b":/.-*[]".contains(&b));
            if origin.is_empty() || !plain {
                let key = format!("portals.connect_origins[{index}]");
                broken.push((key, "must be an origin like https://*.edge.example.org".into()));
            }
        }
    }

    /// Files that `--check` expects to be there: what an operator provides, not what
    /// the first start makes; and what is wrong with the secrets of relays. Each entry is a fault.
    #[must_use]
    pub fn missing_files(&self) -> Vec<String> {
        let mut wanted: Vec<(&str, &Path)> = vec![
            ("cluster.ca_cert_file", &self.cluster.ca_cert_file),
            ("cluster.ca_key_file", &self.cluster.ca_key_file),
        ];
        if let Some(file) = &self.vault.file {
            wanted.push(("vault.file.key_file", &file.key_file));
            for (key, path) in [
                ("vault.file.passphrase_file", &file.passphrase_file),
                ("vault.file.credential_file", &file.credential_file),
            ] {
                wanted.extend(path.as_deref().map(|path| (key, path)));
            }
        }
        if let Some(https) = &self.https {
            wanted.push(("https.cert_file", &https.cert_file));
            wanted.push(("https.key_file", &https.key_file));
        }
        wanted.extend(
            (self.redis.as_ref().and_then(|redis| redis.ca_file.as_deref()))
                .map(|path| ("redis.ca_file", path)),
        );
        if let Some(operator) = &self.operator {
            wanted.push(("operator.token_file", &operator.token_file));
        }
        if let Some(portals) = &self.portals {
            wanted.push(("portals.dir", &portals.dir));
        }
        wanted
            .into_iter()
            .filter(|(_, path)| !path.exists())
            .map(|(key, path)| format!("{key}: {} does not exist", path.display()))
            .chain(relays::faults(&self.turn))
            .collect()
    }
}

fn is_host_port(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else {
        return false;
    };
    !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0)
}

fn is_base_url(text: &str) -> bool {
    let Ok(uri) = text.parse::<Uri>() else {
        return false;
    };
    let scheme = matches!(uri.scheme_str(), Some("http" | "https"));
    scheme && uri.host().is_some_and(|host| !host.is_empty()) && uri.path() == "/" && uri.query().is_none()
}

/// Scheme, host and port of a URL that passed the rules, as a browser's `Origin` says them.
pub(super) fn origin(url: &str) -> String {
    url.trim_end_matches('/').to_ascii_lowercase()
}
