//! Our group and its client.

use std::net::UdpSocket;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use medmesh_base::ControlId;
use medmesh_base::drain::Drain;
use medmesh_ledger::{Command as LedgerCommand, Response};
use medmesh_link::{ClusterCa, Expect, Peer, TrafficClass};
use medmesh_wire::consensus::ProposeRequest;
use medmesh_wire::consensus::leader_client::LeaderClient;
use tonic::transport::Channel;

use super::{Committer, node};

/// The id of the client's certificate: a control node's, since only those may propose.
const CLIENT_ID: u64 = 99;
/// A group that does not lead by then is broken.
const START_PATIENCE: Duration = Duration::from_secs(20);

/// Three node processes; killed when dropped.
pub(crate) struct Group {
    nodes: Vec<Child>,
    client: Client,
    _drain: Drain,
}

#[derive(Clone)]
pub(crate) struct Client {
    leader: LeaderClient<Channel>,
}

impl Group {
    pub(crate) async fn start(directory: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(directory)?;
        let ca = ClusterCa::create(node::CLUSTER.parse()?, time::OffsetDateTime::now_utc())?;
        ca.save(&directory.join("ca.pem"), &directory.join("ca.key"))?;
        // Free a moment ago; a bench that loses the race fails and is run again.
        let sockets: Vec<UdpSocket> = (0..3)
            .map(|_| UdpSocket::bind("127.0.0.1:0"))
            .collect::<Result<_, _>>()?;
        let addresses: Vec<String> = sockets
            .iter()
            .map(|socket| Ok(socket.local_addr()?.to_string()))
            .collect::<std::io::Result<_>>()?;
        drop(sockets);
        let peers: Vec<String> = addresses
            .iter()
            .zip(1..)
            .map(|(address, id)| format!("--peer={id}={address}"))
            .collect();
        let mut nodes = Vec::new();
        for id in 1..=3u64 {
            let node = Command::new(std::env::current_exe()?)
                .args(["raft-node", "--id", &id.to_string(), "--directory"])
                .arg(directory)
                .args(&peers)
                .stdin(Stdio::null())
                .spawn()
                .context("cannot start a node")?;
            nodes.push(node);
        }
        let drain = Drain::new();
        let registry = prometheus::Registry::new();
        let (endpoint, _) = node::endpoint(&ca, CLIENT_ID, "127.0.0.1:0".parse()?, &registry, &drain)?;
        let candidates: Vec<LeaderClient<Channel>> = addresses
            .iter()
            .zip(1..)
            .map(|(address, id)| {
                let peer = Peer::new(&endpoint, address.clone(), Expect::Control(ControlId(id)));
                LeaderClient::new(peer.channel(TrafficClass::Fleet))
            })
            .collect();
        let client = tokio::time::timeout(START_PATIENCE, find_leader(&candidates))
            .await
            .context("the nodes elected no leader")?;
        Ok(Self {
            nodes,
            client,
            _drain: drain,
        })
    }

    pub(crate) fn client(&self) -> Client {
        self.client.clone()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for node in &mut self.nodes {
            // It may have ended already.
            let _ = node.kill();
            let _ = node.wait();
        }
    }
}

async fn find_leader(candidates: &[LeaderClient<Channel>]) -> Client {
    let mut pause = tokio::time::interval(Duration::from_millis(100));
    loop {
        pause.tick().await;
        for candidate in candidates {
            let client = Client {
                leader: candidate.clone(),
            };
            if client.commit(0, vec![0]).await.is_ok() {
                return client;
            }
        }
    }
}

impl Committer for Client {
    async fn commit(&self, key: u64, value: Vec<u8>) -> anyhow::Result<()> {
        let command = LedgerCommand::CheckpointPut {
            name: format!("key-{key}"),
            bytes: value,
            now: 1,
        };
        let request = ProposeRequest {
            command: command.encode().into(),
        };
        let answer = self.leader.clone().propose(request).await?.into_inner();
        match Response::decode(&answer.response)? {
            Response::Done => Ok(()),
            other => anyhow::bail!("unexpected answer {other:?}"),
        }
    }
}
