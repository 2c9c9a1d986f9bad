//! An edge in this process, enrolled with a control node of the same test.

use std::net::SocketAddr;
use std::path::Path;

use medmesh_api_client::{IdempotencyKey, Operator};
use medmesh_base::EdgeId;
use medmesh_edge::{Config, Edge};
use tempfile::TempDir;

use crate::control::ControlNode;

/// A running edge with its files.
pub struct EdgeNode {
    edge: Edge,
    dir: TempDir,
}

impl EdgeNode {
    /// Enrols and starts an edge; whoever asks for a place right after may be told that it is not
    /// known to be healthy yet.
    pub async fn start(control: &ControlNode, name: &str, region: &str) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let token = operator(control)
            .join_token_create(&IdempotencyKey::fresh(), None)
            .await
            .expect("an operator gets a join token");
        std::fs::write(dir.path().join("join.token"), token.token.expose())
            .expect("the directory is writable");
        let edge = Edge::start(config(dir.path(), name, region))
            .await
            .expect("the edge enrols and starts");
        Self { edge, dir }
    }

    /// Stops it, and starts it again from its files.
    pub async fn restart(self, name: &str, region: &str) -> Self {
        assert!(self.edge.drain().await, "the edge left something behind");
        let edge = Edge::start(config(self.dir.path(), name, region)).await;
        Self {
            edge: edge.expect("an enrolled edge starts from its files"),
            dir: self.dir,
        }
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
        self.dir.path()
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

fn config(dir: &Path, name: &str, region: &str) -> Config {
    let text = format!(
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
listen = "127.0.0.1:0"
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
    );
    Config::from_text(Path::new("edge.toml"), &text).expect("the harness writes valid configurations")
}
