//! `medmesh-control`: one control node.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use medmesh_base::telemetry::LogFormat;
use medmesh_base::{drain, telemetry};
use medmesh_control::app::App;
use medmesh_control::config::Config;
use medmesh_control::setup;

/// One control node of medmesh: REST API, portals, fleet state, placement.
#[derive(Debug, Parser)]
#[command(name = "medmesh-control", version, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// The configuration (TOML). `MEDMESH_TABLE__KEY` in the environment wins over it.
    #[arg(long, value_name = "FILE", required = true)]
    config: Option<PathBuf>,
    /// Validate the configuration and exit.
    #[arg(long)]
    check: bool,
}

/// What is done once, or beside the service.
#[derive(Debug, Subcommand)]
enum Command {
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
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Before and after the log exists alike, one line a fault.
            complain(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

#[allow(
    clippy::print_stderr,
    reason = "the configuration decides how to log, so its faults cannot be logged"
)]
fn complain(text: &str) {
    for line in text.lines() {
        eprintln!("medmesh-control: {line}");
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<()> {
    if let Some(command) = &arguments.command {
        return set_up(command);
    }
    let path = arguments.config.as_deref().context("--config FILE is required")?;
    let config = Config::load(path)?;
    if arguments.check {
        let missing = config.missing_files();
        anyhow::ensure!(missing.is_empty(), "{}", missing.join("\n"));
        return Ok(());
    }
    telemetry::init(&config.log.filter, config.log.format);
    telemetry::silence_panics();
    runtime()?.block_on(async {
        let app = App::build(config).await?;
        let running = app.spawn();
        let fault = tokio::select! {
            signal = drain::terminate_signal() => signal.context("cannot hear signals").err(),
            reason = running.failed() => Some(anyhow::anyhow!(reason)),
        };
        running.stop().await;
        fault.map_or(Ok(()), Err)
    })
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")
}

fn set_up(command: &Command) -> anyhow::Result<()> {
    match command {
        Command::ClusterInit { dir, cluster } => setup::cluster::init(dir, cluster),
        Command::Database {
            dir,
            socket_link,
            seed_file,
            vault_dir,
            ephemeral,
        } => {
            telemetry::init("info", LogFormat::Json);
            let options = setup::database::Options {
                dir: dir.clone(),
                socket_link: socket_link.clone(),
                seed_file: seed_file.clone(),
                vault_dir: vault_dir.clone(),
                ephemeral: *ephemeral,
            };
            runtime()?.block_on(setup::database::serve(options))
        }
        Command::Migrate => {
            let url = std::env::var("MEDMESH_OWNER_URL").context("MEDMESH_OWNER_URL is not set")?;
            Ok(runtime()?.block_on(medmesh_store::Store::migrate(&url))?)
        }
    }
}
