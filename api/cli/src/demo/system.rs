//! The processes of a demo, in the order they lean on each other.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use medmesh_api_client::{IdempotencyKey, Operator};
use medmesh_api_types::fleet::EdgeHealth;
use medmesh_base::VisitId;

use super::configs::{self, CLUSTER, ClusterFiles, EDGE_NAMES};
use super::layout::{CONTROL_NODES, EDGES, Layout};
use super::people::{self, Login};
use super::process::{Process, Program};
use super::screen::Screen;
use super::{booking, bots, wait};

/// initdb, recovery and migrations on a slow disk.
const DATABASE_PATIENCE: Duration = Duration::from_secs(90);
/// Anything else: processes that start in well under a second.
const PATIENCE: Duration = Duration::from_secs(30);

/// Everything that runs.
pub(super) struct System {
    layout: Layout,
    portals: PathBuf,
    /// What the control nodes' files say besides.
    control_more: toml::Table,
    binaries: PathBuf,
    ephemeral: bool,
    logins: Vec<Login>,
    visit: Option<VisitId>,
    processes: Vec<Process>,
}

impl System {
    pub(super) fn new(
        layout: Layout,
        portals: PathBuf,
        control_more: toml::Table,
        ephemeral: bool,
    ) -> anyhow::Result<Self> {
        let own = std::env::current_exe()?;
        let binaries = own.parent().context("the binary has no directory")?.to_owned();
        for name in ["medmesh-control", "medmesh-edge"] {
            anyhow::ensure!(
                binaries.join(name).exists(),
                "{name} is missing beside {}",
                own.display()
            );
        }
        let logins = people::load_or_create(&layout)?;
        Ok(Self {
            layout,
            portals,
            control_more,
            binaries,
            ephemeral,
            logins,
            visit: None,
            processes: Vec::new(),
        })
    }

    /// Starts everything and waits until a visit can be joined.
    pub(super) async fn start(&mut self, screen: &Screen) -> anyhow::Result<()> {
        let step = screen.step("keys of the cluster");
        self.init_cluster().await?;
        step.done();
        let step = screen.step("PostgreSQL: schema, clinic, people");
        self.start_database().await?;
        step.done();
        let step = screen.step("Redis");
        self.start_redis().await?;
        step.done();
        let step = screen.step("three control nodes, one leader");
        self.start_controls().await?;
        step.done();
        let step = screen.step("two edges, enrolled and linked");
        self.start_edges().await?;
        step.done();
        let step = screen.step("a visit, booked for now");
        self.visit = Some(booking::visit_of_today(&self.url(0), &self.logins).await?);
        step.done();
        Ok(())
    }

    /// Stops everything, last started first.
    pub(super) async fn stop(&mut self, screen: &Screen) {
        let step = screen.step("everything stopped");
        while let Some(process) = self.processes.pop() {
            process.stop().await;
        }
        step.done();
    }

    /// A synthetic patient in a browser of its own.
    pub(super) fn start_bots(&mut self) -> anyhow::Result<()> {
        let login = self.login("patient")?.clone();
        let visit = self.visit.context("there is no visit yet")?;
        let program = bots::patient(&self.url(0), &login, visit)?;
        self.run(program)
    }

    /// Prints where to go and who to be.
    pub(super) fn introduce(&self, screen: &Screen) {
        let url = self.url(0);
        screen.line("\nready\n");
        for (key, portal) in [
            ("patient", "patient"),
            ("clinician", "clinician"),
            ("colleague", "clinician"),
            ("admin", "admin"),
        ] {
            if let Ok(login) = self.login(key) {
                screen.line(&format!("  {key:<10} {url}/{portal}/"));
                screen.line(&format!("  {:<10} {}   {}", "", login.email, login.password));
                if let Some(secret) = &login.totp_secret {
                    screen.line(&format!("  {:<10} authenticator key {secret}", ""));
                }
            }
        }
        let state = self.layout.state.display();
        screen.line(
            "\n  Staff confirm with a code. Put the key into an authenticator app, or ask for the code:",
        );
        screen.line(&format!(
            "  {} demo --state {state} code clinician",
            self.binaries.join("medmesh").display()
        ));
        let token = ClusterFiles::of(&self.layout).operator_token;
        screen.line("\n  For the operator, in another terminal:");
        screen.line(&format!(
            "  export MEDMESH_URL={url} MEDMESH_TOKEN_FILE={}",
            token.display()
        ));
        screen.line(&format!("  {} nodes", self.binaries.join("medmesh").display()));
        screen.line(&format!(
            "\n  Logs: {}   Ctrl-C stops everything.",
            self.layout.dir("log").display()
        ));
    }

