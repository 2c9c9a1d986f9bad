//! What `medmesh` is called with.

use clap::{Parser, Subcommand};

use crate::demo::DemoArgs;
use crate::machine::MachineVerb;
use crate::operator::{Connection, Verb};

/// Looks after a medmesh cluster
#[derive(Parser, Debug)]
#[command(name = "medmesh", version, about)]
pub struct Cli {
    /// Where the control plane is
    #[command(flatten)]
    pub connection: Connection,
    /// What is asked
    #[command(subcommand)]
    pub command: Command,
}

/// Everything that can be asked
#[derive(Subcommand, Debug)]
pub enum Command {
    /// What an operator asks
    #[command(flatten)]
    Operator(Verb),
    /// Speak as a machine of a clinic
    Machine {
        /// What it does
        #[command(subcommand)]
        verb: MachineVerb,
    },
    /// Run the whole system on this machine until Ctrl-C
    Demo(DemoArgs),
}
