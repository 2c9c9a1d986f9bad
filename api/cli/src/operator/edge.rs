//! What is done to one edge.

use std::io::Write as _;
use std::time::Duration;

use anyhow::bail;
use clap::{Args, Subcommand};
use medmesh_api_client::Operator;
use medmesh_api_types::fleet::{EdgeNode, Nodes};
use medmesh_base::EdgeId;

use super::{Connection, find_edge, show, table};

/// How often a drain is looked at; edges report once a second.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// What can be done to an edge.
#[derive(Subcommand, Clone, Debug)]
pub enum EdgeVerb {
    /// Show it
    Show(Which),
    /// Send it nobody new; those who are there stay
    Cordon(Which),
    /// Send people to it again
    Uncordon(Which),
    /// Move its people to other edges, and wait until it is empty
    Drain {
        #[command(flatten)]
        which: Which,
        /// Do not wait
        #[arg(long)]
        no_wait: bool,
        /// Give up waiting after this long, seconds; it goes on being drained
        #[arg(long, default_value_t = 600)]
        timeout_seconds: u64,
    },
    /// End a drain
    Undrain(Which),
    /// Take it out of the fleet for good; its certificate is refused from then on
    Remove {
        #[command(flatten)]
        which: Which,
        /// Even while it carries people: the machine is lost
        #[arg(long)]
        force: bool,
    },
}

/// An edge.
#[derive(Args, Clone, Debug)]
pub struct Which {
    /// Its name or id
    pub edge: String,
}

impl EdgeVerb {
    fn which(&self) -> &str {
        match self {
            Self::Show(which) | Self::Cordon(which) | Self::Uncordon(which) | Self::Undrain(which) => {
                &which.edge
            }
            Self::Drain { which, .. } | Self::Remove { which, .. } => &which.edge,
        }
    }
}

pub(super) async fn run(
    connection: &Connection,
    operator: &Operator,
    verb: EdgeVerb,
) -> anyhow::Result<String> {
    let (id, name) = find_edge(&operator.nodes().await?, verb.which())?;
    match verb {
        EdgeVerb::Show(_) => {}
        EdgeVerb::Cordon(_) => operator.edge_cordon(id).await?,
        EdgeVerb::Uncordon(_) => operator.edge_uncordon(id).await?,
        EdgeVerb::Undrain(_) => operator.edge_undrain(id).await?,
        EdgeVerb::Drain {
            no_wait,
            timeout_seconds,
            ..
        } => {
            operator.edge_drain(id).await?;
            if !no_wait {
                let patience = Duration::from_secs(timeout_seconds);
                match tokio::time::timeout(patience, emptied(operator, id)).await {
                    Ok(emptied) => emptied?,
                    Err(_) => {
                        bail!("{name} is not empty after {timeout_seconds} s; it goes on being drained")
                    }
                }
            }
        }
        EdgeVerb::Remove { force, .. } => {
            operator.edge_remove(id, force).await?;
            return if connection.json {
                Ok(format!("{}\n", serde_json::json!({ "removed": id })))
            } else {
                Ok(format!("{name} is out of the fleet\n"))
            };
        }
    }
    let edge = operator.edge(id).await?;
    show(connection, &edge, |edge| {
        table::nodes(&Nodes {
            controls: Vec::new(),
            edges: vec![edge.clone()],
        })
    })
}

/// Waits until nobody is on the edge, saying how many are when that changes.
async fn emptied(operator: &Operator, id: EdgeId) -> anyhow::Result<()> {
    let mut said = None;
    loop {
        let edge = operator.edge(id).await?;
        let there = people(&edge);
        if said != Some(there) {
            let _ = writeln!(std::io::stderr(), "{}: {}", edge.name, progress(there));
            said = Some(there);
        }
        if there == Some(0) {
            return Ok(());
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

/// How many people are on the edge or on their way to it; `None` while it does not report.
fn people(edge: &EdgeNode) -> Option<u32> {
    let report = edge.report.as_ref()?;
    Some(report.participants + edge.reserved_participants)
}

fn progress(there: Option<u32>) -> String {
    match there {
        None => "does not report".to_owned(),
        Some(0) => "empty".to_owned(),
        Some(1) => "1 participant is still there".to_owned(),
        Some(there) => format!("{there} participants are still there"),
    }
}
