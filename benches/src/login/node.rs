//! The control node under the flood, as a process of its own.

use std::io::Write as _;
use std::process::Stdio;

use anyhow::Context as _;
use medmesh_tests::control::{ControlNode, TestClinic, Wishes};
use medmesh_tests::postgres::Scratch;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// Where the node is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Site {
    pub(super) url: String,
}

/// The name of its clinic; part of everybody's address.
pub(super) const CLINIC: &str = "riverside";

/// A running node. It ends when this is dropped.
pub(super) struct Process {
    child: Child,
    site: Site,
}

impl Process {
    pub(super) async fn start() -> anyhow::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("login-node")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let output = child.stdout.take().context("piped")?;
        let line = BufReader::new(output)
            .lines()
            .next_line()
            .await?
            .context("the node did not start")?;
        let site = serde_json::from_str(&line).context("the node said something else")?;
        Ok(Self { child, site })
    }

    pub(super) const fn site(&self) -> &Site {
        &self.site
    }

    /// Resident memory.
    pub(super) fn memory_bytes(&self) -> anyhow::Result<u64> {
        let id = self.child.id().context("the node has ended")?;
        let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .context("no VmRSS")?;
        let kib: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
        Ok(kib * 1024)
    }
}

/// Runs the node until standard input ends.
///
/// # Errors
/// When it does not start.
pub fn run() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let scratch = Scratch::database().await?;
        TestClinic::open(&scratch, CLINIC).await;
        let wishes = Wishes {
            trust_forwarded_for: true,
            ..Wishes::default()
        };
        let node = ControlNode::start(&scratch, &wishes).await;
        let site = Site { url: node.url() };
        let mut output = std::io::stdout();
        writeln!(output, "{}", serde_json::to_string(&site)?)?;
        output.flush()?;
        tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink())).await??;
        node.stop().await;
        Ok(())
    })
}
