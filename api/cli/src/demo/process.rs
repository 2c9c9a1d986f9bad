//! One supervised program: started, restarted when it dies, stopped in order.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// How long a program may take to stop before it is killed.
const STOP_PATIENCE: Duration = Duration::from_secs(10);
/// First pause before a restart; doubles up to [`RESTART_PAUSE_MAX`].
const RESTART_PAUSE_MIN: Duration = Duration::from_millis(200);
/// Longest pause: a person watching should not wonder whether it is still tried.
const RESTART_PAUSE_MAX: Duration = Duration::from_secs(5);
/// A run longer than this was a good one: the next pause is short again.
const GOOD_RUN: Duration = Duration::from_secs(10);

/// What to run.
#[derive(Clone, Debug)]
pub(super) struct Program {
    /// Short name; also the log file's.
    pub(super) name: String,
    pub(super) binary: PathBuf,
    pub(super) arguments: Vec<String>,
    pub(super) environment: Vec<(String, String)>,
}

/// A running program and the task that keeps it running.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) name: String,
    pid: Arc<AtomicI32>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Process {
    /// Starts the program with its output in `log_dir/NAME.log`.
    ///
    /// # Errors
    /// When the first start fails; later failures are retried.
    pub(super) fn start(program: Program, log_dir: &Path) -> anyhow::Result<Self> {
        let log_path = log_dir.join(format!("{}.log", program.name));
        let child = spawn(&program, &log_path)?;
        let pid = Arc::new(AtomicI32::new(pid_of(&child)));
        let (stop, stopping) = watch::channel(false);
        let name = program.name.clone();
        let supervisor = Supervisor {
            program,
            log_path,
            pid: pid.clone(),
            stopping,
        };
        let task = tokio::spawn(supervisor.run(child));
        Ok(Self {
            name,
            pid,
            stop,
            task,
        })
    }

    /// The current process id; 0 between two runs.
    pub(super) fn pid(&self) -> i32 {
        self.pid.load(Ordering::Relaxed)
    }

    /// Asks it to stop (SIGTERM), kills it when it does not, and waits.
    pub(super) async fn stop(self) {
        // The receiver lives as long as the task; if that is gone, so is the process.
        let _ = self.stop.send(true);
        let _ = self.task.await;
    }
}

struct Supervisor {
    program: Program,
    log_path: PathBuf,
    pid: Arc<AtomicI32>,
    stopping: watch::Receiver<bool>,
}

impl Supervisor {
    async fn run(mut self, mut child: Child) {
        let mut pause = RESTART_PAUSE_MIN;
        loop {
            let started = Instant::now();
            tokio::select! {
                status = child.wait() => {
                    self.pid.store(0, Ordering::Relaxed);
                    tracing::warn!(program = self.program.name, status = ?status.ok(), "program ended; restarting");
                }
                () = told_to_stop(&mut self.stopping) => return end(&mut child).await,
            }
            if started.elapsed() > GOOD_RUN {
                pause = RESTART_PAUSE_MIN;
            }
            child = loop {
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    () = told_to_stop(&mut self.stopping) => return,
                }
                pause = (pause * 2).min(RESTART_PAUSE_MAX);
                match spawn(&self.program, &self.log_path) {
                    Ok(child) => break child,
                    Err(error) => {
                        tracing::warn!(program = self.program.name, %error, "cannot restart program");
                    }
                }
            };
            self.pid.store(pid_of(&child), Ordering::Relaxed);
        }
    }
}

async fn told_to_stop(stopping: &mut watch::Receiver<bool>) {
    // An error means that nobody is left who could say so, which is the same.
    let _ = stopping.wait_for(|stop| *stop).await;
}

async fn end(child: &mut Child) {
    let pid = pid_of(child);
    if pid > 0 {
        // ESRCH means it is gone already, which is what is wanted.
        let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
    }
    if tokio::time::timeout(STOP_PATIENCE, child.wait()).await.is_err() {
        let _ = child.kill().await;
    }
}

fn pid_of(child: &Child) -> i32 {
    child.id().and_then(|id| i32::try_from(id).ok()).unwrap_or(0)
}

/// Starts it in a process group of its own, so that Ctrl-C reaches only us, and
/// (through `setpriv`) with a death signal, so that it never outlives us.
fn spawn(program: &Program, log_path: &Path) -> anyhow::Result<Child> {
    let log = append(log_path)?;
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "TERM", "--"])
        .arg(&program.binary)
        .args(&program.arguments);
    command.envs(program.environment.iter().map(|(key, value)| (key, value)));
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    command.process_group(0).kill_on_drop(true);
    command
        .spawn()
        .with_context(|| format!("cannot start {}", program.binary.display()))
}

fn append(path: &Path) -> anyhow::Result<File> {
    let open = OpenOptions::new().create(true).append(true).open(path);
    open.with_context(|| format!("cannot write log {}", path.display()))
}
