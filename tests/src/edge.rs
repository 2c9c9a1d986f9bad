//! An edge in this process, enrolled with a control node of the same test.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

use medmesh_api_client::{IdempotencyKey, Operator};
use medmesh_base::EdgeId;
use medmesh_edge::{Config, Edge, StartError};
use tempfile::TempDir;

use crate::control::ControlNode;

/// How long the port of an edge that stopped may stay taken.
const PORT_PATIENCE: Duration = Duration::from_secs(10);

/// A running edge with its files.
pub struct EdgeNode {
    edge: Edge,
    files: EdgeFiles,
}

/// What is on disk of an edge that does not run.
pub struct EdgeFiles {
    dir: TempDir,
    name: String,
    region: String,
    /// Where its link listens; port 0 until it has run.
    link: SocketAddr,
}

impl EdgeFiles {
    /// Puts a fresh join token where the edge looks for one.
    pub async fn put_token(&self, control: &ControlNode) {
        let token = operator(control)
            .join_token_create(&IdempotencyKey::fresh(), None)
            .await
            .expect("an operator gets a join token");
        std::fs::write(self.dir.path().join("join.token"), token.token.expose())
            .expect("the directory is writable");
    }

    /// Takes the join token away, as careful operators do.
    pub fn take_token(&self) {
        std::fs::remove_file(self.dir.path().join("join.token")).expect("there was a token");
    }

    /// Its key and certificate, as they are on disk.
    #[must_use]
    pub fn identity(&self) -> Vec<u8> {
        std::fs::read(self.dir.path().join("identity.pem")).expect("it has enrolled")
    }

    /// Starts the edge from its files, where it was reached before; what it says when it does not start.
    ///
    /// # Errors
    /// The error with its causes, and the files.
    pub async fn start(mut self) -> Result<EdgeNode, (String, Self)> {
        let deadline = Instant::now() + PORT_PATIENCE;
        loop {
            let config = config(self.dir.path(), &self.name, &self.region, self.link);
            match Edge::start(config).await {
                Ok(edge) => {
                    self.link = edge.addresses().link;
                    return Ok(EdgeNode { edge, files: self });
                }
                // QUIC closes its socket a moment after its last handle is gone.
                Err(StartError::Link(_)) if Instant::now() < deadline => tokio::task::yield_now().await,
                Err(error) => return Err((causes(&error), self)),
            }
        }
    }
}

impl EdgeNode {
    /// Enrols and starts an edge; whoever asks for a place right after may be told that it is not
    /// known to be healthy yet.
    pub async fn start(control: &ControlNode, name: &str, region: &str) -> Self {
        let files = EdgeFiles {
            dir: tempfile::tempdir().expect("a temporary directory"),
            name: name.to_owned(),
            region: region.to_owned(),
            link: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        };
        files.put_token(control).await;
        let started = files.start().await.map_err(|(error, _)| error);
        started.expect("the edge enrols and starts")
    }

    /// Stops it and leaves its files.
    pub async fn stop_keeping_files(self) -> EdgeFiles {
        assert!(self.edge.drain().await, "the edge left something behind");
        self.files
    }

    /// Stops it, and starts it again from its files under this name, its link on another port.
    pub async fn restart(self, name: &str, region: &str) -> Self {
        let mut files = self.stop_keeping_files().await;
        files.name = name.to_owned();
        files.region = region.to_owned();
        files.link.set_port(0);
        let started = files.start().await.map_err(|(error, _)| error);
        started.expect("an enrolled edge starts from its files")
    }

    /// Which edge.
    #[must_use]
    pub fn id(&self) -> EdgeId {
        self.edge.id()
    }

    /// Base URL of its admin listener.
    #[must_use]
    pub fn admin_url(&self) -> &str {
        &self.edge.addresses().admin_url
    }

    /// Its data directory.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        self.files.dir.path()
    }

    /// The address of its link.
    #[must_use]
    pub fn link(&self) -> SocketAddr {
        self.edge.addresses().link
    }

    /// Stops it; panics when something had to be left behind.
    pub async fn stop(self) {
        assert!(self.edge.drain().await, "the edge left something behind");
    }
}

/// An operator at this control node.
#[must_use]
pub fn operator(control: &ControlNode) -> Operator {
    let token = control.site().operator_token();
    Operator::new(&control.url(), token.trim(), None).expect("the URL is one")
}

/// An error and what caused it, in one line.
fn causes(error: &dyn std::error::Error) -> String {
    std::iter::successors(error.source(), |cause| cause.source())
        .fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

fn config(dir: &Path, name: &str, region: &str, link: SocketAddr) -> Config {
    let text = config_text(dir, name, region, link);
    Config::from_text(Path::new("edge.toml"), &text).expect("the harness writes valid configurations")
}

/// The configuration of a test's edge, for one that runs in a process of its own. Its join token
/// is `join.token` in its directory.
#[must_use]
pub fn config_text(dir: &Path, name: &str, region: &str, link: SocketAddr) -> String {
    format!(
        r#"
[edge]
name = "{name}"
region = "{region}"
data_dir = "{dir}"
capacity_participants = 20
drain_seconds = 0
[control]
join_token_file = "{dir}/join.token"
[link]
listen = "{link}"
[signalling]
listen = "127.0.0.1:0"
[media]
address = "127.0.0.1"
shards = 1
[turn]
enabled = false
listen = "127.0.0.1:0"
[admin]
listen = "127.0.0.1:0"
"#,
        dir = dir.display()
    )
}
