//! The worker's part in connections: what the server is told of them.

use std::io;

use super::super::metrics::{Measure, Number};
use super::super::stream::connection::{Reading, Stage};
use super::super::stream::is_shortage;
use super::{Buffers, FRAME_BYTES_MAX, Worker};
use crate::codec::{FrameError, Frames};
use crate::server::{Client, Counter, Now};

/// Connections taken in one turn; others want their turn too.
const ACCEPT_BATCH: usize = 64;

impl Worker {
    /// Takes connections that have arrived. `true`: there may be more.
    pub(super) fn accept(&mut self, now: Now, index: usize) -> bool {
        for _ in 0..ACCEPT_BATCH {
            match self
                .connections
                .accept(self.poll.registry(), index, now.monotonic)
            {
                Ok(Ok(connection)) => {
                    let waits = self
                        .connections
                        .get(connection)
                        .is_some_and(|new| matches!(new.stage, Stage::Proxy(_)));
                    if !waits {
                        self.introduce(now, connection);
                    }
                }
                Ok(Err(_refused)) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(error) if is_shortage(&error) => {
                    tracing::warn!(%error, "no room for another connection");
                    let token = super::Source::Acceptor(index).token();
                    self.starved.push(token);
                    return false;
                }
                // The client has hung up already.
                Err(error) => tracing::debug!(%error, "cannot take a connection"),
            }
        }
        true
    }

    /// Tells the server whose connection this is. `false`: it does not want it.
    pub(super) fn introduce(&mut self, now: Now, index: usize) -> bool {
        let Some(client) = self.connections.get(index).map(|connection| connection.client) else {
            return false;
        };
        let welcome = self.server.handle_client_connected(now, client);
        self.execute(now);
        if !welcome {
            self.connections.remove(index);
            return false;
        }
        if let Some(old) = self.connections.introduce(index) {
            self.connections.remove(old);
        }
        true
    }

    /// Reads a connection once and sends on what it holds. `true`: there may be more.
    pub(super) fn serve_connection(&mut self, now: Now, index: usize, buffers: &mut Buffers) -> bool {
        let Some(connection) = self.connections.get(index) else {
            return false;
        };
        match connection.stage {
            Stage::Proxy(_) => match self.connections.behind_proxy(index, now.monotonic) {
                Ok(None) => return false,
                Ok(Some(_)) if self.introduce(now, index) => {}
                Ok(Some(_)) => return false,
                Err(_) => {
                    self.hang_up(index, Some(Number::EndedProxy));
                    return false;
                }
            },
            Stage::Handshake(_) | Stage::Open => {}
            Stage::Spliced(peer) => return self.pump(peer, buffers),
            Stage::Closing => {
                self.connections.flush_later(index);
                return false;
            }
        }
        // It may be here because there is room to write.
        self.connections.flush_later(index);
        self.read_connection(now, index, buffers)
    }

    fn read_connection(&mut self, now: Now, index: usize, buffers: &mut Buffers) -> bool {
        let Some(connection) = self.connections.get(index) else {
            return false;
        };
        let client = connection.client;
        let handshaking = !connection.is_agreed();
        let kept = connection.framer.resume(&mut buffers.stream);
        let reading = connection.read(&mut buffers.stream[kept..]);
        if handshaking && connection.is_agreed() {
            if let Stage::Handshake(since) = connection.stage {
                let took = now.monotonic.saturating_sub(since);
                self.metrics.record_time(Measure::Handshake, took);
            }
            connection.stage = Stage::Open;
        }
        match reading {
            Reading::Nothing => {
                connection.framer.suspend(&buffers.stream[..kept]);
                false
            }
            Reading::Ended => {
                let reason = handshaking.then_some(Number::EndedHandshake);
                self.hang_up(index, reason);
                false
            }
            Reading::Bytes(count) => {
                if self.frames(now, index, client, kept + count, buffers).is_err() {
                    self.hang_up(index, Some(Number::EndedFraming));
                    return false;
                }
                true
            }
        }
    }