    /// The system as JSON, for programs (tests, mostly) that want to use it.
    pub(super) fn write_system_file(&self, path: &Path) -> anyhow::Result<()> {
        let admin = |port: u16| format!("http://127.0.0.1:{port}");
        let edges: Vec<_> = (0..EDGES)
            .map(|e| {
                let (name, region) = EDGE_NAMES[usize::from(e)];
                serde_json::json!({
                    "name": name, "region": region,
                    "signalling_url": format!("http://localhost:{}", self.layout.signalling_port(e)),
                    "admin_url": admin(self.layout.edge_admin_port(e)),
                    "pid": self.pid(&format!("edge-{name}")),
                })
            })
            .collect();
        let controls: Vec<_> = (0..CONTROL_NODES)
            .map(|n| {
                serde_json::json!({
                    "id": n + 1, "http": self.url(n), "admin": admin(self.layout.control_admin_port(n)),
                    "pid": self.pid(&format!("control-{}", n + 1)),
                })
            })
            .collect();
        let logins: serde_json::Map<_, _> = self
            .logins
            .iter()
            .map(|l| {
                (
                    l.key.clone(),
                    serde_json::json!({ "email": l.email, "password": l.password, "totp_secret": l.totp_secret }),
                )
            })
            .collect();
        let system = serde_json::json!({
            "portal_url": self.url(0),
            "operator_token_file": ClusterFiles::of(&self.layout).operator_token,
            "log_dir": self.layout.dir("log"),
            "logins": logins,
            "visit_id": self.visit,
            "edges": edges,
            "controls": controls,
        });
        people::write_private(path, &serde_json::to_vec_pretty(&system)?)
    }

    async fn init_cluster(&self) -> anyhow::Result<()> {
        let mut command = tokio::process::Command::new(self.binaries.join("medmesh-control"));
        command
            .arg("cluster-init")
            .arg("--dir")
            .arg(self.layout.dir("cluster"))
            .args(["--cluster", CLUSTER]);
        let output = command.output().await?;
        anyhow::ensure!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(())
    }

    async fn start_database(&mut self) -> anyhow::Result<()> {
        let seed_file = people::write_seed(&self.layout, &self.logins)?;
        let socket = self.layout.dir("pg");
        // Left by a demo that was killed: nobody answers there.
        let _ = fs::remove_file(&socket);
        let mut arguments = vec![
            "database".to_owned(),
            format!("--dir={}", self.layout.dir("postgres").display()),
            format!("--socket-link={}", socket.display()),
            format!("--seed-file={}", seed_file.display()),
            format!("--vault-dir={}", self.layout.dir("cluster").display()),
        ];
        if self.ephemeral {
            arguments.push("--ephemeral".to_owned());
        }
        self.run(self.program("database", "medmesh-control", arguments))?;
        self.ready("PostgreSQL", "database", DATABASE_PATIENCE, async || {
            socket.exists()
        })
        .await
    }

    async fn start_redis(&mut self) -> anyhow::Result<()> {
        let dir = self.layout.dir("redis");
        fs::create_dir_all(&dir)?;
        let socket = dir.join("s");
        let _ = fs::remove_file(&socket);
        let arguments = [
            "--port",
            "0",
            "--save",
            "",
            "--appendonly",
            "no",
            "--unixsocketperm",
            "700",
        ];
        let mut arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        arguments.extend(["--unixsocket".into(), socket.display().to_string()]);
        arguments.extend(["--dir".into(), dir.display().to_string()]);
        self.run(Program {
            name: "redis".into(),
            binary: "redis-server".into(),
            arguments,
            environment: Vec::new(),
        })?;
        self.ready("Redis", "redis", PATIENCE, async || socket.exists())
            .await
    }

