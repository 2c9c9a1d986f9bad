//! `medmesh-bench`: what things cost, beside a peer and the limit of the machine.
//!
//! Every row is printed and written to `target/bench/NAME.json` (see [`medmesh_benches::report`]).

use clap::{Parser, Subcommand};
use medmesh_benches::report::{self, Row};
use medmesh_benches::{audit, clinic, forward, join, login, raft, turn};

/// Measures medmesh beside its peers and the machine's limits
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Subcommand)]
enum Bench {
    /// Everything, each with its defaults.
    All,
    /// Writes with their audit leaves per second, beside plain inserts; proofs out of a log of millions.
    Audit(audit::Options),
    /// Packets an edge forwards per second of CPU, beside Janus and a program that only seals and sends.
    Forward(forward::Options),
    /// From the click on Join to the first picture, in real browsers; left out where there is none.
    Join(join::Options),
    /// Commits per second of three control nodes, beside etcd.
    Raft(raft::Options),
    /// A clinic's key replaced while the clinic works.
    Rotation(clinic::RotationOptions),
    /// Somebody looked for among a million by a name that is spelt almost right.
    Search(clinic::SearchOptions),
    /// One node of the `raft` bench, which starts it.
    #[command(hide = true)]
    RaftNode(raft::NodeOptions),
    /// What a flood of wrong passwords costs everybody else, beside the same without it.
    LoginFlood(login::Options),
    /// The control node of the `login-flood` bench, which starts it.
    #[command(hide = true)]
    LoginNode,
    /// Packets the TURN relay carries per second of CPU, beside coturn.
    Turn(turn::Options),
    /// What the kernel's own relaying saves, in the CPU of the whole machine, beside coturn.
    TurnXdp(turn::KernelOptions),
    /// The program that only forwards; the `turn` bench starts it.
    #[command(hide = true)]
    TurnForward(turn::ForwardOptions),
    /// The program that only seals and sends; the `forward` bench starts it.
    #[command(hide = true)]
    Seal(forward::limit::Shape),
}

/// What `all` runs, by subcommand.
const ALL: [&str; 9] = [
    "forward",
    "turn",
    "turn-xdp",
    "raft",
    "audit",
    "rotation",
    "search",
    "login-flood",
    "join",
];

fn main() -> anyhow::Result<()> {
    let rows = rows(Arguments::parse().bench)?;
    if !rows.is_empty() {
        report::print(&report::table(&rows));
    }
    Ok(())
}

/// Runs a bench and writes the files of its rows.
fn rows(bench: Bench) -> anyhow::Result<Vec<Row>> {
    let rows = match bench {
        Bench::All => {
            let (mut all, mut failed) = (Vec::new(), Vec::new());
            for name in ALL {
                if name == "turn-xdp"
                    && let Err(error) = turn::kernel_can_run()
                {
                    report::print(&format!("{name} is left out, it cannot run here: {error:#}"));
                    continue;
                }
                match rows(Arguments::parse_from(["medmesh-bench", name]).bench) {
                    Ok(more) => all.extend(more),
                    Err(error) => {
                        report::print(&format!("{name}: {error:#}"));
                        failed.push(name);
                    }
                }
            }
            // One that cannot run here does not cost the others' figures.
            if !failed.is_empty() {
                report::print(&report::table(&all));
                anyhow::bail!("failed: {}", failed.join(", "));
            }
            return Ok(all);
        }
        Bench::Audit(options) => audit::rows(&options)?,
        Bench::Forward(options) => forward::rows(&options)?,
        Bench::Join(options) => join::rows(&options)?,
        Bench::Raft(options) => raft::rows(&options)?,
        Bench::Rotation(options) => clinic::rotation(&options)?,
        Bench::Search(options) => clinic::search(&options)?,
        Bench::Turn(options) => turn::rows(&options)?,
        Bench::TurnXdp(options) => turn::kernel_rows(&options)?,
        Bench::LoginFlood(options) => login::rows(&options)?,
        Bench::LoginNode => return login::run_node().map(|()| Vec::new()),
        Bench::RaftNode(options) => return raft::run_node(&options).map(|()| Vec::new()),
        Bench::TurnForward(options) => return turn::forward(&options).map(|()| Vec::new()),
        Bench::Seal(shape) => return forward::limit::seal(&shape).map(|()| Vec::new()),
    };
    report::write(&rows)?;
    Ok(rows)
}
