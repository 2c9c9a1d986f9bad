//! TCP allocations (RFC 6062): making, accepting and binding connections with peers.

use std::net::SocketAddr;

use super::connections::{ConnectionId, State};
use super::relaying::transaction;
use super::request::{ErrorCode, Request, Seal};
use super::{Client, Command, Counter, Now, Protocol, RelayId, Server};
use crate::codec::{Builder, Class, Family, Method, attribute};

/// A peer could not be reached: refused, unreachable, or no socket to try with. The client
/// is told 447.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectFailed;

impl Server {
    /// RFC 6062 §5.2. The answer comes with [`Server::handle_peer_connected`].
    pub(super) fn connect(&mut self, request: &Request<'_>) -> Result<(), ErrorCode> {
        let slot = self.owned(request)?;
        let allocation = self.table.get(slot).expect("owned() found it");
        let peer = request.fields.peer.ok_or(400_u16)?;
        if allocation.protocol != Protocol::Tcp {
            return Err(403);
        }
        if !allocation.relays.is_open(Family::of(peer)) {
            return Err(443);
        }
        if !self.policy.permits(peer) {
            return Err(403);
        }
        let same = |id: &ConnectionId| self.connections.get(*id).is_some_and(|other| other.peer == peer);
        if allocation.connections.iter().any(same) {
            return Err(446);
        }
        let state = State::Connecting {
            transaction: request.transaction(),
            seal: request.seal(),
        };
        let connection = self
            .new_connection(request.now, slot, peer, state)
            .ok_or(508_u16)?;
        let relay = self.relay_of(slot, peer);
        self.commands.push_back(Command::Connect {
            connection,
            relay,
            peer,
        });
        Ok(())
    }

    /// Takes the driver's answer to [`Command::Connect`].
    pub fn handle_peer_connected(
        &mut self,
        now: Now,
        connection: ConnectionId,
        connected: Result<(), ConnectFailed>,
    ) {
        let Some(State::Connecting { transaction, seal }) = self.state_of(connection) else {
            return;
        };
        match connected {
            Ok(()) => {
                self.counters.increment(Counter::ConnectionConnected);
                self.connections
                    .set_state(connection, State::Pending, now.monotonic);
                let response = Builder::new(Class::Success, Method::CONNECT, transaction)
                    .attribute(attribute::CONNECTION_ID, &connection.0.to_be_bytes());
                if let Some(client) = self.client_of(connection) {
                    self.send(client, response, seal);
                }
            }
            Err(ConnectFailed) => {
                self.refuse_connect(connection, transaction, seal);
                self.forget_connection(connection);
            }
        }
    }

    /// Takes note that `peer` has connected to a relayed transport address (RFC 6062 §5.3).
    /// `None`: close it.
    pub fn handle_peer_accepted(
        &mut self,
        now: Now,
        relay: RelayId,
        peer: SocketAddr,
    ) -> Option<ConnectionId> {
        let accepted = self.accept(now, relay, peer);
        self.counters.increment(match accepted {
            Some(_) => Counter::ConnectionAccepted,
            None => Counter::ConnectionRefused,
        });
        accepted
    }

    fn accept(&mut self, now: Now, relay: RelayId, peer: SocketAddr) -> Option<ConnectionId> {
        let allocation = self.table.of_relay(relay)?;
        let permitted = allocation.protocol == Protocol::Tcp
            && allocation.expires > now.monotonic
            && allocation.peers.permitted(peer.ip(), now.monotonic)
            && self.policy.permits(peer);
        if !permitted {
            return None;
        }
        let client = allocation.client;
        let connection = self.new_connection(now, relay.slot, peer, State::Pending)?;
        self.indication = self.indication.wrapping_add(1);
        let id = transaction(self.indication);
        let indication = Builder::new(Class::Indication, Method::CONNECTION_ATTEMPT, id)
            .address(attribute::XOR_PEER_ADDRESS, peer)
            .attribute(attribute::CONNECTION_ID, &connection.0.to_be_bytes());
        self.commands.push_back(Command::Send {
            to: client,
            bytes: indication.finish(),
        });
        Some(connection)
    }