    async fn start_controls(&mut self) -> anyhow::Result<()> {
        let pg = self.layout.dir("pg");
        let database = format!(
            "postgres://medmesh_service@localhost:5432/medmesh?host={}",
            pg.display()
        );
        let redis = format!("unix://{}", self.layout.dir("redis").join("s").display());
        for node in 0..CONTROL_NODES {
            let config = configs::write_control(
                &self.layout,
                node,
                (&database, &redis),
                &self.portals,
                &self.control_more,
            )?;
            let name = format!("control-{}", node + 1);
            self.run(self.program(
                &name,
                "medmesh-control",
                vec![format!("--config={}", config.display())],
            ))?;
        }
        let operator = self.operator()?;
        self.ready("the control plane", "control-1", PATIENCE, async || {
            let has_leader = operator.raft().await.is_ok_and(|raft| raft.leader.is_some());
            // A node is known once it has introduced itself; join tokens name all of them.
            has_leader
                && operator.nodes().await.is_ok_and(|nodes| {
                    let known = nodes.controls.iter().filter(|node| node.http_url.is_some());
                    known.count() == usize::from(CONTROL_NODES)
                })
        })
        .await
    }

    async fn start_edges(&mut self) -> anyhow::Result<()> {
        let operator = self.operator()?;
        for edge in 0..EDGES {
            let config = configs::write_edge(&self.layout, edge)?;
            let name = EDGE_NAMES[usize::from(edge)].0;
            // Used by an edge without a certificate, or whose certificate ran out while the demo was off.
            let token = operator
                .join_token_create(&IdempotencyKey::fresh(), None)
                .await
                .context("no join token for an edge")?;
            let file = configs::join_token_file(&self.layout, edge);
            people::write_private(&file, token.token.expose().as_bytes())?;
            let arguments = vec![format!("--config={}", config.display())];
            self.run(self.program(&format!("edge-{name}"), "medmesh-edge", arguments))?;
        }
        self.ready("the edges", "edge-fra-1", PATIENCE, async || {
            let nodes = operator.nodes().await;
            nodes.is_ok_and(|nodes| {
                let healthy = nodes
                    .edges
                    .iter()
                    .filter(|edge| edge.health == EdgeHealth::Healthy);
                healthy.count() == usize::from(EDGES)
            })
        })
        .await
    }

    fn operator(&self) -> anyhow::Result<Operator> {
        let token = fs::read_to_string(ClusterFiles::of(&self.layout).operator_token)?;
        Ok(Operator::new(&self.url(0), token.trim(), None)?)
    }

    fn program(&self, name: &str, binary: &str, arguments: Vec<String>) -> Program {
        Program {
            name: name.into(),
            binary: self.binaries.join(binary),
            arguments,
            environment: Vec::new(),
        }
    }

    fn run(&mut self, program: Program) -> anyhow::Result<()> {
        self.processes
            .push(Process::start(program, &self.layout.dir("log"))?);
        Ok(())
    }

    /// Waits; when it does not come, says what the process's log says last.
    async fn ready(
        &self,
        what: &str,
        process: &str,
        patience: Duration,
        is_so: impl AsyncFnMut() -> bool,
    ) -> anyhow::Result<()> {
        let log = self.layout.dir("log").join(format!("{process}.log"));
        wait::until(what, patience, is_so).await.with_context(|| {
            let text = fs::read_to_string(&log).unwrap_or_default();
            format!(
                "{}: {}",
                log.display(),
                text.lines().next_back().unwrap_or("empty")
            )
        })
    }

    fn url(&self, node: u16) -> String {
        format!("http://localhost:{}", self.layout.http_port(node))
    }

    fn login(&self, key: &str) -> anyhow::Result<&Login> {
        self.logins
            .iter()
            .find(|login| login.key == key)
            .context("a login is missing")
    }

    fn pid(&self, name: &str) -> i32 {
        self.processes
            .iter()
            .find(|process| process.name == name)
            .map_or(0, Process::pid)
    }
}
