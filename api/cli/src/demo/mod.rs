//! `medmesh demo`: the whole system on one machine, started, supervised, stopped.
//!
//! Private PostgreSQL and Redis, three control nodes, two edges in two regions,
//! portals, and a visit of today. The processes and their configuration files are
//! those of production; only their addresses are all on the loopback interface.

mod booking;
mod bots;
mod code;
mod configs;
mod layout;
mod people;
mod process;
mod screen;
mod system;
mod wait;

use std::fs::{self, File, TryLockError};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use medmesh_base::drain::terminate_signal;

use layout::Layout;
use screen::Screen;
use system::System;

/// Where the demo listens unless told otherwise.
const BASE_PORT: u16 = 8080;

/// How to run the demo.
#[derive(Args, Clone, Debug)]
pub struct DemoArgs {
    /// Where data is kept between demos
    #[arg(long, value_name = "DIR", conflicts_with = "ephemeral")]
    state: Option<PathBuf>,
    /// First of 400 ports; the patient portal is on this one
    #[arg(long, value_name = "PORT")]
    base_port: Option<u16>,
    /// Keep nothing: a temporary directory and free ports, both gone at the end
    #[arg(long)]
    ephemeral: bool,
    /// A synthetic patient waits for you, with a moving picture and sound
    #[arg(long)]
    bots: bool,
    /// The portals' builds; found beside the checkout or the installation otherwise
    #[arg(long, value_name = "DIR")]
    portals: Option<PathBuf>,
    /// What else the control nodes' files say (TOML), a relay that stands by itself for example
    #[arg(long, value_name = "FILE")]
    control_config: Option<PathBuf>,
    /// Write addresses, logins and process ids there as JSON once everything is up
    #[arg(long, value_name = "FILE")]
    system_file: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<DemoCommand>,
}

/// What else can be asked of a demo.
#[derive(Subcommand, Clone, Debug)]
enum DemoCommand {
    /// Print the code that somebody's authenticator app shows now
    Code(code::CodeArgs),
}

/// Runs the demo until a signal.
///
/// # Errors
/// When something needed is missing or does not come up; what was started is stopped first.
pub async fn run(args: DemoArgs) -> anyhow::Result<()> {
    if let Some(DemoCommand::Code(whose)) = &args.command {
        return code::run(whose, args.state);
    }
    let screen = Screen::new();
    let temporary = args.ephemeral.then(temporary_dir).transpose()?;
    let state = match (&temporary, &args.state) {
        (Some(dir), _) => dir.clone(),
        (None, Some(dir)) => dir.clone(),
        (None, None) => layout::default_state_dir(),
    };
    let outcome = run_in(&args, &screen, state).await;
    if let Some(dir) = temporary {
        fs::remove_dir_all(&dir).with_context(|| format!("cannot remove {}", dir.display()))?;
    }
    outcome
}

async fn run_in(args: &DemoArgs, screen: &Screen, state: PathBuf) -> anyhow::Result<()> {
    prepare_dir(&state)?;
    let state = state.canonicalize()?;
    let base_port = match args.base_port {
        Some(port) => port,
        None if args.ephemeral => layout::free_base_port()?,
        None => BASE_PORT,
    };
    let layout = Layout { state, base_port };
    // Held until everything has stopped: a second one would take the database's socket from under the first.
    let _lock = lock(&layout.state)?;
    anyhow::ensure!(
        base_port <= u16::MAX - layout::PORTS,
        "--base-port leaves no room for {} ports above it",
        layout::PORTS
    );
    if let Some(port) = layout.taken_port() {
        anyhow::bail!("port {port} is in use; choose other ports with --base-port");
    }
    let portals = portals_dir(args.portals.clone())?;
    let more = args
        .control_config
        .as_deref()
        .map(configs::read_more)
        .transpose()?;
    let mut system = System::new(layout, portals, more.unwrap_or_default(), args.ephemeral)?;
    let mut signal = Box::pin(terminate_signal());
    let outcome = tokio::select! {
        outcome = start(args, screen, &mut system) => outcome,
        _ = &mut signal => { system.stop(screen).await; return Ok(()); }
    };
    if outcome.is_ok() {
        signal.await?;
        screen.line("");
    }
    system.stop(screen).await;
    outcome
}

async fn start(args: &DemoArgs, screen: &Screen, system: &mut System) -> anyhow::Result<()> {
    screen.line("medmesh demo");
    system.start(screen).await?;
    if args.bots {
        let step = screen.step("synthetic patient");
        system.start_bots()?;
        step.done();
    }
    if let Some(path) = &args.system_file {
        system.write_system_file(path)?;
    }
    system.introduce(screen);
    Ok(())
}

/// The state directory: others may pass through it (PostgreSQL's user must), not look into it.
fn prepare_dir(dir: &PathBuf) -> anyhow::Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o711))?;
    for name in ["config", "log"] {
        fs::create_dir_all(dir.join(name))?;
        fs::set_permissions(dir.join(name), fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}

/// Makes sure that no other demo runs on this data.
fn lock(state: &Path) -> anyhow::Result<File> {
    let path = state.join("lock");
    let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => anyhow::bail!(
            "another demo runs on {}; stop it, or say where this one keeps its data (--state)",
            state.display()
        ),
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("cannot lock {}", path.display()))
        }
    }
}

fn temporary_dir() -> anyhow::Result<PathBuf> {
    let dir = std::env::temp_dir().join(format!("medmesh-demo-{}", std::process::id()));
    fs::create_dir(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    Ok(dir)
}

/// Portals as built in a checkout, or as installed beside the binary.
fn portals_dir(told: Option<PathBuf>) -> anyhow::Result<PathBuf> {
    let installed = || {
        Some(
            std::env::current_exe()
                .ok()?
                .parent()?
                .join("../share/medmesh/portals"),
        )
    };
    let candidates = match told {
        Some(dir) => vec![dir],
        None => [Some(PathBuf::from("api/portals/dist")), installed()]
            .into_iter()
            .flatten()
            .collect(),
    };
    let found = candidates
        .iter()
        .find(|dir| dir.join("patient/index.html").exists());
    let found =
        found.context("the portals are not built; run `make portals` or say where they are (--portals)")?;
    Ok(found.canonicalize()?)
}
