//! What the server asks the worker to do.

use std::io;
use std::net::SocketAddr;

use super::super::metrics::Number;
use super::super::socket;
use super::super::stream::Mail;
use super::Worker;
use crate::server::{Client, Command, Counter, ListenerId, NoRelayAddress, Now, Shortcut};

impl Worker {
    pub(super) fn execute(&mut self, now: Now) {
        while let Some(command) = self.server.poll_command() {
            match command {
                Command::Send { to, bytes } => self.send(to, &bytes),
                Command::OpenRelay {
                    relay,
                    protocol,
                    port,
                } => {
                    let opened = self
                        .relays
                        .open(self.poll.registry(), relay, protocol, port)
                        .map_err(|error| {
                            tracing::debug!(%error, "cannot open a relayed transport address");
                            NoRelayAddress
                        });
                    self.server.handle_relay_opened(now, relay, opened);
                }
                Command::CloseRelay { relay } => self.relays.close(relay),
                Command::Offload(shortcut) => self.offload(&shortcut),
                Command::Withdraw(key) => self.shortcuts.withdraw(&key),
                Command::ReleasePort { family, port } => self.relays.release(family, port),
                Command::Disconnect { client } => self.connections.close(client, now.monotonic),
                Command::Connect {
                    connection,
                    relay,
                    peer,
                } => self.connect(now, connection, relay, peer),
                Command::Splice { connection, client } => self.splice(connection, client),
                Command::CloseConnection { connection } => self.close_peer(connection),
                Command::HandOver {
                    client,
                    worker,
                    request,
                } => self.hand_over(client, worker, request),
                Command::Fetch {
                    client,
                    worker,
                    request,
                } => self.mail(
                    worker,
                    Mail::Fetch {
                        client,
                        request,
                        back_to: self.worker.index,
                    },
                ),
                Command::AdoptRelay { from, relay } => {
                    if let Err(error) = self.relays.adopt(self.poll.registry(), from, relay) {
                        tracing::warn!(%error, "a relayed transport address could not move");
                    }
                }
            }
        }
    }

    /// Lets the kernel relay a channel, or indications, by itself, if it can.
    fn offload(&mut self, shortcut: &Shortcut) {
        let offloaded = match (
            self.server_address(shortcut.client.listener),
            self.relays.address_of(shortcut.relay),
        ) {
            (Some(server), Some(relay)) => self.shortcuts.offload(shortcut, server, relay),
            _ => false,
        };
        if !offloaded {
            // What was said of it before must not stand either.
            self.shortcuts.withdraw(&shortcut.key());
            self.metrics.increment(Number::FastPathRefused);
        }
    }

    /// The address that clients of a UDP listener send to.
    fn server_address(&self, listener: ListenerId) -> Option<SocketAddr> {
        if let Some(socket) = self.listeners.get(usize::from(listener.0)) {
            return socket.local_addr().ok();
        }
        let local = self.met.local(&self.shared.locals, listener)?;
        let port = self.listeners[local.listener].local_addr().ok()?.port();
        Some(SocketAddr::new(local.ip, port))
    }

    pub(super) fn send(&mut self, to: Client, bytes: &[u8]) {
        let sent = match self.listeners.get(usize::from(to.listener.0)) {
            Some(socket) => socket.send_to(bytes, to.address).map(|_| ()),
            None => match self.met.local(&self.shared.locals, to.listener) {
                Some(local) => {
                    socket::send_from(&self.listeners[local.listener], local.ip, to.address, bytes)
                }
                None => return self.answer(to, bytes),
            },
        };
        match sent {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.server.count(Counter::DropSendBufferFull, 1);
            }
            Err(_) => self.server.count(Counter::DropSendFailed, 1),
        }
    }
}
