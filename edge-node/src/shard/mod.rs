//! Shards: one OS thread each, with its own UDP socket and its own rooms, sharing
//! nothing. The rest of the edge talks to them in [`Command`]s over bounded queues
//! and hears [`Notice`]s; a shard never waits for either.

mod counters;
mod egress;
mod ingress;
mod run;
mod wake;

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::thread::JoinHandle;

use arc_swap::ArcSwap;
use bytes::Bytes;
use medmesh_base::{EdgeId, ParticipantId, RoomId};
use medmesh_sfu::{
    Event, IceRestarted, Join, JoinError, Joined, LeaveReason, Limits, MeshMessage, ResourceId, RestartError,
    SessionView, SfuConfig, Stats, flow_shard, generate_certificate,
};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::{mpsc, oneshot};

use crate::mesh::PeerPort;
use counters::Counters;
pub(crate) use counters::LoopStats;
use wake::Bell;

/// Commands waiting at a shard: a second of a busy host's joins.
const COMMANDS_MAX: usize = 1024;
/// Mesh datagrams waiting at a shard: 100 ms at 80,000 packets a second.
const MESH_QUEUE_MAX: usize = 8192;
/// Socket buffers. With Linux's default of 208 KB the kernel drops bursts before we see them.
const SOCKET_BUFFER_BYTES: usize = 4 * 1024 * 1024;

/// What the rest of the edge asks of a shard.
pub(crate) enum Command {
    /// A verified participant with an offer.
    Join {
        join: Box<Join>,
        jti: String,
        reply: oneshot::Sender<Result<Joined, JoinError>>,
    },
    /// Whose connection is this?
    Owner {
        resource: ResourceId,
        reply: oneshot::Sender<Option<Connection>>,
    },
    /// New ICE credentials.
    Restart {
        resource: ResourceId,
        fragment: String,
        reply: oneshot::Sender<Result<IceRestarted, RestartError>>,
    },
    /// The participant left.
    Delete { resource: ResourceId },
    /// The control plane takes somebody out.
    Leave {
        room: RoomId,
        participant: ParticipantId,
        reason: LeaveReason,
    },
    /// The control plane closes a room.
    RoomEnd { room: RoomId, reason: LeaveReason },
    /// Everybody should move on.
    Migrate { reason: &'static str },
    /// Everybody still here is put out.
    EndAll { reason: LeaveReason },
    /// A link is up, or its limit changed.
    MeshUp { port: PeerPort },
    /// A link is gone.
    MeshDown { peer: EdgeId },
    /// A message from a peer.
    MeshMessage { peer: EdgeId, message: MeshMessage },
    /// How many local participants are there, after everything asked before?
    Count { reply: oneshot::Sender<usize> },
    /// The thread ends.
    Stop,
}

/// A connection as its shard knows it.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    pub(crate) room: RoomId,
    pub(crate) participant: ParticipantId,
    pub(crate) jti: String,
    pub(crate) etag: String,
}

/// A media datagram from a peer.
pub(crate) struct MeshInput {
    pub(crate) peer: EdgeId,
    pub(crate) flow: u32,
    pub(crate) body: Bytes,
}

/// What a shard tells the rest of the edge.
#[derive(Debug)]
pub(crate) enum Notice {
    /// It needs a link to this peer.
    MeshWanted { shard: u8, peer: EdgeId, link: String },
    /// It needs that link no more.
    MeshIdle { shard: u8, peer: EdgeId },
    /// Something to log.
    Event(Event),
}

/// What a shard shows of itself, refreshed twice a second.
#[derive(Clone, Debug, Default)]
pub(crate) struct View {
    pub(crate) stats: Stats,
    pub(crate) sessions: Vec<SessionView>,
}

/// The shard did not take it: it is overloaded or gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the shard is not taking commands")]
pub(crate) struct ShardBusy;

struct Handle {
    commands: mpsc::Sender<Command>,
    mesh: mpsc::Sender<MeshInput>,
    bell: Bell,
    counters: Arc<Counters>,
    view: Arc<ArcSwap<View>>,
    address: SocketAddr,
}

