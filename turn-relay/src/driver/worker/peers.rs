//! The worker's part in TCP connections with peers (RFC 6062).

use std::io;
use std::net::SocketAddr;

use super::super::metrics::Number;
use super::super::relays::Socket;
use super::super::socket;
use super::super::stream::connection::Reading;
use super::super::stream::peers::{Peer, PeerStage};
use super::super::stream::{Handed, Mail};
use super::{Buffers, Worker};
use crate::server::{Client, ConnectFailed, ConnectionId, Moving, Now, RelayId};

/// Connections of peers taken in one turn.
const ACCEPT_BATCH: usize = 16;
/// Rounds of both directions in one turn; others want their turn too.
const PUMP_ROUNDS: usize = 4;

impl Worker {
    /// Begins a connection with a peer.
    pub(super) fn connect(&mut self, now: Now, id: ConnectionId, relay: RelayId, peer: SocketAddr) {
        let begun = self
            .relays
            .get(relay)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
            .and_then(|relay| relay.connect(peer))
            .and_then(|socket| {
                let peer = Peer::new(id, PeerStage::Connecting, socket);
                self.peers.insert(self.poll.registry(), peer)
            });
        if let Err(error) = begun {
            tracing::debug!(%error, "cannot connect to a peer");
            self.server.handle_peer_connected(now, id, Err(ConnectFailed));
        }
    }

    /// Takes connections of peers that have arrived. `true`: there may be more.
    pub(super) fn accept_peers(&mut self, now: Now, number: usize) -> bool {
        for _ in 0..ACCEPT_BATCH {
            let Some(relay) = self.relays.by_number(number) else {
                return false;
            };
            let Socket::Tcp(listener) = &relay.socket else {
                return false;
            };
            let relay = relay.id;
            let (stream, from) = match listener.accept() {
                Ok(accepted) => accepted,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                // Gone again, or no descriptors: the peer's kernel tries again.
                Err(error) => {
                    tracing::debug!(%error, "cannot take a connection of a peer");
                    return false;
                }
            };
            if let Err(error) = socket::prepare_peer(&stream) {
                tracing::debug!(%error, "a connection of a peer ended early");
                continue;
            }
            let accepted = self.server.handle_peer_accepted(now, relay, from);
            if let Some(id) = accepted {
                let peer = Peer::new(id, PeerStage::Waiting, stream);
                if let Err(error) = self.peers.insert(self.poll.registry(), peer) {
                    tracing::debug!(%error, "cannot wait for a connection of a peer");
                    self.server.handle_connection_closed(id);
                }
            }
            self.execute(now);
        }
        true
    }

    /// Something has happened on a connection with a peer. `true`: there may be more.
    pub(super) fn serve_peer(&mut self, now: Now, index: usize, buffers: &mut Buffers) -> bool {
        let Some(peer) = self.peers.get(index) else {
            return false;
        };
        let id = peer.id;
        match peer.stage {
            PeerStage::Spliced(_) => return self.pump(index, buffers),
            PeerStage::Connecting => match peer.outcome() {
                None => {}
                Some(Ok(())) => {
                    peer.stage = PeerStage::Waiting;
                    self.server.handle_peer_connected(now, id, Ok(()));
                }
                Some(Err(_)) => {
                    self.peers.remove(index);
                    self.server.handle_peer_connected(now, id, Err(ConnectFailed));
                }
            },
            PeerStage::Waiting => {
                if let Some(Err(_)) = peer.outcome() {
                    self.peers.remove(index);
                    self.server.handle_connection_closed(id);
                }
            }
        }
        self.execute(now);
        false
    }

    /// Joins a client's connection and a peer's.
    pub(super) fn splice(&mut self, id: ConnectionId, client: Client) {
        let Some(index) = self.peers.of(id) else {
            self.server.handle_connection_closed(id);
            return;
        };
        let Some(connection) = self.connections.splice(client, index) else {
            self.peers.remove(index);
            self.server.handle_connection_closed(id);
            return;
        };
        if let Some(peer) = self.peers.get(index) {
            peer.stage = PeerStage::Spliced(connection);
        }
        // What the peer has sent already was not read, and nothing will wake us for it.
        self.ready.push(super::Source::Peer(index).token());
    }

    /// Ends a connection with a peer, and the client's that goes with it.
    pub(super) fn close_peer(&mut self, id: ConnectionId) {
        let Some(peer) = self.peers.of(id).and_then(|index| self.peers.remove(index)) else {
            return;
        };
        if let PeerStage::Spliced(connection) = peer.stage {
            if let Some(connection) = self.connections.get(connection) {
                let _ = connection.flush();
            }
            self.connections.remove(connection);
        }
    }

    /// Carries bytes between a peer and its client, as far as there are any and room for
    /// them. `true`: there may be more.
    pub(super) fn pump(&mut self, index: usize, buffers: &mut Buffers) -> bool {
        for _ in 0..PUMP_ROUNDS {
            match self.pump_once(index, buffers) {
                Ok(true) => {}
                Ok(false) => return false,
                Err(_ended) => {
                    if let Some(peer) = self.peers.remove(index) {
                        self.server.handle_connection_closed(peer.id);
                        if let PeerStage::Spliced(connection) = peer.stage {
                            self.connections.remove(connection);
                        }
                    }
                    return false;
                }
            }
        }
        true
    }

