//! The loop of one shard: wait, take everything in, put everything out, flush.

use std::collections::{HashMap, VecDeque};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use medmesh_base::EdgeId;
use medmesh_sfu::{Event, Join, JoinError, Joined, LeaveReason, Output, ResourceId, Sfu, SfuConfig};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::{TryRecvError, TrySendError};

use super::counters::Counters;
use super::egress::{Datagram, Egress};
use super::ingress::Ingress;
use super::wake::Bell;
use super::{Command, Connection, MeshInput, Notice, View};
use crate::mesh::PeerPort;

/// Receive calls of one turn, each up to 32 slots: after that what came in goes out first,
/// or a flood would starve the sends.
const RECEIVES_PER_TURN: usize = 4;
/// Commands and mesh datagrams of one turn, for the same reason.
const COMMANDS_PER_TURN: usize = 64;
const MESH_PER_TURN: usize = 512;
/// How often the view for metrics and reports is refreshed.
const VIEW_INTERVAL: Duration = Duration::from_millis(500);
/// Notices kept while the rest of the edge is slow: several per room of a full shard.
const NOTICES_MAX: usize = 16_384;

/// The shard's ends of its queues.
pub(super) struct Ends {
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) mesh: mpsc::Receiver<MeshInput>,
    pub(super) bell: Bell,
    pub(super) notices: mpsc::Sender<Notice>,
    pub(super) counters: Arc<Counters>,
    pub(super) view: Arc<ArcSwap<View>>,
}

/// Whose token made a connection, and its ICE tag.
struct Made {
    jti: String,
    etag: String,
}

pub(super) struct Runner {
    sfu: Sfu,
    shard: u8,
    socket: UdpSocket,
    address: SocketAddr,
    ingress: Ingress,
    ends: Ends,
    ports: HashMap<EdgeId, PeerPort>,
    made: HashMap<ResourceId, Made>,
    notices: VecDeque<Notice>,
    deadline: Instant,
    view_due: Instant,
    more: bool,
}

impl Runner {
    pub(super) fn new(
        config: SfuConfig,
        socket: UdpSocket,
        address: SocketAddr,
        ends: Ends,
    ) -> std::io::Result<Self> {
        let now = Instant::now();
        Ok(Self {
            shard: config.shard,
            sfu: Sfu::new(now, config),
            ingress: Ingress::new(&socket)?,
            socket,
            address,
            ends,
            ports: HashMap::new(),
            made: HashMap::new(),
            notices: VecDeque::new(),
            deadline: now,
            view_due: now,
            more: false,
        })
    }

    /// Runs until the last handle is gone.
    pub(super) fn run(mut self) {
        // Not a field: the sendmmsg headers hold raw pointers and belong to this thread alone.
        let mut egress = Egress::new();
        loop {
            self.wait();
            let began = Instant::now();
            if !self.take_in(began) {
                return;
            }
            if began >= self.deadline {
                self.sfu.handle_timeout(began);
            }
            self.put_out(&mut egress);
            self.flush_notices();
            if began >= self.view_due {
                self.show(began);
            }
            self.ends.counters.turn(began.elapsed());
        }
    }