/// All shards of this edge; clones speak to the same ones.
#[derive(Clone)]
pub(crate) struct Shards(Arc<Vec<Handle>>);

/// The sockets, bound before anything runs so that a taken port is a start-up error.
pub(crate) struct Sockets {
    pub(crate) sockets: Vec<UdpSocket>,
    /// What goes into ICE candidates.
    pub(crate) addresses: Vec<SocketAddr>,
}

impl Sockets {
    pub(crate) fn bind(media: &crate::config::MediaSection) -> std::io::Result<Self> {
        let mut sockets = Vec::new();
        let mut addresses = Vec::new();
        for index in 0..media.shard_count() {
            let port = if media.port_base == 0 {
                0
            } else {
                media.port_base + index
            };
            let bind = SocketAddr::new(media.bind.unwrap_or(media.address), port);
            let socket = Socket::new(Domain::for_address(bind), Type::DGRAM, Some(Protocol::UDP))?;
            // The kernel may grant less; that is its operator's business, not an error.
            let _ = socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES);
            let _ = socket.set_send_buffer_size(SOCKET_BUFFER_BYTES);
            socket.bind(&bind.into())?;
            let socket = UdpSocket::from(socket);
            addresses.push(SocketAddr::new(media.address, socket.local_addr()?.port()));
            sockets.push(socket);
        }
        Ok(Self { sockets, addresses })
    }

    /// As the control plane is told of them: neighbouring ports in one, `address:low-high`.
    pub(crate) fn ranges(&self) -> Vec<String> {
        ranges(&self.addresses)
    }
}

fn ranges(addresses: &[SocketAddr]) -> Vec<String> {
    let mut sorted = addresses.to_vec();
    sorted.sort_unstable();
    let mut ranges: Vec<(SocketAddr, u16)> = Vec::new();
    for address in sorted {
        match ranges.last_mut() {
            Some((first, last))
                if first.ip() == address.ip() && last.checked_add(1) == Some(address.port()) =>
            {
                *last = address.port();
            }
            _ => ranges.push((address, address.port())),
        }
    }
    let shown = ranges.iter().map(|(first, last)| format!("{first}-{last}"));
    shown.collect()
}

/// The threads, to be joined at the end.
pub(crate) struct Threads(Vec<JoinHandle<()>>);

impl Shards {
    /// Starts a thread per socket. They end when every clone of the returned handle is gone.
    pub(crate) fn spawn(
        edge: EdgeId,
        limits: &Limits,
        sockets: Sockets,
        notices: &mpsc::Sender<Notice>,
    ) -> std::io::Result<(Self, Threads)> {
        let certificate = generate_certificate();
        let mut handles = Vec::new();
        let mut threads = Vec::new();
        for (index, (socket, address)) in sockets.sockets.into_iter().zip(sockets.addresses).enumerate() {
            let shard = u8::try_from(index).map_err(std::io::Error::other)?;
            let (commands, commands_in) = mpsc::channel(COMMANDS_MAX);
            let (mesh, mesh_in) = mpsc::channel(MESH_QUEUE_MAX);
            let bell = Bell::new()?;
            let counters = Arc::new(Counters::default());
            let view = Arc::new(ArcSwap::from_pointee(View::default()));
            let config = SfuConfig {
                edge,
                shard,
                dtls_cert: certificate.clone(),
                candidates: vec![address],
                seed: rand::random(),
                limits: limits.clone(),
            };
            let runner = run::Runner::new(
                config,
                socket,
                address,
                run::Ends {
                    commands: commands_in,
                    mesh: mesh_in,
                    bell: bell.clone(),
                    notices: notices.clone(),
                    counters: Arc::clone(&counters),
                    view: Arc::clone(&view),
                },
            )?;
            let thread = std::thread::Builder::new()
                .name(format!("shard-{shard}"))
                .spawn(move || runner.run())?;
            threads.push(thread);
            handles.push(Handle {
                commands,
                mesh,
                bell,
                counters,
                view,
                address,
            });
        }
        Ok((Self(Arc::new(handles)), Threads(threads)))
    }

