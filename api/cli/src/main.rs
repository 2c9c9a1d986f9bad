//! `medmesh`: what an operator types.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use medmesh_base::telemetry::{self, LogFormat};
use medmesh_cli::command::{Cli, Command};
use medmesh_cli::operator::{Unsound, run};
use medmesh_cli::{demo, machine};

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match cli.command {
        Command::Operator(verb) => run(&cli.connection, verb).await,
        Command::Machine { verb } => machine::run(&cli.connection, verb).await,
        Command::Demo(args) => {
            telemetry::init("warn", LogFormat::Text);
            demo::run(args).await.map(|()| String::new())
        }
    };
    match outcome {
        Ok(text) => {
            // A closed pipe (`| head`) is the reader's choice, not a failure.
            let _ = std::io::stdout().lock().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Err(error) => {
            if let Some(unsound) = error.downcast_ref::<Unsound>() {
                let _ = std::io::stdout().lock().write_all(unsound.text.as_bytes());
            }
            let _ = writeln!(std::io::stderr(), "medmesh: {error:#}");
            ExitCode::FAILURE
        }
    }
}
