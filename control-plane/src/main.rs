//! `medmesh-control`: one control node.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser;
use medmesh_base::{drain, telemetry};
use medmesh_control::app::App;
use medmesh_control::config::Config;

/// One control node of medmesh: REST API, portals, fleet state, placement.
#[derive(Debug, Parser)]
#[command(name = "medmesh-control", version)]
struct Arguments {
    /// The configuration (TOML). `MEDMESH_TABLE__KEY` in the environment wins over it.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Validate the configuration and exit.
    #[arg(long)]
    check: bool,
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
    let config = Config::load(&arguments.config)?;
    if arguments.check {
        let missing = config.missing_files();
        anyhow::ensure!(missing.is_empty(), "{}", missing.join("\n"));
        return Ok(());
    }
    telemetry::init(&config.log.filter, config.log.format);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(async {
        let app = App::build(config).await?;
        let running = app.spawn();
        drain::terminate_signal().await.context("cannot hear signals")?;
        running.stop().await;
        Ok(())
    })
}