    /// Which shard keeps a room. Room ids are UUIDv7: their last bytes are random.
    pub(crate) fn of_room(&self, room: RoomId) -> u8 {
        let low = room.as_uuid().as_u64_pair().1;
        let index = low % self.0.len() as u64;
        u8::try_from(index).expect("there are at most 256 shards")
    }

    fn handle(&self, shard: u8) -> Option<&Handle> {
        self.0.get(usize::from(shard))
    }

    /// Gives a command to a shard now, or says that it cannot take one.
    pub(crate) fn offer(&self, shard: u8, command: Command) -> Result<(), ShardBusy> {
        let handle = self.handle(shard).ok_or(ShardBusy)?;
        handle.commands.try_send(command).map_err(|_| {
            handle.counters.command_refused();
            ShardBusy
        })?;
        handle.bell.ring();
        Ok(())
    }

    /// Gives a command to a shard, waiting for room: for what must not be lost.
    pub(crate) async fn send(&self, shard: u8, command: Command) {
        if let Some(handle) = self.handle(shard)
            && handle.commands.send(command).await.is_ok()
        {
            handle.bell.ring();
        }
    }

    /// Gives every shard a command that must not be lost.
    pub(crate) async fn send_all(&self, command: impl Fn() -> Command) {
        for shard in self.numbers() {
            self.send(shard, command()).await;
        }
    }

    /// Gives a media datagram to the shard that asked for its flow; drops it when that shard lags.
    pub(crate) fn push_mesh(&self, input: MeshInput) {
        let Some(handle) = self.handle(flow_shard(input.flow)) else {
            return;
        };
        match handle.mesh.try_send(input) {
            Ok(()) => handle.bell.ring(),
            Err(_) => handle.counters.mesh_queue_full(),
        }
    }

    /// The shards' numbers.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = u8> + use<> {
        (0..=u8::MAX).take(self.0.len())
    }

    /// The addresses in ICE candidates, one per shard.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.0.iter().map(|handle| handle.address).collect()
    }

    /// Local participants now, counted behind every command given before. A shard that has
    /// ended has none.
    pub(crate) async fn participants(&self) -> usize {
        let mut sum = 0;
        for shard in self.numbers() {
            let (reply, answer) = oneshot::channel();
            self.send(shard, Command::Count { reply }).await;
            sum += answer.await.unwrap_or(0);
        }
        sum
    }

    /// Asks every thread to end. A queue that is full belongs to a thread that ends when
    /// the last handle is dropped.
    pub(crate) fn stop(&self) {
        for shard in self.numbers() {
            let _ = self.offer(shard, Command::Stop);
        }
    }

    /// What each shard showed last.
    pub(crate) fn views(&self) -> Vec<(LoopStats, Arc<View>)> {
        self.0
            .iter()
            .map(|handle| (handle.counters.read(), handle.view.load_full()))
            .collect()
    }
}

impl Threads {
    /// Waits for the threads; call after the last [`Shards`] is gone.
    /// False when one of them had panicked.
    pub(crate) fn join(self) -> bool {
        // Collected first: every thread is waited for, whatever became of the others.
        let ends: Vec<_> = self.0.into_iter().map(JoinHandle::join).collect();
        ends.iter().all(Result::is_ok)
    }

    /// Whether a thread ended although nobody asked it to.
    pub(crate) fn any_finished(&self) -> bool {
        self.0.iter().any(JoinHandle::is_finished)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbouring_sockets_are_told_as_one_range() {
        let told = |addresses: &[&str]| {
            let addresses: Vec<SocketAddr> = addresses.iter().map(|one| one.parse().unwrap()).collect();
            ranges(&addresses)
        };
        let host = ["192.0.2.9:10001", "192.0.2.9:10000", "192.0.2.9:10002"];
        assert_eq!(told(&host), ["192.0.2.9:10000-10002"]);
        let apart = ["[2001:db8::9]:65535", "192.0.2.9:40000", "192.0.2.9:40002"];
        assert_eq!(
            told(&apart),
            [
                "192.0.2.9:40000-40000",
                "192.0.2.9:40002-40002",
                "[2001:db8::9]:65535-65535"
            ]
        );
        assert!(told(&[]).is_empty());
    }
}