    /// Gives the server every whole message of the stream buffer.
    pub(super) fn frames(
        &mut self,
        now: Now,
        index: usize,
        client: Client,
        filled: usize,
        buffers: &mut Buffers,
    ) -> Result<(), FrameError> {
        debug_assert!(filled <= FRAME_BYTES_MAX + (64 << 10), "the buffer's length");
        let stream = &buffers.stream[..filled];
        let mut frames = Frames::new(stream, self.server.frame_bytes_max(client));
        let outcome = loop {
            // A message may be the last the server has to do with it.
            if !self
                .connections
                .get(index)
                .is_some_and(|connection| matches!(connection.stage, Stage::Open))
            {
                break Ok(());
            }
            match frames.next() {
                Ok(Some(range)) => {
                    let frame = &stream[range.clone()];
                    let out = self
                        .server
                        .handle_input(now, client.address, client.listener, frame);
                    match out {
                        Some(out) => {
                            self.metrics.record_bytes(Measure::SizeToPeer, out.data.len());
                            buffers.to_peers.push(&out, 0, range.start);
                        }
                        None => self.execute(now),
                    }
                }
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        let unsent = buffers
            .to_peers
            .flush(&self.relays, |_, range| &stream[range], &mut buffers.send);
        self.count_unsent(unsent);
        if outcome.is_ok() {
            self.keep_rest(index, frames.rest());
        }
        outcome
    }

    /// What follows the last message: the beginning of the next, or a peer's already.
    fn keep_rest(&mut self, index: usize, rest: &[u8]) {
        // What follows a request that went to another worker goes there with it.
        if let Some(handed) = self.handing_over.take() {
            return self.pass_on(handed, rest);
        }
        let Some(connection) = self.connections.get(index) else {
            return;
        };
        match connection.stage {
            Stage::Spliced(peer) => {
                if let Some(peer) = self.peers.get(peer) {
                    peer.push(rest);
                }
            }
            Stage::Closing => {}
            _ => connection.framer.suspend(rest),
        }
    }

    /// An answer to a client on a stream.
    pub(super) fn answer(&mut self, to: Client, bytes: &[u8]) {
        if !self.connections.answer(to, bytes)
            && let Some(index) = self.connections.of(to)
        {
            self.server.count(Counter::DropSendBufferFull, 1);
            self.hang_up(index, Some(Number::EndedUnread));
        }
    }

    /// Ends a connection and what its client had. `reason`: it is our doing.
    pub(super) fn hang_up(&mut self, index: usize, reason: Option<Number>) {
        if let Some(number) = reason {
            self.metrics.increment(number);
        }
        // What was answered last is worth a try, be it only why this is the end.
        if let Some(connection) = self.connections.get(index) {
            let _ = connection.flush();
        }
        let peer = match self.connections.get(index).map(|connection| &connection.stage) {
            Some(Stage::Spliced(peer)) => Some(*peer),
            _ => None,
        };
        if let Some(client) = self.connections.remove(index) {
            self.server.handle_client_disconnected(client);
        }
        if let Some(peer) = peer.and_then(|peer| self.peers.remove(peer)) {
            self.server.handle_connection_closed(peer.id);
        }
    }

    /// Writes what the turn has queued, and does what comes of connections that end.
    pub(super) fn flush_connections(&mut self, now: Now) {
        loop {
            self.execute(now);
            let ended = self.connections.flush();
            if ended.is_empty() {
                return;
            }
            for index in ended {
                self.hang_up(index, None);
            }
        }
    }

    pub(super) fn end_overdue(&mut self, now: Now) {
        for index in self.connections.overdue(now.monotonic) {
            let proxy = self
                .connections
                .get(index)
                .is_some_and(|connection| matches!(connection.stage, Stage::Proxy(_)));
            self.hang_up(index, proxy.then_some(Number::EndedProxy));
        }
    }
}
