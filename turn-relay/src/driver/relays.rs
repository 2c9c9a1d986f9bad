//! The sockets of relayed transport addresses of one worker.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};
use std::sync::Arc;

use mio::unix::SourceFd;
use mio::{Interest, Registry};

use super::handle::Shared;
use super::token::Source;
use super::{icmp, mmsg, socket};
use crate::codec::Family;
use crate::server::{Port, Protocol, RelayId};

/// Ports tried that turn out to be taken by another program.
const TRIES_MAX: usize = 16;

/// An open relayed transport address.
#[derive(Debug)]
pub(super) struct RelaySocket {
    pub(super) id: RelayId,
    pub(super) socket: Socket,
    port: u16,
    /// Which relay address, and with it which pool the port goes back to.
    address: usize,
}

/// What is spoken there.
#[derive(Debug)]
pub(super) enum Socket {
    Udp(UdpSocket),
    /// Peers connect to it, and connections to peers are made from its address (RFC 6062).
    Tcp(TcpListener),
}

impl Socket {
    fn bind(address: SocketAddr, protocol: Protocol) -> io::Result<Self> {
        Ok(match protocol {
            Protocol::Udp => {
                let socket = socket::relay(address)?;
                icmp::enable(&socket, address.is_ipv6())?;
                Self::Udp(socket)
            }
            Protocol::Tcp => Self::Tcp(socket::relay_listener(address)?),
        })
    }

    fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Udp(socket) => socket.as_fd(),
            Self::Tcp(socket) => socket.as_fd(),
        }
    }
}

impl RelaySocket {
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.fd()
    }

    /// Forbids fragments of what is sent from here, or allows them again. Linux has no such flag
    /// for single messages of IPv4; those who ask for it look for the path's MTU and are few.
    pub(super) fn set_dont_fragment(&self, on: bool) -> io::Result<()> {
        mmsg::set_dont_fragment(self.fd(), self.id.family == Family::V6, on)
    }

    /// Begins a connection with `peer` from this address.
    pub(super) fn connect(&self, peer: SocketAddr) -> io::Result<TcpStream> {
        let Socket::Tcp(listener) = &self.socket else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        socket::connect(listener.local_addr()?, peer)
    }
}

/// All of a worker's, by slot and family.
pub(super) struct RelaySockets {
    shared: Arc<Shared>,
    sockets: Vec<Option<RelaySocket>>,
    /// Of other workers, until they have a name here.
    unnamed: Vec<RelaySocket>,
}

