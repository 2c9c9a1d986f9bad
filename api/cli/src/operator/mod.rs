//! The operator's verbs: each is one call to a control node.

mod audit;
mod edge;
mod headroom;
mod insight;
mod jobs;
mod keys;
mod offline;
mod relay;
mod table;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use medmesh_api_client::{IdempotencyKey, Operator};
use medmesh_api_types::fleet::Nodes;
use medmesh_base::{ControlId, EdgeId, RoomId};
use serde::Serialize;

pub use audit::{AuditVerb, Unsound};
pub use jobs::JobVerb;
pub use keys::{KeyRotate, KeyVerb};
pub use relay::RelayVerb;

/// Largest token file read; a token is one line.
const TOKEN_FILE_BYTES_MAX: u64 = 4096;

/// Where the control plane is, and how to print what it says.
#[derive(Args, Clone, Debug)]
pub struct Connection {
    /// Base URL of any control node
    #[arg(
        long,
        env = "MEDMESH_URL",
        default_value = "http://127.0.0.1:8080",
        global = true
    )]
    pub url: String,
    /// File that holds the operator token
    #[arg(long, env = "MEDMESH_TOKEN_FILE", value_name = "FILE", global = true)]
    pub token_file: Option<PathBuf>,
    /// PEM file with the authority of the control plane's certificate, where the system does not know it
    #[arg(long, env = "MEDMESH_CA_FILE", value_name = "FILE", global = true)]
    pub ca_file: Option<PathBuf>,
    /// Print JSON instead of a table
    #[arg(long, global = true)]
    pub json: bool,
}

impl Connection {
    fn ca_pem(&self) -> anyhow::Result<Option<Vec<u8>>> {
        let ca = self.ca_file.as_ref().map(std::fs::read).transpose();
        ca.context("cannot read the authority's certificate")
    }

    fn open(&self) -> anyhow::Result<Operator> {
        let Some(file) = &self.token_file else {
            bail!("say where the operator token is: --token-file FILE or MEDMESH_TOKEN_FILE");
        };
        let length = std::fs::metadata(file)
            .with_context(|| format!("cannot read {}", file.display()))?
            .len();
        if length > TOKEN_FILE_BYTES_MAX {
            bail!("{} is too large for a token", file.display());
        }
        let token =
            std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        Ok(Operator::new(&self.url, token.trim(), self.ca_pem()?.as_deref())?)
    }
}

/// What an operator can ask and do.
#[derive(Subcommand, Clone, Debug)]
pub enum Verb {
    /// Control nodes and edges, with their load
    Nodes,
    /// Rooms and who is where, by opaque ids
    Sessions {
        /// Most rooms to show, the latest first
        #[arg(long, default_value_t = 100)]
        limit: u32,
    },
    /// The Raft group; with a verb, change it
    Raft {
        /// What to change
        #[command(subcommand)]
        change: Option<RaftChange>,
    },
    /// One edge: look at it, empty it, close it, take it out
    #[command(subcommand)]
    Edge(edge::EdgeVerb),
    /// How many more people and TURN allocations fit while the largest edge could still die, by region
    #[command(visible_alias = "capacity")]
    Headroom {
        /// Base URL of a standalone relay's metrics, shown too; without a token file only these are shown
        #[arg(long = "relay", value_name = "URL")]
        relays: Vec<String>,
    },
    /// Why the people of a room or a visit are where they are, and why each other edge lost
    Explain {
        /// The room's id, as `medmesh sessions` shows it, or the visit's, as the clinic knows it
        id: RoomId,
    },
    /// The audit logs: is what they say true
    Audit {
        /// What to do
        #[command(subcommand)]
        verb: AuditVerb,
    },
    /// Work that waits or was given up
    Jobs {
        /// What to do
        #[command(subcommand)]
        verb: JobVerb,
    },
    /// The keys behind sealed records: versions and counts, and new ones for old
    Keys {
        /// What to do
        #[command(subcommand)]
        verb: KeyVerb,
    },
    /// Relays that stand by themselves
    Relay {
        /// What to do
        #[command(subcommand)]
        verb: RelayVerb,
    },
    /// Make a one-time token that lets an edge join
    JoinToken {
        /// How long it can be used, seconds (at most a day)
        #[arg(long, default_value_t = 3600)]
        life_seconds: u32,
        /// A key of your own (8 to 64 characters): asked again with it, the answer is the same token
        #[arg(long, value_name = "TEXT")]
        key: Option<String>,
    },
}

/// Changes of the Raft group.
#[derive(Subcommand, Clone, Debug)]
pub enum RaftChange {
    /// Add a node without a vote
    AddLearner {
        /// Its number
        node: u64,
        /// `host:port` of its link
        link_address: String,
    },
    /// Give a learner a vote
    Promote {
        /// Its number
        node: u64,
    },
    /// Take a node out of the group
    Remove {
        /// Its number
        node: u64,
    },
}

