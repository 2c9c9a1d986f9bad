//! Links to other edges: who is dialled, which session counts, and when a peer is lost.
//!
//! One task decides ([`Mesh::run`]); each session is a task of its own; the shards send
//! their datagrams and messages directly through a [`PeerPort`].

pub(crate) mod convert;
pub(crate) mod frame;
mod port;
mod session;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use medmesh_base::EdgeId;
use medmesh_base::drain::Drain;
use medmesh_link::{CloseReason, Endpoint, Expect, MeshStream, Peer as LinkPeer, QuicStream, Role, Session};
use parking_lot::RwLock;
use tokio::sync::{mpsc, oneshot, watch};

pub(crate) use port::{PeerCounters, PeerPort};

use crate::settings::Settings;
use crate::shard::{Command, Notice, Shards};
use session::{Context, SessionEnd};

/// Peers dialled ahead of need, so that a visit's first packet finds a link and the planner
/// knows the paths. Beyond this many, links are made when a room wants them.
const STANDING_LINKS_MAX: usize = 64;
/// Peers remembered for metrics and reports.
const PEERS_MAX: usize = 1024;
/// Happenings waiting for the deciding task.
const HAPPENINGS_MAX: usize = 1024;

/// Counters per peer, for metrics and reports.
pub(crate) type PeerTable = Arc<RwLock<BTreeMap<EdgeId, Arc<PeerCounters>>>>;

enum Happening {
    Dialled(EdgeId, Session, QuicStream),
    /// A session has introduced itself; it reads on once the shards know of it, because what
    /// a peer says first (who is in which room) would otherwise reach shards that know no such
    /// peer, and is said only once.
    Up(EdgeId, usize, PeerPort, oneshot::Sender<()>),
    Down(EdgeId, usize, SessionEnd),
}

#[derive(Default)]
struct Peer {
    /// Where it answers, as last heard.
    link: Option<String>,
    /// Shards with a room that needs it.
    wanted_by: HashSet<u8>,
    /// In the fleet's list, and ours to dial.
    standing: bool,
    /// The session that counts; its port once it is up.
    active: Option<Active>,
    /// A dial under way.
    dialling: Option<Dialling>,
}

/// A dial under way: how to call it off, and how to send it to another address.
struct Dialling {
    called_off: Arc<AtomicBool>,
    peer: LinkPeer,
}

impl Peer {
    /// Notes where it answers; a dial under way goes there, too.
    fn answers_at(&mut self, link: &str) {
        if self.link.as_deref() == Some(link) {
            return;
        }
        self.link = Some(link.to_owned());
        if let Some(dialling) = &self.dialling {
            dialling.peer.set_address(link);
        }
    }
}

struct Active {
    session: Session,
    dialled_by: EdgeId,
    up: bool,
}

/// The deciding task's state.
pub(crate) struct Mesh {
    own: EdgeId,
    endpoint: Endpoint,
    shards: Shards,
    drain: Drain,
    table: PeerTable,
    peers: HashMap<EdgeId, Peer>,
    happenings: mpsc::Sender<Happening>,
    happened: mpsc::Receiver<Happening>,
}

impl Mesh {
    pub(crate) fn new(
        own: EdgeId,
        endpoint: Endpoint,
        shards: Shards,
        drain: Drain,
        table: PeerTable,
    ) -> Self {
        let (happenings, happened) = mpsc::channel(HAPPENINGS_MAX);
        Self {
            own,
            endpoint,
            shards,
            drain,
            table,
            peers: HashMap::new(),
            happenings,
            happened,
        }
    }

