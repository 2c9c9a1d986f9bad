//! `medmesh-control`: one control node.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;
use medmesh_base::telemetry::LogFormat;
use medmesh_base::{drain, telemetry};
use medmesh_control::app::App;
use medmesh_control::command::{Arguments, Command, OWNER_URL};
use medmesh_control::config::Config;

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
        if matches!(command, Command::Database { .. }) {
            telemetry::init("info", LogFormat::Json);
        }
        let text = runtime()?.block_on(command.run(std::env::var(OWNER_URL).ok().as_deref()))?;
        if !text.is_empty() {
            writeln!(std::io::stdout(), "{text}").context("cannot write the answer")?;
        }
        return Ok(());
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
