//! `medmesh-turn`: the relay as a process of its own.

mod app;

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Parser;

/// A TURN relay with time-limited credentials.
#[derive(Debug, Parser)]
#[command(name = "medmesh-turn", version)]
struct Arguments {
    /// Configuration (TOML); `MEDMESH_…__…` in the environment overrides it.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Check the configuration and the files it names, then exit.
    #[arg(long)]
    check: bool,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let config = app::config::Config::load(&arguments.config)?;
    let secrets = app::secrets::read(&config.turn.secrets_file)?;
    if !arguments.check {
        medmesh_base::telemetry::init(&config.log.filter, config.log.format);
        medmesh_base::telemetry::silence_panics();
    }
    let relay = app::prepare(&config)?;
    config.peers.policy()?;
    if arguments.check {
        return Ok(());
    }
    // The relay has its own threads; this one serves a few scrapes and signals.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(app::run(config, relay, secrets))
}
