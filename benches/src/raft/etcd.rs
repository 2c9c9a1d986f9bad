//! Debian's etcd: three members, default settings, fsync on.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Channel;

use super::Committer;

/// A group that does not answer by then is broken.
const START_PATIENCE: Duration = Duration::from_secs(30);

/// Three etcd processes; killed when dropped.
pub(crate) struct Group {
    members: Vec<Child>,
    client: Client,
}

/// A client of the leader.
#[derive(Clone)]
pub(crate) struct Client {
    channel: Channel,
}

// The few fields of etcd's API (etcdserverpb, `rpc.proto`) that a put needs.

#[derive(Clone, PartialEq, prost::Message)]
struct PutRequest {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PutResponse {}

#[derive(Clone, PartialEq, prost::Message)]
struct StatusRequest {}

#[derive(Clone, PartialEq, prost::Message)]
struct StatusResponse {
    #[prost(message, optional, tag = "1")]
    header: Option<ResponseHeader>,
    #[prost(uint64, tag = "4")]
    leader: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ResponseHeader {
    #[prost(uint64, tag = "2")]
    member_id: u64,
}

impl Client {
    async fn call<Q, A>(&self, method: &'static str, request: Q) -> anyhow::Result<A>
    where
        Q: prost::Message + Default + 'static,
        A: prost::Message + Default + 'static,
    {
        let mut grpc = Grpc::new(self.channel.clone());
        grpc.ready().await?;
        let codec = tonic_prost::ProstCodec::<Q, A>::default();
        let path = PathAndQuery::from_static(method);
        Ok(grpc
            .unary(tonic::Request::new(request), path, codec)
            .await?
            .into_inner())
    }

    async fn leads(&self) -> anyhow::Result<bool> {
        let status: StatusResponse = self
            .call("/etcdserverpb.Maintenance/Status", StatusRequest {})
            .await?;
        Ok(status.leader != 0
            && status
                .header
                .is_some_and(|header| header.member_id == status.leader))
    }
}

impl Committer for Client {
    async fn commit(&self, key: u64, value: Vec<u8>) -> anyhow::Result<()> {
        let request = PutRequest {
            key: format!("key-{key}").into_bytes(),
            value,
        };
        let _: PutResponse = self.call("/etcdserverpb.KV/Put", request).await?;
        Ok(())
    }
}

impl Group {
    pub(crate) async fn start(directory: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(directory)?;
        let sockets: Vec<TcpListener> = (0..6)
            .map(|_| TcpListener::bind("127.0.0.1:0"))
            .collect::<Result<_, _>>()?;
        let urls: Vec<String> = sockets
            .iter()
            .map(|socket| Ok(format!("http://{}", socket.local_addr()?)))
            .collect::<std::io::Result<_>>()?;
        drop(sockets);
        let (peers, clients) = urls.split_at(3);
        let cluster: Vec<String> = peers
            .iter()
            .zip(1..)
            .map(|(url, id)| format!("m{id}={url}"))
            .collect();
        let cluster = cluster.join(",");
        let mut members = Vec::new();
        for (id, (peer, client)) in (1..).zip(peers.iter().zip(clients)) {
            let log = std::fs::File::create(directory.join(format!("m{id}.log")))?;
            let member = Command::new("etcd")
                .args(["--name", &format!("m{id}"), "--initial-cluster", &cluster])
                .args(["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer])
                .args(["--listen-client-urls", client, "--advertise-client-urls", client])
                .args([
                    "--initial-cluster-state",
                    "new",
                    "--log-level",
                    "error",
                    "--data-dir",
                ])
                .arg(directory.join(format!("m{id}")))
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(log)
                .spawn()
                .context("cannot start etcd (Debian: etcd-server)")?;
            members.push(member);
        }
        let candidates: Vec<Client> = clients
            .iter()
            .map(|url| {
                Ok(Client {
                    channel: Channel::from_shared(url.clone())?.connect_lazy(),
                })
            })
            .collect::<anyhow::Result<_>>()?;
        let client = tokio::time::timeout(START_PATIENCE, find_leader(&candidates))
            .await
            .context("etcd elected no leader")?;
        Ok(Self { members, client })
    }

    pub(crate) fn client(&self) -> Client {
        self.client.clone()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for member in &mut self.members {
            // It may have ended already.
            let _ = member.kill();
            let _ = member.wait();
        }
    }
}

async fn find_leader(candidates: &[Client]) -> Client {
    let mut pause = tokio::time::interval(Duration::from_millis(100));
    loop {
        pause.tick().await;
        for candidate in candidates {
            if candidate.leads().await.unwrap_or(false) {
                return candidate.clone();
            }
        }
    }
}
