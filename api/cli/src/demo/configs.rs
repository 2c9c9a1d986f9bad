//! The configuration files of a demo: the same files production uses.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::Serialize;
use toml::{Table, Value};

use super::layout::{CONTROL_NODES, Layout};

/// Name of the demo's cluster in its certificates.
pub(super) const CLUSTER: &str = "demo";
/// Names and regions of the edges.
pub(super) const EDGE_NAMES: [(&str, &str); 2] = [("fra-1", "eu-central"), ("nyc-1", "us-east")];

/// What `medmesh-control cluster init` writes.
#[derive(Clone, Debug)]
pub(super) struct ClusterFiles {
    pub(super) secret: PathBuf,
    pub(super) ca_cert: PathBuf,
    pub(super) ca_key: PathBuf,
    pub(super) operator_token: PathBuf,
    vault_keys: PathBuf,
    vault_unlock: PathBuf,
}

impl ClusterFiles {
    pub(super) fn of(layout: &Layout) -> Self {
        let dir = layout.dir("cluster");
        Self {
            secret: dir.join("cluster.secret"),
            ca_cert: dir.join("ca.pem"),
            ca_key: dir.join("ca.key"),
            operator_token: dir.join("operator.token"),
            vault_keys: dir.join("vault.keys"),
            vault_unlock: dir.join("vault.unlock"),
        }
    }
}

#[derive(Serialize)]
struct Peer {
    id: u16,
    link: String,
    http: String,
}

/// Longest file taken beside the demo's own: what it adds is a table or two.
const MORE_BYTES_MAX: u64 = 64 * 1024;

/// What a file adds to those of the control nodes.
pub(super) fn read_more(path: &Path) -> anyhow::Result<Table> {
    let cannot = || format!("cannot read {}", path.display());
    let length = fs::metadata(path).with_context(cannot)?.len();
    anyhow::ensure!(length <= MORE_BYTES_MAX, "{} is no configuration", path.display());
    let text = fs::read_to_string(path).with_context(cannot)?;
    text.parse().with_context(|| format!("in {}", path.display()))
}

/// Adds what the demo does not say by itself; what is said twice is as the file has it.
fn add(config: &mut Table, more: &Table) {
    for (key, value) in more {
        match (config.get_mut(key), value) {
            (Some(Value::Table(known)), Value::Table(more)) => add(known, more),
            _ => {
                config.insert(key.clone(), value.clone());
            }
        }
    }
}

/// Writes `control-N.toml` and returns where. `more` is added to what every node is told.
pub(super) fn write_control(
    layout: &Layout,
    node: u16,
    (database_url, redis_url): (&str, &str),
    portals: &Path,
    more: &Table,
) -> anyhow::Result<PathBuf> {
    let files = ClusterFiles::of(layout);
    let peers: Vec<Peer> = (0..CONTROL_NODES)
        .map(|n| Peer {
            id: n + 1,
            link: loopback(layout.control_link_port(n)),
            http: format!("http://localhost:{}", layout.http_port(n)),
        })
        .collect();
    let origins: Vec<String> = (0..CONTROL_NODES)
        .map(|n| format!("http://localhost:{}", layout.http_port(n)))
        .collect();
    let mut config = table(serde_json::json!({
        "node": { "id": node + 1, "cluster": CLUSTER, "data_dir": layout.dir(&format!("control-{}", node + 1)) },
        "cluster": {
            "secret_file": files.secret, "ca_cert_file": files.ca_cert, "ca_key_file": files.ca_key,
            "peers": peers,
        },
        "link": {
            "listen": loopback(layout.control_link_port(node)),
            "advertise": loopback(layout.control_link_port(node)),
        },
        "http": {
            "listen": loopback(layout.http_port(node)),
            "public_url": format!("http://localhost:{}", layout.http_port(node)),
            "allowed_origins": origins,
        },
        // Everything of a demo is on this machine; so may be an OpenID provider to try.
        "oidc": { "allow_loopback": true },
        "admin": { "listen": loopback(layout.control_admin_port(node)) },
        "database": { "url": database_url },
        "vault": { "file": { "key_file": files.vault_keys, "credential_file": files.vault_unlock } },
        "redis": { "url": redis_url },
        // One for all nodes: each publishes what the others prove and hand out.
        "objects": { "dir": layout.dir("objects") },
        "portals": { "dir": portals },
        "operator": { "token_file": files.operator_token },
    }))?;
    add(&mut config, more);
    write(
        &layout.dir("config").join(format!("control-{}.toml", node + 1)),
        &config,
    )
}

/// Writes `edge-NAME.toml` and returns where.
pub(super) fn write_edge(layout: &Layout, edge: u16) -> anyhow::Result<PathBuf> {
    let (name, region) = EDGE_NAMES[usize::from(edge)];
    let (relay_first, relay_last) = layout.relay_ports(edge);
    let nodes: Vec<String> = (0..CONTROL_NODES)
        .map(|n| loopback(layout.control_link_port(n)))
        .collect();
    let config = table(serde_json::json!({
        "edge": { "name": name, "region": region, "data_dir": layout.dir(&format!("edge-{name}")) },
        "control": { "join_token_file": join_token_file(layout, edge), "nodes": nodes },
        "link": {
            "listen": loopback(layout.edge_link_port(edge)), "advertise": loopback(layout.edge_link_port(edge)),
        },
        "signalling": {
            "listen": loopback(layout.signalling_port(edge)),
            "public_url": format!("http://localhost:{}", layout.signalling_port(edge)),
        },
        "media": { "address": "127.0.0.1", "port_base": layout.media_port(edge) },
        "turn": {
            "enabled": true,
            "listen": loopback(layout.turn_port(edge)),
            "advertise": loopback(layout.turn_port(edge)),
            "port_range": [relay_first, relay_last],
            "tcp": { "listen": loopback(layout.turn_port(edge)), "advertise": loopback(layout.turn_port(edge)) },
        },
        "admin": { "listen": loopback(layout.edge_admin_port(edge)) },
    }))?;
    write(&layout.dir("config").join(format!("edge-{name}.toml")), &config)
}

/// Where the edge's one-time join token is put.
pub(super) fn join_token_file(layout: &Layout, edge: u16) -> PathBuf {
    layout
        .dir("config")
        .join(format!("edge-{}.join", EDGE_NAMES[usize::from(edge)].0))
}

fn loopback(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

fn table(value: serde_json::Value) -> anyhow::Result<Table> {
    match Value::try_from(value)? {
        Value::Table(table) => Ok(table),
        _ => anyhow::bail!("a configuration is a table"),
    }
}

fn write(path: &Path, config: &Table) -> anyhow::Result<PathBuf> {
    let text = toml::to_string_pretty(config)?;
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path.to_owned())
}