    fn wait(&mut self) {
        if std::mem::take(&mut self.more) {
            return;
        }
        let until = self.deadline.min(self.view_due);
        let pause = until.saturating_duration_since(Instant::now());
        let mut fds = [
            PollFd::new(self.socket.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.ends.bell.as_fd(), PollFlags::POLLIN),
        ];
        match ppoll(&mut fds, Some(TimeSpec::from_duration(pause)), None) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => tracing::error!(%error, "poll failed"),
        }
    }

    /// Takes in what is there, within bounds. False when the shard is to end.
    fn take_in(&mut self, now: Instant) -> bool {
        self.ends.bell.answer();
        for turn in 1..=RECEIVES_PER_TURN {
            let (sfu, local) = (&mut self.sfu, self.address);
            let received = self.ingress.receive(&self.socket, |source, datagram| {
                sfu.handle_datagram(now, source, local, datagram);
            });
            match received {
                Ok(batch) => {
                    if batch.datagrams > 0 {
                        self.ends.counters.received(batch.datagrams);
                    }
                    if !batch.more {
                        break;
                    }
                    self.more |= turn == RECEIVES_PER_TURN;
                }
                Err(_) => {
                    // An ICMP error of an earlier send surfaces here; nothing is lost by it.
                    self.ends.counters.receive_failed();
                    break;
                }
            }
        }
        for taken in 1..=MESH_PER_TURN {
            let Ok(input) = self.ends.mesh.try_recv() else {
                break;
            };
            self.sfu
                .handle_mesh_datagram(now, input.peer, input.flow, &input.body);
            self.more |= taken == MESH_PER_TURN;
        }
        for taken in 1..=COMMANDS_PER_TURN {
            match self.ends.commands.try_recv() {
                Ok(Command::Stop) => return false,
                Ok(command) => self.obey(now, command),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return false,
            }
            self.more |= taken == COMMANDS_PER_TURN;
        }
        true
    }

    fn obey(&mut self, now: Instant, command: Command) {
        // A reply nobody waits for any more (the browser hung up) is no error.
        match command {
            Command::Join { join, jti, reply } => {
                let joined = self.join(now, *join);
                if let Ok(joined) = &joined {
                    let etag = joined.etag.clone();
                    self.made.insert(joined.resource, Made { jti, etag });
                }
                let _ = reply.send(joined);
            }
            Command::Owner { resource, reply } => {
                let _ = reply.send(self.connection(resource));
            }
            Command::Restart {
                resource,
                fragment,
                reply,
            } => {
                let restarted = self.sfu.handle_ice_restart(now, resource, &fragment);
                if let (Ok(restarted), Some(made)) = (&restarted, self.made.get_mut(&resource)) {
                    made.etag.clone_from(&restarted.etag);
                }
                let _ = reply.send(restarted);
            }
            Command::Delete { resource } => {
                self.sfu.handle_delete(now, resource);
            }
            Command::Leave {
                room,
                participant,
                reason,
            } => {
                self.sfu.handle_leave(now, room, participant, reason);
            }
            Command::RoomEnd { room, reason } => {
                self.sfu.handle_room_end(now, room, reason);
            }
            Command::Migrate { reason } => self.sfu.handle_migrate(now, None, reason),
            Command::EndAll { reason } => self.end_all(now, reason),
            Command::MeshUp { port } => {
                let (peer, bytes_max) = (port.peer(), port.body_bytes_max());
                self.ports.insert(peer, port);
                self.sfu.handle_mesh_up(now, peer, bytes_max);
            }
            Command::MeshDown { peer } => {
                self.ports.remove(&peer);
                self.sfu.handle_mesh_down(now, peer);
            }
            Command::MeshMessage { peer, message } => {
                // What was on its way when the link ended belongs to no session any more.
                if self.ports.contains_key(&peer) {
                    self.sfu.handle_mesh_message(now, peer, message);
                }
            }
            Command::Count { reply } => {
                let _ = reply.send(self.sfu.sessions().count());
            }
            Command::Stop => {}
        }
    }

    /// Every newcomer raises the epoch of their room, so the token of somebody who was
    /// placed earlier (and may be on the way here at the same moment, or come back with a
    /// resume token) is older than the room without being stale. What is stale, a token
    /// older than its own participant's last one, admission has refused before.
    fn join(&mut self, now: Instant, join: Join) -> Result<Joined, JoinError> {
        match self.sfu.handle_join(now, join.clone()) {
            Err(JoinError::StaleEpoch { current }) => {
                let epoch = current;
                self.sfu.handle_join(now, Join { epoch, ..join })
            }
            settled => settled,
        }
    }

    fn connection(&self, resource: ResourceId) -> Option<Connection> {
        let (room, participant) = self.sfu.resource(resource)?;
        let made = self.made.get(&resource)?;
        Some(Connection {
            room,
            participant,
            jti: made.jti.clone(),
            etag: made.etag.clone(),
        })
    }

    fn end_all(&mut self, now: Instant, reason: LeaveReason) {
        let mut rooms: Vec<_> = self.sfu.sessions().map(|session| session.room).collect();
        rooms.sort_unstable();
        rooms.dedup();
        for room in rooms {
            self.sfu.handle_room_end(now, room, reason);
        }
    }

    fn put_out(&mut self, egress: &mut Egress) {
        let segments_max = self.ingress.gso_segments_max();
        loop {
            match self.sfu.poll_output() {
                Output::Transmit(transmit) => {
                    egress.push(Datagram {
                        destination: transmit.destination,
                        contents: transmit.contents,
                    });
                    if egress.is_full() {
                        egress.flush(&self.socket, segments_max, &self.ends.counters);
                    }
                }
                Output::MeshDatagram(datagram) => match self.ports.get(&datagram.peer) {
                    Some(port) => port.send_datagram(datagram.flow, &datagram.body),
                    None => self.ends.counters.mesh_no_link(),
                },
                Output::MeshMessage { peer, message } => {
                    if let Some(port) = self.ports.get(&peer) {
                        port.send_message(message);
                    }
                }
                Output::MeshWanted { peer, link } => {
                    let shard = self.shard;
                    self.notify(Notice::MeshWanted { shard, peer, link });
                }
                Output::MeshIdle { peer } => {
                    let shard = self.shard;
                    self.notify(Notice::MeshIdle { shard, peer });
                }
                Output::Event(event) => {
                    if let Event::Left { resource, .. } = &event {
                        self.made.remove(resource);
                    }
                    self.notify(Notice::Event(event));
                }
                Output::Timeout(deadline) => {
                    self.deadline = deadline;
                    break;
                }
            }
        }
        egress.flush(&self.socket, segments_max, &self.ends.counters);
    }

    fn notify(&mut self, notice: Notice) {
        if self.notices.len() < NOTICES_MAX {
            self.notices.push_back(notice);
        } else {
            self.ends.counters.notice_lost();
        }
    }

    fn flush_notices(&mut self) {
        while let Some(notice) = self.notices.pop_front() {
            match self.ends.notices.try_send(notice) {
                Ok(()) => {}
                Err(TrySendError::Full(notice)) => {
                    self.notices.push_front(notice);
                    return;
                }
                Err(TrySendError::Closed(_)) => self.notices.clear(),
            }
        }
    }

    fn show(&mut self, now: Instant) {
        self.view_due = now + VIEW_INTERVAL;
        self.ends.view.store(Arc::new(View {
            stats: self.sfu.stats().clone(),
            sessions: self.sfu.sessions().collect(),
        }));
    }
}