    /// One round of both directions. `Ok(false)`: nothing moved. An error ends both.
    fn pump_once(&mut self, index: usize, buffers: &mut Buffers) -> io::Result<bool> {
        let gone = || io::Error::from(io::ErrorKind::NotConnected);
        let peer = self.peers.get(index).ok_or_else(gone)?;
        let PeerStage::Spliced(connection) = peer.stage else {
            return Ok(false);
        };
        let client = self.connections.get(connection).ok_or_else(gone)?;
        let mut moved = false;
        // Room first: what is not read now for want of it, nothing will wake us for again.
        peer.flush(client.ended)?;
        client.flush()?;

        let room = peer.room().min(buffers.stream.len());
        if room > 0 && !client.ended {
            match client.read(&mut buffers.stream[..room]) {
                Reading::Bytes(count) => {
                    peer.push(&buffers.stream[..count]);
                    moved = true;
                }
                Reading::Nothing => {}
                Reading::Ended => client.ended = true,
            }
        }
        let room = client.room().min(buffers.stream.len());
        if room > 0 && !peer.ended {
            match peer.read(&mut buffers.stream[..room])? {
                Reading::Bytes(count) => {
                    client.push(&buffers.stream[..count]);
                    moved = true;
                }
                Reading::Nothing | Reading::Ended => {}
            }
        }
        let all_with_peer = peer.flush(client.ended)?;
        client.flush()?;
        if peer.ended {
            client.shut()?;
        }
        if all_with_peer && client.ended && peer.ended && client.is_flushed() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(moved)
    }

    /// Lets go of a connection whose request belongs to another worker.
    pub(super) fn hand_over(&mut self, client: Client, worker: u16, request: Vec<u8>) {
        if let Some(connection) = self.connections.hand_over(self.poll.registry(), client) {
            let handed = Handed {
                worker,
                connection,
                request,
                rest: Vec::new(),
            };
            // A request is read from a connection, and what follows it is known then.
            self.handing_over = Some(handed);
        }
    }

    pub(super) fn pass_on(&mut self, mut handed: Handed, rest: &[u8]) {
        handed.rest = rest.to_vec();
        self.mail(handed.worker, Mail::Handed(handed));
    }

    /// Sends another worker something.
    pub(super) fn mail(&self, worker: u16, mail: Mail) {
        let streams = &self.shared.streams;
        let worker = usize::from(worker);
        streams.inboxes[worker].put(mail);
        let wakers = streams.wakers.get().expect("set before a worker runs");
        if let Err(error) = wakers[worker].wake() {
            tracing::error!(%error, "cannot wake a relay worker");
        }
    }

    /// Does what other workers have sent.
    pub(super) fn read_mail(&mut self, now: Now, buffers: &mut Buffers) {
        let inbox = &self.shared.streams.inboxes[usize::from(self.worker.index)];
        for mail in inbox.take() {
            match mail {
                Mail::Handed(handed) => self.take_over(now, handed, buffers),
                Mail::Fetch {
                    client,
                    request,
                    back_to,
                } => {
                    let moving = self.server.handle_fetch(now, client, &request);
                    // What was said of it here is taken back before anything is said of it there.
                    self.execute(now);
                    let relays = moving.iter().flat_map(Moving::relays);
                    let sockets = relays
                        .filter_map(|relay| self.relays.let_go(self.poll.registry(), relay))
                        .collect();
                    let fetched = Mail::Fetched {
                        client,
                        request,
                        moving,
                        sockets,
                    };
                    self.mail(back_to, fetched);
                }
                Mail::Fetched {
                    client,
                    request,
                    moving,
                    sockets,
                } => {
                    self.relays.await_names(sockets);
                    self.server.handle_moved(now, client, &request, moving);
                }
            }
            self.execute(now);
            self.relays.close_unnamed();
        }
    }

    /// Takes up a connection another worker has let go of.
    fn take_over(&mut self, now: Now, handed: Handed, buffers: &mut Buffers) {
        let client = handed.connection.client;
        let taken = self
            .connections
            .take_over(self.poll.registry(), handed.connection);
        let index = match taken {
            Ok(index) => index,
            Err(error) => {
                tracing::warn!(%error, "cannot take over a connection");
                return;
            }
        };
        if !self.introduce(now, index) {
            return;
        }
        // As if it had just been read here.
        let filled = handed.request.len() + handed.rest.len();
        buffers.stream[..handed.request.len()].copy_from_slice(&handed.request);
        buffers.stream[handed.request.len()..filled].copy_from_slice(&handed.rest);
        if self.frames(now, index, client, filled, buffers).is_err() {
            self.hang_up(index, Some(Number::EndedFraming));
        }
        self.ready.push(super::Source::Connection(index).token());
    }
}
