//! TCP connections with peers (RFC 6062): made from relayed transport addresses, or accepted there.

use std::collections::HashMap;
use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsRawFd as _;

use mio::unix::SourceFd;
use mio::{Interest, Registry};

use super::connection::{Reading, retry};
use crate::driver::token::Source;
use crate::server::ConnectionId;

/// Bytes of one direction that wait here; the kernels at both ends hold the rest back.
pub(in crate::driver) const SPLICED_BYTES_MAX: usize = 64 << 10;

/// How far a connection with a peer has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::driver) enum PeerStage {
    /// The kernel is at it.
    Connecting,
    /// It waits for the client's side; nothing is read until then.
    Waiting,
    /// Bytes go both ways, to and from the client's connection of that number.
    Spliced(usize),
}

/// A connection with a peer.
#[derive(Debug)]
pub(in crate::driver) struct Peer {
    pub(in crate::driver) id: ConnectionId,
    pub(in crate::driver) stage: PeerStage,
    /// The peer sends no more.
    pub(in crate::driver) ended: bool,
    socket: TcpStream,
    waiting: Vec<u8>,
    written: usize,
    shut: bool,
}

impl Peer {
    pub(in crate::driver) fn new(id: ConnectionId, stage: PeerStage, socket: TcpStream) -> Self {
        Self {
            id,
            stage,
            ended: false,
            socket,
            waiting: Vec::new(),
            written: 0,
            shut: false,
        }
    }

    /// Whether the connection stands, if the kernel knows yet.
    pub(in crate::driver) fn outcome(&self) -> Option<io::Result<()>> {
        match self.socket.take_error() {
            Ok(Some(error)) | Err(error) => Some(Err(error)),
            Ok(None) => match self.socket.peer_addr() {
                Ok(_) => Some(Ok(())),
                Err(error) if error.kind() == io::ErrorKind::NotConnected => None,
                Err(error) => Some(Err(error)),
            },
        }
    }

    pub(in crate::driver) fn read(&mut self, buffer: &mut [u8]) -> io::Result<Reading> {
        match retry(|| self.socket.read(buffer)) {
            Ok(0) => {
                self.ended = true;
                Ok(Reading::Ended)
            }
            Ok(count) => Ok(Reading::Bytes(count)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Reading::Nothing),
            Err(error) => Err(error),
        }
    }

    /// Room for bytes of the client.
    pub(in crate::driver) fn room(&self) -> usize {
        SPLICED_BYTES_MAX.saturating_sub(self.waiting.len() - self.written)
    }

    pub(in crate::driver) fn push(&mut self, bytes: &[u8]) {
        if self.written > 0 {
            self.waiting.drain(..self.written);
            self.written = 0;
        }
        self.waiting.extend_from_slice(bytes);
    }

    /// Writes what waits, as far as the kernel takes it; then, when the client `sends_no_more`,
    /// says so to the peer. `true`: nothing waits any longer.
    pub(in crate::driver) fn flush(&mut self, sends_no_more: bool) -> io::Result<bool> {
        while self.written < self.waiting.len() {
            match retry(|| self.socket.write(&self.waiting[self.written..])) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        self.waiting.clear();
        self.written = 0;
        if sends_no_more && !self.shut {
            self.shut = true;
            self.socket.shutdown(Shutdown::Write)?;
        }
        Ok(true)
    }
}

/// The connections with peers of one worker.
#[derive(Debug, Default)]
pub(in crate::driver) struct Peers {
    slots: Vec<Option<Box<Peer>>>,
    free: Vec<usize>,
    by_id: HashMap<ConnectionId, usize>,
}

impl Peers {
    pub(in crate::driver) fn insert(&mut self, registry: &Registry, peer: Peer) -> io::Result<usize> {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        let interest = Interest::READABLE | Interest::WRITABLE;
        let fd = peer.socket.as_raw_fd();
        if let Err(error) = registry.register(&mut SourceFd(&fd), Source::Peer(index).token(), interest) {
            self.free.push(index);
            return Err(error);
        }
        self.by_id.insert(peer.id, index);
        self.slots[index] = Some(Box::new(peer));
        Ok(index)
    }

    pub(in crate::driver) fn get(&mut self, index: usize) -> Option<&mut Peer> {
        self.slots.get_mut(index)?.as_deref_mut()
    }

    pub(in crate::driver) fn of(&self, id: ConnectionId) -> Option<usize> {
        self.by_id.get(&id).copied()
    }

    /// Takes a connection out and closes it.
    pub(in crate::driver) fn remove(&mut self, index: usize) -> Option<Box<Peer>> {
        let peer = self.slots.get_mut(index)?.take()?;
        self.free.push(index);
        self.by_id.remove(&peer.id);
        Some(peer)
    }
}
