//! The sockets of relayed transport addresses of one worker.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};
use std::sync::Arc;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};

use super::handle::Shared;
use super::socket;
use crate::codec::Family;
use crate::server::RelayId;

/// Ports tried that turn out to be taken by another program.
const TRIES_MAX: usize = 16;

/// An open relayed transport address.
#[derive(Debug)]
pub(super) struct RelaySocket {
    pub(super) id: RelayId,
    socket: UdpSocket,
    port: u16,
    /// Which relay address, and with it which pool the port goes back to.
    address: usize,
}

impl RelaySocket {
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// All of a worker's, by slot and family.
pub(super) struct RelaySockets {
    shared: Arc<Shared>,
    sockets: Vec<Option<RelaySocket>>,
    first_token: usize,
}

impl RelaySockets {
    /// Tokens from `first_token` on are theirs.
    pub(super) fn new(shared: Arc<Shared>, first_token: usize) -> Self {
        Self {
            shared,
            sockets: Vec::new(),
            first_token,
        }
    }

    /// The socket an event speaks of, if it is still open.
    pub(super) fn by_token(&self, token: usize) -> Option<&RelaySocket> {
        self.sockets.get(token.checked_sub(self.first_token)?)?.as_ref()
    }

    /// The socket of `id`.
    #[inline]
    pub(super) fn get(&self, id: RelayId) -> Option<&RelaySocket> {
        self.sockets
            .get(index(id))?
            .as_ref()
            .filter(|relay| relay.id == id)
    }

    /// Opens a socket on a free port; returns the address to advertise.
    pub(super) fn open(
        &mut self,
        registry: &Registry,
        id: RelayId,
        even_port: bool,
    ) -> io::Result<SocketAddr> {
        let v4 = id.family == Family::V4;
        let addresses = &self.shared.config.relay;
        let address = addresses.iter().position(|relay| relay.bind.is_ipv4() == v4);
        let address = address.expect("the server is told which families there are");
        let relay = addresses[address];
        let (socket, port) = self.bind(address, even_port)?;
        let index = index(id);
        let registered = registry.register(
            &mut SourceFd(&socket.as_raw_fd()),
            Token(self.first_token + index),
            Interest::READABLE,
        );
        if let Err(error) = registered {
            self.shared.ports[address].lock().give_back(port);
            return Err(error);
        }
        if self.sockets.len() <= index {
            self.sockets.resize_with(index + 1, || None);
        }
        self.sockets[index] = Some(RelaySocket {
            id,
            socket,
            port,
            address,
        });
        Ok(SocketAddr::new(relay.advertise, port))
    }

    fn bind(&self, address: usize, even_port: bool) -> io::Result<(UdpSocket, u16)> {
        let bind = self.shared.config.relay[address].bind;
        // Ports another program holds stay out of the pool while we look for one.
        let mut foreign = Vec::new();
        let mut result = Err(io::Error::from(io::ErrorKind::AddrNotAvailable));
        for _ in 0..TRIES_MAX {
            let mut random = [0; 4];
            aws_lc_rs::rand::fill(&mut random).map_err(|_| io::Error::other("no randomness"))?;
            let taken = self.shared.ports[address]
                .lock()
                .take(u32::from_ne_bytes(random), even_port);
            let Some(port) = taken else { break };
            match socket::relay(SocketAddr::new(bind, port)) {
                Ok(socket) => {
                    result = Ok((socket, port));
                    break;
                }
                Err(error) => {
                    foreign.push(port);
                    let retry = error.kind() == io::ErrorKind::AddrInUse;
                    result = Err(error);
                    if !retry {
                        break;
                    }
                }
            }
        }
        let mut pool = self.shared.ports[address].lock();
        foreign.into_iter().for_each(|port| pool.give_back(port));
        result
    }

    /// Closes a socket; the kernel takes it out of the poll by itself.
    pub(super) fn close(&mut self, id: RelayId) {
        if let Some(slot) = self.sockets.get_mut(index(id))
            && let Some(relay) = slot.take_if(|relay| relay.id == id)
        {
            drop(relay.socket);
            self.shared.ports[relay.address].lock().give_back(relay.port);
        }
    }
}

/// The pools are shared with workers that go on: the ports go back.
impl Drop for RelaySockets {
    fn drop(&mut self) {
        for relay in self.sockets.drain(..).flatten() {
            drop(relay.socket);
            self.shared.ports[relay.address].lock().give_back(relay.port);
        }
    }
}

fn index(id: RelayId) -> usize {
    id.slot as usize * 2 + id.family as usize
}