/// Does what was asked and returns what to print.
///
/// # Errors
/// When the control plane cannot be reached or says no; the message is for people.
pub async fn run(connection: &Connection, verb: Verb) -> anyhow::Result<String> {
    if let Verb::Audit { verb } = &verb
        && let Some(said) = without_asking(verb)
    {
        return said;
    }
    if let Verb::Headroom { relays } = &verb {
        return headroom::run(connection, relays).await;
    }
    let operator = connection.open()?;
    match verb {
        Verb::Audit { verb } => run_audit(connection, &operator, verb).await,
        Verb::Jobs {
            verb: JobVerb::List { dead },
        } => {
            let jobs = operator.job_list(dead.then_some(true)).await?.items;
            show(connection, &jobs, jobs::list_table)
        }
        Verb::Jobs {
            verb: JobVerb::Retry { id },
        } => {
            operator.job_retry(id).await?;
            Ok(format!("{id} is due now\n"))
        }
        Verb::Keys { verb } => keys::run(connection, &operator, verb).await,
        Verb::Nodes => show(connection, &operator.nodes().await?, table::nodes),
        Verb::Sessions { limit } => show(
            connection,
            &operator.sessions(Some(limit)).await?,
            table::sessions,
        ),
        Verb::Raft { change } => {
            let raft = match change {
                None => operator.raft().await?,
                Some(RaftChange::AddLearner { node, link_address }) => {
                    operator.raft_add_learner(ControlId(node), link_address).await?
                }
                Some(RaftChange::Promote { node }) => operator.raft_promote(ControlId(node)).await?,
                Some(RaftChange::Remove { node }) => operator.raft_remove(ControlId(node)).await?,
            };
            show(connection, &raft, table::raft)
        }
        Verb::Edge(verb) => edge::run(connection, &operator, verb).await,
        Verb::Headroom { relays } => headroom::run(connection, &relays).await,
        Verb::Explain { id } => {
            let explained = insight::explain(&operator, id).await?;
            show(connection, &explained, insight::explanation)
        }
        Verb::Relay { verb } => relay::run(connection, &operator, verb).await,
        Verb::JoinToken { life_seconds, key } => {
            let key = key.map_or_else(IdempotencyKey::fresh, IdempotencyKey::from);
            let token = operator.join_token_create(&key, Some(life_seconds)).await?;
            // Alone on its line, so that `medmesh join-token > FILE` is all it takes.
            show(connection, &token, |token| format!("{}\n", token.token.expose()))
        }
    }
}

async fn run_audit(connection: &Connection, operator: &Operator, verb: AuditVerb) -> anyhow::Result<String> {
    match verb {
        AuditVerb::Logs => show(connection, &audit::logs(operator).await?, audit::logs_table),
        AuditVerb::Verify { clinic } => {
            let reports = audit::verify(operator, clinic).await?;
            let text = show(connection, &reports, audit::verify_table)?;
            if reports.iter().all(|report| report.is_sound) {
                Ok(text)
            } else {
                Err(Unsound { text }.into())
            }
        }
        AuditVerb::Prove { leaf, clinic, out } => {
            let proof = operator.audit_prove(clinic, leaf).await?;
            let text = serde_json::to_string_pretty(&proof)? + "\n";
            match out {
                None => Ok(text),
                Some(file) => {
                    std::fs::write(&file, text)
                        .with_context(|| format!("cannot write {}", file.display()))?;
                    Ok(format!("wrote {}\n", file.display()))
                }
            }
        }
        AuditVerb::RotateKey { clinic } => {
            let announced = operator.audit_key_rotate(clinic).await?;
            show(connection, &announced, audit::announced)
        }
        AuditVerb::Resume { clinic, reason } => {
            let announced = operator.audit_resume(clinic, &reason).await?;
            show(connection, &announced, audit::announced)
        }
        AuditVerb::Check { .. } | AuditVerb::Extends { .. } => {
            without_asking(&verb).expect("these ask nobody")
        }
    }
}

/// What needs no control plane.
fn without_asking(verb: &AuditVerb) -> Option<anyhow::Result<String>> {
    match verb {
        AuditVerb::Check { file, key, witness } => Some(offline::check(file, key, witness.as_deref())),
        AuditVerb::Extends {
            kept,
            file,
            key,
            later,
        } => Some(offline::extends(kept, file, key, later.as_deref())),
        _ => None,
    }
}

fn show<T: Serialize>(
    connection: &Connection,
    answer: &T,
    text: impl FnOnce(&T) -> String,
) -> anyhow::Result<String> {
    if connection.json {
        Ok(serde_json::to_string_pretty(answer)? + "\n")
    } else {
        Ok(text(answer))
    }
}

/// An edge by its name, or by its id.
fn find_edge(nodes: &Nodes, wanted: &str) -> anyhow::Result<(EdgeId, String)> {
    let id: Option<EdgeId> = wanted.parse().ok();
    let found = nodes
        .edges
        .iter()
        .find(|edge| edge.name == wanted || Some(edge.id) == id);
    let Some(edge) = found else {
        let names: Vec<_> = nodes.edges.iter().map(|edge| edge.name.as_str()).collect();
        bail!("there is no edge {wanted:?}; there are: {}", names.join(", "));
    };
    Ok((edge.id, edge.name.clone()))
}
