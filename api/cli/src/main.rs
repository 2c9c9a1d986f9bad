//! `medmesh`: what an operator types.

use std::io::Write as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use medmesh_base::telemetry::{self, LogFormat};
use medmesh_cli::demo::{self, DemoArgs};
use medmesh_cli::machine::{self, MachineVerb};
use medmesh_cli::operator::{Connection, Unsound, Verb, run};

/// Looks after a medmesh cluster
#[derive(Parser, Debug)]
#[command(name = "medmesh", version, about)]
struct Cli {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    #[command(flatten)]
    Operator(Verb),
    /// Speak as a machine of a clinic
    Machine {
        #[command(subcommand)]
        verb: MachineVerb,
    },
    /// Run the whole system on this machine until Ctrl-C
    Demo(DemoArgs),
}

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
