//! What `medmesh-control` is called with, and what it does once, beside the service.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use medmesh_store::{Reach, Store};

use crate::config::{Config, DATABASE_RULE};
use crate::setup;

/// Variable with the URL of the role that owns the tables; it may hold a password, so it is no argument.
pub const OWNER_URL: &str = "MEDMESH_OWNER_URL";

/// One control node of medmesh: REST API, portals, fleet state, placement.
#[derive(Debug, Parser)]
#[command(name = "medmesh-control", version, args_conflicts_with_subcommands = true)]
pub struct Arguments {
    /// What is done instead of running.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The configuration (TOML). `MEDMESH_TABLE__KEY` in the environment wins over it.
    #[arg(long, value_name = "FILE", required = true)]
    pub config: Option<PathBuf>,
    /// Validate the configuration and exit.
    #[arg(long)]
    pub check: bool,
}

/// What is done once, or beside the service.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make the keys all control nodes of a cluster share. Harmless to repeat.
    ClusterInit {
        /// Where to put them.
        #[arg(long)]
        dir: PathBuf,
        /// The cluster's name, part of every certificate.
        #[arg(long)]
        cluster: String,
    },
    /// Run a private PostgreSQL from the installed binaries, schema up to date, until a signal.
    Database {
        /// Where it lives.
        #[arg(long)]
        dir: PathBuf,
        /// Name under which its socket directory is always found.
        #[arg(long)]
        socket_link: PathBuf,
        /// Clinic and people to be there (JSON).
        #[arg(long)]
        seed_file: Option<PathBuf>,
        /// Where `cluster-init` made `vault.keys` and `vault.unlock`; what seeded people are sealed with.
        #[arg(long)]
        vault_dir: Option<PathBuf>,
        /// Forget everything at the end, and do not pay for durability.
        #[arg(long)]
        ephemeral: bool,
    },
    /// Bring the schema of an existing database up to date. The URL of the owner role
    /// comes from `MEDMESH_OWNER_URL`.
    Migrate,
    /// Open a clinic and invite its first admin. The URL of the owner role comes from
    /// `MEDMESH_OWNER_URL`. Again: a new link, until the invitation was accepted.
    OpenClinic {
        /// The configuration of a control node: its database, keys and mail.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Who is opened (TOML): name, `time_zone`, `home_region`, `[admin]` with `display_name`, email, locale.
        #[arg(long, value_name = "FILE")]
        clinic: PathBuf,
    },
}

impl Command {
    /// Does it, and gives what to print. `owner_url` is what [`OWNER_URL`] says.
    ///
    /// # Errors
    /// Says what is wrong, and where.
    pub async fn run(&self, owner_url: Option<&str>) -> anyhow::Result<String> {
        match self {
            Self::ClusterInit { dir, cluster } => setup::cluster::init(dir, cluster)?,
            Self::Database {
                dir,
                socket_link,
                seed_file,
                vault_dir,
                ephemeral,
            } => {
                let options = setup::database::Options {
                    dir: dir.clone(),
                    socket_link: socket_link.clone(),
                    seed_file: seed_file.clone(),
                    vault_dir: vault_dir.clone(),
                    ephemeral: *ephemeral,
                };
                setup::database::serve(options).await?;
            }
            Self::Migrate => Store::migrate(checked(owner_url)?).await?,
            Self::OpenClinic { config, clinic } => {
                let config = Config::load(config)?;
                let opened = setup::clinic::open(&config, clinic, checked(owner_url)?).await?;
                return Ok(opened.to_string());
            }
        }
        Ok(String::new())
    }
}

fn checked(owner_url: Option<&str>) -> anyhow::Result<&str> {
    let url = owner_url.with_context(|| format!("{OWNER_URL} is not set"))?;
    anyhow::ensure!(Reach::of(url)? != Reach::Open, "{OWNER_URL}: {DATABASE_RULE}");
    Ok(url)
}