impl RelaySockets {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            sockets: Vec::new(),
            unnamed: Vec::new(),
        }
    }

    /// The socket an event speaks of ([`Source::Relay`]), if it is still open.
    pub(super) fn by_number(&self, number: usize) -> Option<&RelaySocket> {
        self.sockets.get(number)?.as_ref()
    }

    /// The socket of `id`.
    #[inline]
    pub(super) fn get(&self, id: RelayId) -> Option<&RelaySocket> {
        self.sockets
            .get(index(id))?
            .as_ref()
            .filter(|relay| relay.id == id)
    }

    /// Where the socket of `id` is bound.
    pub(super) fn address_of(&self, id: RelayId) -> Option<SocketAddr> {
        let relay = self.get(id)?;
        Some(SocketAddr::new(
            self.shared.config.relay[relay.address].bind,
            relay.port,
        ))
    }

    /// Opens a socket on a free port; returns the address to advertise.
    pub(super) fn open(
        &mut self,
        registry: &Registry,
        id: RelayId,
        protocol: Protocol,
        wanted: Port,
    ) -> io::Result<SocketAddr> {
        let address = self.address(id.family);
        let relay = self.shared.config.relay[address];
        let (socket, port) = self.bind(address, protocol, wanted)?;
        let index = index(id);
        let registered = registry.register(
            &mut SourceFd(&socket.fd().as_raw_fd()),
            Source::Relay(index).token(),
            Interest::READABLE,
        );
        if let Err(error) = registered {
            self.shared.ports[address].lock().untake(port, wanted);
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

    fn bind(&self, address: usize, protocol: Protocol, wanted: Port) -> io::Result<(Socket, u16)> {
        let bind = self.shared.config.relay[address].bind;
        // Ports another program holds stay out of the pool while we look for one.
        let mut foreign = Vec::new();
        let mut result = Err(io::Error::from(io::ErrorKind::AddrNotAvailable));
        for _ in 0..TRIES_MAX {
            let mut random = [0; 4];
            aws_lc_rs::rand::fill(&mut random).map_err(|_| io::Error::other("no randomness"))?;
            let taken = self.shared.ports[address]
                .lock()
                .take(u32::from_ne_bytes(random), wanted);
            let Some(port) = taken else { break };
            match Socket::bind(SocketAddr::new(bind, port), protocol) {
                Ok(socket) => {
                    result = Ok((socket, port));
                    break;
                }
                Err(error) => {
                    foreign.push(port);
                    let retry = error.kind() == io::ErrorKind::AddrInUse && !matches!(wanted, Port::Held(_));
                    result = Err(error);
                    if !retry {
                        break;
                    }
                }
            }
        }
        let mut pool = self.shared.ports[address].lock();
        foreign.into_iter().for_each(|port| pool.untake(port, wanted));
        result
    }

    /// Gives back a port that was held.
    pub(super) fn release(&mut self, family: Family, port: u16) {
        let address = self.address(family);
        self.shared.ports[address].lock().give_back(port);
    }

    /// Which relay address is of `family`.
    fn address(&self, family: Family) -> usize {
        let v4 = family == Family::V4;
        let addresses = &self.shared.config.relay;
        let address = addresses.iter().position(|relay| relay.bind.is_ipv4() == v4);
        address.expect("the server is told which families there are")
    }

    /// Takes out a socket that goes to another worker.
    pub(super) fn let_go(&mut self, registry: &Registry, id: RelayId) -> Option<RelaySocket> {
        let relay = self.sockets.get_mut(index(id))?.take_if(|relay| relay.id == id)?;
        let deregistered = registry.deregister(&mut SourceFd(&relay.fd().as_raw_fd()));
        if let Err(error) = deregistered {
            tracing::warn!(%error, "cannot let go of a relayed transport address");
        }
        Some(relay)
    }

    /// Takes in sockets of another worker; [`RelaySockets::adopt`] names them.
    pub(super) fn await_names(&mut self, sockets: Vec<RelaySocket>) {
        self.unnamed = sockets;
    }

    /// Gives a socket that came from another worker its name here.
    pub(super) fn adopt(&mut self, registry: &Registry, from: RelayId, id: RelayId) -> io::Result<()> {
        let unnamed = self.unnamed.iter().position(|relay| relay.id == from);
        let unnamed = unnamed.ok_or(io::ErrorKind::NotFound)?;
        let mut relay = self.unnamed.swap_remove(unnamed);
        relay.id = id;
        let index = index(id);
        let fd = relay.fd().as_raw_fd();
        if let Err(error) = registry.register(
            &mut SourceFd(&fd),
            Source::Relay(index).token(),
            Interest::READABLE,
        ) {
            self.unnamed.push(relay);
            return Err(error);
        }
        if self.sockets.len() <= index {
            self.sockets.resize_with(index + 1, || None);
        }
        self.sockets[index] = Some(relay);
        Ok(())
    }

    /// Closes sockets whose allocation did not come after all.
    pub(super) fn close_unnamed(&mut self) {
        for relay in self.unnamed.drain(..) {
            drop(relay.socket);
            self.shared.ports[relay.address].lock().give_back(relay.port);
        }
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
        self.close_unnamed();
        for relay in self.sockets.drain(..).flatten() {
            drop(relay.socket);
            self.shared.ports[relay.address].lock().give_back(relay.port);
        }
    }
}

fn index(id: RelayId) -> usize {
    id.slot as usize * 2 + id.family as usize
}
