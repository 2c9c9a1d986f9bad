//! `medmesh-edge`: reads its configuration, runs until it is told to stop, drains.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser;
use medmesh_base::drain::terminate_signal;
use medmesh_base::telemetry;
use medmesh_edge::{Config, Edge, check_open_files};

/// An edge of the medmesh media mesh.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Configuration file (TOML). `MEDMESH_SECTION__KEY` in the environment wins over it.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Check the configuration and exit.
    #[arg(long)]
    check: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let config = match Config::load(&arguments.config) {
        Ok(config) => config,
        Err(error) => {
            telemetry::init("info", telemetry::LogFormat::Text);
            tracing::error!("{error}");
            return ExitCode::from(2);
        }
    };
    telemetry::init(&config.log.filter, config.log.format);
    telemetry::silence_panics();
    // Relayed addresses and connections are files; without more of them there is room for fewer.
    if let Err(error) = medmesh_turn::raise_file_limit() {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
    if arguments.check {
        return match check_open_files() {
            Ok(()) => {
                tracing::info!("the configuration is usable");
                ExitCode::SUCCESS
            }
            Err(error) => {
                tracing::error!("{error}");
                ExitCode::FAILURE
            }
        };
    }
    match run(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn run(config: Config) -> anyhow::Result<()> {
    let mut edge = tokio::select! {
        edge = Edge::start(config) => edge.context("the edge does not start")?,
        // Told to stop while waiting for the control plane: nobody is here yet.
        signal = terminate_signal() => return signal.context("cannot listen for signals"),
    };
    tokio::select! {
        () = edge.stop_wanted() => {}
        signal = terminate_signal() => signal.context("cannot listen for signals")?,
    }
    anyhow::ensure!(edge.drain().await, "the edge did not stop cleanly");
    Ok(())
}