    /// RFC 6062 §5.4: the sender's connection becomes the client's side of a connection.
    pub(super) fn connection_bind(&mut self, request: &Request<'_>) -> Result<(), ErrorCode> {
        let client = request.client;
        let id = request.fields.connection_id.ok_or(400_u16)?;
        if !self.transport(client).is_stream() || self.table.find(client).is_some() {
            return Err(400);
        }
        let worker = id % u32::from(self.worker.count);
        if worker != u32::from(self.worker.index) {
            self.known(client);
            self.commands.push_back(Command::HandOver {
                client,
                worker: u16::try_from(worker).expect("below a u16"),
                request: request.message.bytes().to_vec(),
            });
            return Ok(());
        }
        let connection = ConnectionId(id);
        let Some(State::Pending) = self.state_of(connection) else {
            return Err(400);
        };
        self.owned(request)?;
        self.connections
            .set_state(connection, State::Bound, request.now.monotonic);
        self.counters.increment(Counter::ConnectionBound);
        self.known(client);
        self.send(client, request.success(), request.seal());
        self.commands.push_back(Command::Splice { connection, client });
        Ok(())
    }

    /// Takes note that a connection with a peer has ended, or the client's that was spliced to it.
    pub fn handle_connection_closed(&mut self, connection: ConnectionId) {
        if let Some(State::Connecting { transaction, seal }) = self.state_of(connection) {
            self.refuse_connect(connection, transaction, seal);
        }
        self.forget_connection(connection);
    }

    /// Ends connections that nobody accepted or claimed in time.
    pub(super) fn give_up_connections(&mut self, now: Now) {
        while let Some(connection) = self.connections.pop_due(now.monotonic) {
            match self.state_of(connection) {
                Some(State::Connecting { transaction, seal }) => {
                    self.refuse_connect(connection, transaction, seal);
                }
                _ => self.counters.increment(Counter::ConnectionUnclaimed),
            }
            self.forget_connection(connection);
            self.commands.push_back(Command::CloseConnection { connection });
        }
    }

    fn refuse_connect(&mut self, connection: ConnectionId, transaction: [u8; 12], seal: Seal) {
        self.counters.increment(Counter::ConnectionFailed);
        if let Some(client) = self.client_of(connection) {
            self.send_error(client, Method::CONNECT, transaction, 447, seal);
        }
    }

    /// Ends a connection whose allocation is gone, or whose peer is not allowed any more.
    pub(super) fn close_connection(&mut self, connection: ConnectionId) {
        self.forget_connection(connection);
        self.commands.push_back(Command::CloseConnection { connection });
    }

    fn new_connection(
        &mut self,
        now: Now,
        slot: u32,
        peer: SocketAddr,
        state: State,
    ) -> Option<ConnectionId> {
        let held = self.table.get(slot)?.connections.len();
        if held >= self.limits.connections_per_allocation as usize
            || !self.quotas.reserve_connection(&self.limits)
        {
            return None;
        }
        let owner = (slot, peer);
        let id = self
            .connections
            .insert(&mut self.tokens, self.worker, owner, state, now.monotonic);
        self.table.get_mut(slot)?.connections.push(id);
        self.counters
            .set(Counter::Connections, self.connections.len() as u64);
        Some(id)
    }

    fn forget_connection(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.remove(id) else {
            return;
        };
        self.quotas.release_connection();
        self.counters
            .set(Counter::Connections, self.connections.len() as u64);
        if let Some(allocation) = self.table.get_mut(connection.slot) {
            allocation.connections.retain(|other| *other != id);
        }
    }

    fn state_of(&self, connection: ConnectionId) -> Option<State> {
        self.connections
            .get(connection)
            .map(|connection| connection.state)
    }

    fn client_of(&self, connection: ConnectionId) -> Option<Client> {
        let slot = self.connections.get(connection)?.slot;
        self.table.get(slot).map(|allocation| allocation.client)
    }

    /// The relayed transport address of `peer`'s family.
    fn relay_of(&self, slot: u32, peer: SocketAddr) -> RelayId {
        RelayId {
            slot,
            generation: self.table.generation(slot),
            family: Family::of(peer),
        }
    }
}
