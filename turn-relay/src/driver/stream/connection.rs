//! One connection of a client: bytes in, bytes out, TLS between if there is any.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use rustls::ServerConnection;

use super::peers::SPLICED_BYTES_MAX;
use super::places::Place;
use super::proxy;
use crate::codec::{FRAME_BYTES_MAX, Framer, Frames};
use crate::server::Client;

/// Media that may wait for a client that reads slowly; more is dropped. With what the kernel
/// may hold unsent ([`super::UNSENT_BYTES_MAX`]) it is half a second of video at 2 Mbit/s: older
/// media is of no use to anybody.
pub(in crate::driver) const MEDIA_WAITING_MAX: usize = 96 << 10;
/// Answers may wait on top of that. A client that makes requests and reads no answers
/// is not served any longer.
pub(in crate::driver) const WAITING_MAX: usize = MEDIA_WAITING_MAX + (32 << 10);
/// A larger buffer is given back when it is empty.
const WAITING_KEPT: usize = 32 << 10;
/// Sealed before it is written: enough for one system call to be worth it, not so much
/// that it waits sealed where media can no longer be dropped.
const SEALED_AT_ONCE: usize = 16 << 10;
/// Sealed bytes may wait to this size: the longest message, with what is sealed beside it.
pub(in crate::driver) const SEALED_BYTES_MAX: usize = FRAME_BYTES_MAX + 2 * SEALED_AT_ONCE;

/// How far a connection has come.
#[derive(Debug)]
pub(in crate::driver) enum Stage {
    /// The balancer has not said yet whose it is: what has come of its header.
    Proxy(Vec<u8>),
    /// TLS is being agreed on since then.
    Handshake(Duration),
    /// Messages flow.
    Open,
    /// Bytes flow, to and from the peer's connection of that number (RFC 6062).
    Spliced(usize),
    /// What waits is written, then it ends.
    Closing,
}

#[derive(Debug)]
pub(in crate::driver) enum Layer {
    Plain,
    Tls(Box<ServerConnection>),
}

/// What came of trying to read.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::driver) enum Reading {
    /// So many bytes.
    Bytes(usize),
    /// Nothing for now.
    Nothing,
    /// The client has hung up, or speaks no TLS that we do.
    Ended,
}

/// A client's connection.
#[derive(Debug)]
pub(in crate::driver) struct Connection {
    pub(in crate::driver) socket: TcpStream,
    pub(in crate::driver) client: Client,
    pub(in crate::driver) stage: Stage,
    pub(in crate::driver) layer: Layer,
    pub(in crate::driver) framer: Framer,
    /// Tells the owners of one number apart.
    pub(in crate::driver) generation: u32,
    /// Whether it is in the list of those with something to write.
    pub(in crate::driver) queued: bool,
    pub(in crate::driver) place: Place,
    /// The client sends no more.
    pub(in crate::driver) ended: bool,
    waiting: Vec<u8>,
    /// How much of `waiting` is written.
    written: usize,
    shut: bool,
}

impl Connection {
    pub(in crate::driver) fn new(
        socket: TcpStream,
        client: Client,
        stage: Stage,
        layer: Layer,
        generation: u32,
        place: Place,
    ) -> Self {
        Self {
            socket,
            client,
            stage,
            layer,
            framer: Framer::new(),
            generation,
            queued: false,
            place,
            ended: false,
            waiting: Vec::new(),
            written: 0,
            shut: false,
        }
    }