    /// Runs until the drain.
    pub(crate) async fn run(
        mut self,
        mut incoming: mpsc::Receiver<MeshStream>,
        mut notices: mpsc::Receiver<Notice>,
        mut settings: watch::Receiver<Arc<Settings>>,
    ) {
        self.follow(&settings.borrow_and_update().clone());
        let drain = self.drain.clone();
        loop {
            tokio::select! {
                () = drain.stopping() => return,
                Some(stream) = incoming.recv() => self.accepted(stream).await,
                Some(notice) = notices.recv() => self.noticed(notice),
                Some(happening) = self.happened.recv() => self.happened(happening).await,
                changed = settings.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let now = settings.borrow_and_update().clone();
                    self.follow(&now);
                }
            }
        }
    }

    /// Standing links to the fleet's edges. The lower id dials, so that two edges do not
    /// meet halfway.
    fn follow(&mut self, settings: &Settings) {
        for peer in self.peers.values_mut() {
            peer.standing = false;
        }
        self.endpoint
            .refuse(settings.removed.iter().copied().map(Role::Edge));
        for edge in &settings.removed {
            if let Some(peer) = self.peers.get_mut(edge) {
                call_off(peer);
                if let Some(active) = &peer.active {
                    active.session.close(CloseReason::Removed);
                }
            }
        }
        let own = self.own;
        let ours = settings.peers.iter().filter(|peer| own < peer.edge);
        for listed in ours.take(STANDING_LINKS_MAX) {
            let peer = self.peers.entry(listed.edge).or_default();
            peer.standing = true;
            peer.answers_at(&listed.link);
            self.dial_if_needed(listed.edge);
        }
    }

    fn noticed(&mut self, notice: Notice) {
        match notice {
            Notice::MeshWanted {
                shard,
                peer: edge,
                link,
            } => {
                if edge == self.own {
                    return;
                }
                let peer = self.peers.entry(edge).or_default();
                peer.wanted_by.insert(shard);
                peer.answers_at(&link);
                self.dial_if_needed(edge);
            }
            Notice::MeshIdle { shard, peer: edge } => {
                if let Some(peer) = self.peers.get_mut(&edge) {
                    peer.wanted_by.remove(&shard);
                    if peer.wanted_by.is_empty() && !peer.standing {
                        // The session stays while the peer needs it; only dialling ends.
                        call_off(peer);
                    }
                }
            }
            Notice::Event(event) => crate::journal::event(&event),
        }
    }

    fn dial_if_needed(&mut self, edge: EdgeId) {
        let Some(peer) = self.peers.get_mut(&edge) else {
            return;
        };
        let needed = peer.standing || !peer.wanted_by.is_empty();
        let connected = peer
            .active
            .as_ref()
            .is_some_and(|active| active.session.is_open());
        let Some(link) = peer.link.clone() else { return };
        if !needed || connected || peer.dialling.is_some() {
            return;
        }
        let called_off = Arc::new(AtomicBool::new(false));
        let link_peer = LinkPeer::new(&self.endpoint, link, Expect::Edge(edge));
        peer.dialling = Some(Dialling {
            called_off: Arc::clone(&called_off),
            peer: link_peer.clone(),
        });
        let (happenings, drain) = (self.happenings.clone(), self.drain.clone());
        self.drain.spawn(async move {
            let dialled = tokio::select! {
                () = drain.stopping() => None,
                dialled = dial(&link_peer, &called_off) => dialled,
            };
            if let Some((session, stream)) = dialled {
                // The manager is gone only when the process is.
                let _ = happenings.send(Happening::Dialled(edge, session, stream)).await;
            }
        });
    }

    async fn accepted(&mut self, stream: MeshStream) {
        let Role::Edge(edge) = stream.session.peer().role else {
            stream.session.close(CloseReason::Protocol);
            return;
        };
        self.settle(edge, edge, stream.session, stream.stream).await;
    }

    /// Decides whether a new session counts. Where two edges dialled each other, both
    /// keep the one the lower id dialled; of two by the same dialler, the newer.
    async fn settle(&mut self, edge: EdgeId, dialled_by: EdgeId, session: Session, stream: QuicStream) {
        if self.peers.len() >= PEERS_MAX && !self.peers.contains_key(&edge) {
            session.close(CloseReason::Busy);
            return;
        }
        let preferred = self.own.min(edge);
        let peer = self.peers.entry(edge).or_default();
        if let Some(active) = peer.active.take() {
            let older_stays = active.dialled_by == preferred && dialled_by != preferred;
            if active.session.is_open() && older_stays {
                peer.active = Some(active);
                session.close(CloseReason::Replaced);
                return;
            }
            active.session.close(CloseReason::Replaced);
            // Also where the peer had closed it already and its `Down` is still on the way,
            // which will then be about a session that counts no more.
            if active.up {
                self.shards.send_all(|| Command::MeshDown { peer: edge }).await;
            }
        }
        let id = session.stable_id();
        peer.active = Some(Active {
            session: session.clone(),
            dialled_by,
            up: false,
        });
        let counters = Arc::clone(self.table.write().entry(edge).or_default());
        port::count(&counters.sessions, 1);
        let context = Context {
            own: self.own,
            peer: edge,
            shards: self.shards.clone(),
            counters,
            drain: self.drain.clone(),
        };
        let happenings = self.happenings.clone();
        self.drain.spawn(async move {
            let up = happenings.clone();
            let end = session::run(context, session, stream, async move |port| {
                let (told, shards_know) = oneshot::channel();
                // As above: the manager outlives its sessions.
                let _ = up.send(Happening::Up(edge, id, port, told)).await;
                // An error: the session counts no more, and is being closed.
                let _ = shards_know.await;
            })
            .await;
            let _ = happenings.send(Happening::Down(edge, id, end)).await;
        });
    }

    async fn happened(&mut self, happening: Happening) {
        match happening {
            Happening::Dialled(edge, session, stream) => {
                if let Some(peer) = self.peers.get_mut(&edge) {
                    peer.dialling = None;
                }
                let own = self.own;
                self.settle(edge, own, session, stream).await;
            }
            Happening::Up(edge, id, port, told) => {
                let Some(active) = self.active(edge, id) else {
                    return;
                };
                active.up = true;
                tracing::info!(%edge, "mesh link is up");
                self.shards
                    .send_all(|| Command::MeshUp { port: port.clone() })
                    .await;
                let _ = told.send(());
            }
            Happening::Down(edge, id, end) => {
                let Some(active) = self.active(edge, id) else {
                    return;
                };
                let was_up = active.up;
                tracing::info!(%edge, reason = %end, "mesh link is down");
                if let Some(peer) = self.peers.get_mut(&edge) {
                    peer.active = None;
                }
                if was_up {
                    self.shards.send_all(|| Command::MeshDown { peer: edge }).await;
                }
                self.dial_if_needed(edge);
            }
        }
    }

    /// The session that counts, if it is this one.
    fn active(&mut self, edge: EdgeId, id: usize) -> Option<&mut Active> {
        self.peers
            .get_mut(&edge)?
            .active
            .as_mut()
            .filter(|active| active.session.stable_id() == id)
    }
}

fn call_off(peer: &mut Peer) {
    if let Some(dialling) = peer.dialling.take() {
        dialling.called_off.store(true, Ordering::Relaxed);
    }
}

/// Dials until it works or is called off. The pauses between dials are the link's.
async fn dial(peer: &LinkPeer, called_off: &AtomicBool) -> Option<(Session, QuicStream)> {
    while !called_off.load(Ordering::Relaxed) {
        peer.session_wait().await;
        match peer.open_mesh().await {
            Ok(opened) => return Some(opened),
            Err(error) => tracing::debug!(%error, "mesh stream not opened"),
        }
    }
    None
}
