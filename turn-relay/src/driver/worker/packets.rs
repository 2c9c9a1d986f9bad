//! The worker's part in datagrams.

use std::io;
use std::os::fd::AsFd as _;

use super::super::icmp;
use super::super::locals::Local;
use super::super::metrics::Measure;
use super::super::mmsg::Unsent;
use super::super::relays::Socket;
use super::{Buffers, LISTENER_BATCH, RELAY_SHARE, Worker};
use crate::server::{Counter, ListenerId, Now};

/// ICMP errors of one relayed transport address taken in one turn.
const ERRORS_MAX: usize = 16;

impl Worker {
    /// Reads one batch of a listening socket and sends on what it holds. `true`: there may be more.
    pub(super) fn serve_listener(&mut self, now: Now, index: usize, buffers: &mut Buffers) -> bool {
        let batch = &mut buffers.from_clients;
        batch.clear();
        let count = match batch.receive(self.listeners[index].as_fd(), LISTENER_BATCH) {
            Ok(count) => count,
            Err(error) => return !report(&error),
        };
        let listener = ListenerId(u16::try_from(index).expect("the configuration bounds listeners"));
        for message in 0..count {
            let Some(received) = batch.get(message) else {
                continue;
            };
            let listener = match received.local.filter(|_| self.wildcard[index]) {
                None => listener,
                Some(ip) => {
                    let local = Local { listener: index, ip };
                    let Some(id) = self.met.id(&self.shared.locals, local) else {
                        self.server.count(Counter::DropUnexpected, 1);
                        continue;
                    };
                    id
                }
            };
            for (start, datagram) in received.datagrams() {
                if let Some(out) = self.server.handle_input(now, received.source, listener, datagram) {
                    self.metrics.record_bytes(Measure::SizeToPeer, out.data.len());
                    buffers.to_peers.push(&out, message, start);
                } else {
                    self.execute(now);
                }
            }
        }
        let from_clients = &buffers.from_clients;
        let unsent = buffers.to_peers.flush(
            &self.relays,
            |message, range| from_clients.slice(message, range),
            &mut buffers.send,
        );
        self.count_unsent(unsent);
        // What may be relayed without asking from now on, after what was not.
        self.execute(now);
        count == LISTENER_BATCH
    }

    /// Reads some messages of a relayed transport address; they are sent on when the batch is
    /// full or the turn ends. `true`: there may be more.
    pub(super) fn serve_relay(&mut self, now: Now, number: usize, buffers: &mut Buffers) -> bool {
        if buffers.from_peers.room() == 0 {
            self.flush_to_clients(buffers);
        }
        let Some(relay) = self.relays.by_number(number) else {
            return false;
        };
        if matches!(relay.socket, Socket::Tcp(_)) {
            return self.accept_peers(now, number);
        }
        let batch = &mut buffers.from_peers;
        let first = batch.len();
        let wanted = RELAY_SHARE.min(batch.room());
        let count = match batch.receive(relay.fd(), wanted) {
            Ok(count) => count,
            Err(error) => return !report(&error),
        };
        for message in first..first + count {
            let Some(received) = batch.get(message) else {
                continue;
            };
            for (start, datagram) in received.datagrams() {
                if let Some(out) = self
                    .server
                    .handle_relayed(now, relay.id, received.source, datagram.len())
                {
                    self.metrics.record_bytes(Measure::SizeToClient, datagram.len());
                    buffers
                        .to_clients
                        .push(out, message, start..start + datagram.len());
                }
            }
        }
        count == wanted
    }

    pub(super) fn flush_to_clients(&mut self, buffers: &mut Buffers) {
        let (listeners, met, locals) = (&self.listeners, &self.met, &self.shared.locals);
        let listener = |id: ListenerId| match listeners.get(usize::from(id.0)) {
            Some(socket) => Some((socket, None)),
            None => {
                let local = met.local(locals, id)?;
                Some((&listeners[local.listener], Some(local.ip)))
            }
        };
        let unsent = buffers.to_clients.flush(
            listener,
            &mut self.connections,
            &buffers.from_peers,
            &mut buffers.send,
        );
        buffers.from_peers.clear();
        self.count_unsent(unsent);
    }

    pub(super) fn count_unsent(&mut self, unsent: Unsent) {
        self.server.count(Counter::DropSendBufferFull, unsent.buffer_full);
        self.server.count(Counter::DropSendFailed, unsent.failed);
    }

    /// Takes what came back of what was sent from a relayed transport address. `true`: there may be more.
    pub(super) fn read_errors(&mut self, now: Now, number: usize) -> bool {
        for _ in 0..ERRORS_MAX {
            let Some(relay) = self.relays.by_number(number) else {
                return false;
            };
            if !matches!(relay.socket, Socket::Udp(_)) {
                return false;
            }
            let id = relay.id;
            let Some((peer, error)) = icmp::next(relay.fd()) else {
                return false;
            };
            if let Some(error) = error {
                self.server.handle_icmp(now, id, peer, error);
                self.execute(now);
            }
        }
        true
    }
}

/// Whether a failed receive means that the socket is empty. Anything else is reported and
/// tried again: one bad moment must not end a listener.
fn report(error: &io::Error) -> bool {
    match error.kind() {
        io::ErrorKind::WouldBlock => true,
        io::ErrorKind::Interrupted => false,
        _ => {
            tracing::debug!(%error, "cannot receive");
            false
        }
    }
}