    /// Reads the balancer's header, and not a byte beyond it. `Some` when it is whole.
    pub(in crate::driver) fn read_proxy_header(&mut self) -> io::Result<Option<Vec<u8>>> {
        let Stage::Proxy(header) = &mut self.stage else {
            return Ok(None);
        };
        loop {
            let whole = match header.first_chunk() {
                None => proxy::FIXED_BYTES,
                Some(fixed) => {
                    let variable = proxy::variable_bytes(fixed).map_err(|proxy::NoHeader| invalid())?;
                    proxy::FIXED_BYTES + variable
                }
            };
            if header.len() == whole && header.len() >= proxy::FIXED_BYTES {
                return Ok(Some(std::mem::take(header)));
            }
            let start = header.len();
            header.resize(whole, 0);
            let read = self.socket.read(&mut header[start..]);
            header.truncate(start + read.as_ref().copied().unwrap_or(0));
            match read {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }

    /// Reads what the client wrote into `buffer`.
    pub(in crate::driver) fn read(&mut self, buffer: &mut [u8]) -> Reading {
        match &mut self.layer {
            Layer::Plain => match retry(|| self.socket.read(buffer)) {
                Ok(0) => Reading::Ended,
                Ok(count) => Reading::Bytes(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Reading::Nothing,
                Err(_) => Reading::Ended,
            },
            Layer::Tls(tls) => read_tls(&self.socket, tls, buffer),
        }
    }

    /// Whether TLS, if any, is agreed on.
    pub(in crate::driver) fn is_agreed(&self) -> bool {
        match &self.layer {
            Layer::Plain => true,
            Layer::Tls(tls) => !tls.is_handshaking(),
        }
    }

    /// Bytes that wait to be written.
    pub(in crate::driver) fn waiting(&self) -> usize {
        self.waiting.len() - self.written
    }

    /// Queues `parts` if not more than `limit` bytes wait then; `false` if they do.
    pub(in crate::driver) fn queue(&mut self, parts: [&[u8]; 3], limit: usize) -> bool {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        if self.waiting() + length > limit {
            return false;
        }
        if self.waiting.len() + length > self.waiting.capacity() && self.written > 0 {
            self.waiting.drain(..self.written);
            self.written = 0;
        }
        for part in parts {
            self.waiting.extend_from_slice(part);
        }
        true
    }

    /// Writes what waits, as far as the kernel takes it.
    pub(in crate::driver) fn flush(&mut self) -> io::Result<()> {
        let result = match &mut self.layer {
            Layer::Plain => loop {
                let rest = &self.waiting[self.written..];
                if rest.is_empty() {
                    break Ok(());
                }
                match retry(|| self.socket.write(rest)) {
                    Ok(count) => self.written += count,
                    Err(error) => break Err(error),
                }
            },
            Layer::Tls(tls) => loop {
                let seal = if matches!(self.stage, Stage::Spliced(_)) {
                    seal_bytes
                } else {
                    seal_messages
                };
                if !tls.wants_write()
                    && !tls.is_handshaking()
                    && let Err(error) = seal(tls, &self.waiting, &mut self.written)
                {
                    break Err(error);
                }
                if !tls.wants_write() {
                    break Ok(());
                }
                if let Err(error) = retry(|| tls.write_tls(&mut &self.socket)) {
                    break Err(error);
                }
            },
        };
        if self.waiting() == 0 {
            self.written = 0;
            self.waiting.clear();
            if self.waiting.capacity() > WAITING_KEPT {
                self.waiting = Vec::new();
            }
        }
        match result {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            result => result,
        }
    }

    /// Whether everything is with the kernel.
    pub(in crate::driver) fn is_flushed(&self) -> bool {
        let sealed = match &self.layer {
            Layer::Plain => true,
            Layer::Tls(tls) => !tls.wants_write(),
        };
        sealed && self.waiting() == 0
    }

    /// Room for bytes of the peer.
    pub(in crate::driver) fn room(&self) -> usize {
        SPLICED_BYTES_MAX.saturating_sub(self.waiting())
    }

    /// Queues bytes of the peer, for which there is room.
    pub(in crate::driver) fn push(&mut self, bytes: &[u8]) {
        self.queue([bytes, &[], &[]], usize::MAX);
    }

    /// Says that the peer sends no more, when everything it sent is written.
    pub(in crate::driver) fn shut(&mut self) -> io::Result<()> {
        if self.shut || !self.is_flushed() {
            return Ok(());
        }
        self.shut = true;
        self.close_notify();
        self.flush()?;
        self.socket.shutdown(Shutdown::Write)
    }

    /// Says goodbye, as TLS wants it.
    pub(in crate::driver) fn close_notify(&mut self) {
        if let Layer::Tls(tls) = &mut self.layer {
            tls.send_close_notify();
        }
    }
}

/// Seals some messages, each in a record of its own: clients that take a record for a
/// message (coturn's does) exist, and a record's overhead is small beside a packet's.
fn seal_messages(tls: &mut ServerConnection, waiting: &[u8], written: &mut usize) -> io::Result<()> {
    let end = *written + SEALED_AT_ONCE;
    while *written < waiting.len().min(end) {
        let rest = &waiting[*written..];
        let mut frames = Frames::new(rest, FRAME_BYTES_MAX);
        let whole = frames.next().map_err(|_| invalid())?.is_some();
        let length = if whole {
            rest.len() - frames.rest().len()
        } else {
            rest.len()
        };
        *written += tls.writer().write(&rest[..length])?;
    }
    Ok(())
}

/// Seals some bytes of a peer.
fn seal_bytes(tls: &mut ServerConnection, waiting: &[u8], written: &mut usize) -> io::Result<()> {
    let rest = &waiting[*written..];
    *written += tls.writer().write(&rest[..rest.len().min(SEALED_AT_ONCE)])?;
    Ok(())
}

fn read_tls(mut socket: &TcpStream, tls: &mut ServerConnection, buffer: &mut [u8]) -> Reading {
    loop {
        match tls.reader().read(buffer) {
            Ok(0) => return Reading::Ended,
            Ok(count) => return Reading::Bytes(count),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return Reading::Ended,
        }
        match retry(|| tls.read_tls(&mut socket)) {
            Ok(0) => return Reading::Ended,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Reading::Nothing,
            Err(_) => return Reading::Ended,
        }
        if tls.process_new_packets().is_err() {
            // The alert says what is wrong; whoever it does not reach will notice too.
            let _ = tls.write_tls(&mut socket);
            return Reading::Ended;
        }
    }
}

pub(in crate::driver) fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

pub(in crate::driver) fn invalid() -> io::Error {
    io::ErrorKind::InvalidData.into()
}
