//! `medmesh-turn`: the relay as a process of its own.

mod app;

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use app::peers::Peers;
use clap::{Parser, Subcommand};
use medmesh_turn::secrets_file::{self, SecretsFile};

/// A TURN relay with time-limited credentials.
#[derive(Debug, Parser)]
#[command(name = "medmesh-turn", version, args_conflicts_with_subcommands = true)]
struct Arguments {
    /// What is done instead of running.
    #[command(subcommand)]
    command: Option<Command>,
    /// Configuration (TOML); `MEDMESH_…__…` in the environment overrides it.
    #[arg(long, value_name = "FILE", required = true)]
    config: Option<PathBuf>,
    /// Check the configuration and the files it names, then exit.
    #[arg(long)]
    check: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The secrets file, which the relay shares with whoever hands out credentials for it.
    #[command(subcommand)]
    Secrets(SecretsVerb),
}

#[derive(Debug, Subcommand)]
enum SecretsVerb {
    /// Adds a fresh secret, in force beside the one before it. Makes the file (mode 0600) where there
    /// is none.
    Rotate {
        /// The secrets file.
        #[arg(long)]
        file: PathBuf,
    },
    /// Takes the older of two secrets away.
    Retire {
        /// The secrets file.
        #[arg(long)]
        file: PathBuf,
    },
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if let Some(Command::Secrets(verb)) = &arguments.command {
        return change_secrets(verb);
    }
    let path = arguments.config.as_deref().context("--config FILE is required")?;
    run(path, arguments.check)
}

/// Says which epochs are in the file afterwards, newest first; never what they are.
fn change_secrets(verb: &SecretsVerb) -> anyhow::Result<()> {
    let epochs = match verb {
        SecretsVerb::Rotate { file } => secrets_file::rotate(file)?,
        SecretsVerb::Retire { file } => secrets_file::retire(file)?,
    };
    let epochs: Vec<String> = epochs.iter().map(u64::to_string).collect();
    writeln!(std::io::stdout(), "epochs {}", epochs.join(" ")).context("cannot write the answer")
}

fn run(path: &Path, only_check: bool) -> anyhow::Result<()> {
    let config = app::config::Config::load(path)?;
    let opened = SecretsFile::open(&config.turn.secrets_file).context("turn.secrets_file");
    let (file, secrets) = opened.map_err(|error| config.source.locate(&error))?;
    if !only_check {
        medmesh_base::telemetry::init(&config.log.filter, config.log.format);
        medmesh_base::telemetry::silence_panics();
    }
    let prepared = app::prepare(&config).and_then(|relay| Ok((relay, Peers::open(path, &config)?)));
    let (relay, peers) = prepared.map_err(|error| config.source.locate(&error))?;
    if only_check {
        return Ok(());
    }
    // The relay has its own threads; this one serves a few scrapes and signals.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let files = app::Files { secrets: file, peers };
    runtime.block_on(app::run(config, files, relay, secrets))
}
