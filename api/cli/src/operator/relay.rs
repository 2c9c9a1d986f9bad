//! What relays that stand by themselves are told of the fleet.

mod peers;
mod replace;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Subcommand;
use medmesh_api_client::Operator;
use tokio::net::lookup_host;

use super::{Connection, show};
use peers::Places;

/// Longest peers file read: what a relay takes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// What can be done about relays.
#[derive(Subcommand, Clone, Debug)]
pub enum RelayVerb {
    /// The peers file of `medmesh-turn`: every edge's media sockets are allowed, every control node is denied
    Peers {
        /// Put it there, at once and only if it differs, instead of printing it. What it says of edges that have
        /// not reported lately is kept
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
        /// Do without control nodes whose host names mean nothing on this machine; they are not denied then
        #[arg(long)]
        skip_unresolved: bool,
    },
}

pub(super) async fn run(
    connection: &Connection,
    operator: &Operator,
    verb: RelayVerb,
) -> anyhow::Result<String> {
    let RelayVerb::Peers {
        file,
        skip_unresolved,
    } = verb;
    let nodes = operator.nodes().await?;
    let places = peers::places(&nodes);
    let resolved = resolve(&places).await;
    let before = file.as_deref().map(before).transpose()?.unwrap_or_default();
    let list = peers::list(&nodes, &places, &resolved, &before);
    if !skip_unresolved && !list.unresolved.is_empty() {
        bail!(
            "not denied, because their names mean nothing here: {}; nothing was written (--skip-unresolved does \
             without them)",
            list.unresolved.join(", ")
        );
    }
    if list.allow.is_empty() {
        bail!("no edge has said where its media goes; nothing was written");
    }
    for remark in list.remarks() {
        let _ = writeln!(std::io::stderr(), "medmesh: {remark}");
    }
    let Some(file) = file else {
        return show(connection, &list, peers::List::text);
    };
    let text = list.text();
    let said = if text == before {
        "unchanged"
    } else {
        replace::replace(&file, &text).with_context(|| format!("cannot write {}", file.display()))?;
        "written"
    };
    show(connection, &list, |list| {
        format!(
            "{said}: {} ({} allowed, {} denied)\n",
            file.display(),
            list.allow.len(),
            list.deny.len()
        )
    })
}

/// The file as it is; empty where there is none.
fn before(file: &Path) -> anyhow::Result<String> {
    let cannot = || format!("cannot read {}", file.display());
    match std::fs::metadata(file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(String::new()),
        Err(error) => return Err(error).with_context(cannot),
        Ok(found) if found.len() > FILE_BYTES_MAX => bail!("{} is no peers file", file.display()),
        Ok(_) => {}
    }
    std::fs::read_to_string(file).with_context(cannot)
}

/// The addresses of each host, none where this machine knows no such name.
async fn resolve(places: &Places) -> BTreeMap<String, Vec<IpAddr>> {
    let mut resolved = BTreeMap::new();
    for (host, port) in places.values().flatten() {
        if resolved.contains_key(host) {
            continue;
        }
        let found = lookup_host((host.as_str(), *port)).await;
        let mut addresses: Vec<IpAddr> = found
            .map(|found| found.map(|address| address.ip()).collect())
            .unwrap_or_default();
        addresses.sort_unstable();
        addresses.dedup();
        resolved.insert(host.clone(), addresses);
    }
    resolved
}

#[cfg(test)]
mod tests;
