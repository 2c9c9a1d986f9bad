//! Receiving in batches: recvmmsg, each slot coalesced by GRO.

use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};

use quinn_udp::{BATCH_SIZE, RecvMeta, UdpSocketState};

/// Largest coalesced receive: the length field of UDP.
const SLOT_BYTES: usize = 65_536;

/// What one receive call brought.
#[derive(Clone, Copy, Default)]
pub(crate) struct Batch {
    pub(crate) datagrams: usize,
    /// Every slot was filled, so there may be more. Asking again otherwise would cost a
    /// call that says "empty", and the next poll says that for free.
    pub(crate) more: bool,
}

/// Buffers of one shard's socket.
pub(crate) struct Ingress {
    state: UdpSocketState,
    buffer: Vec<u8>,
    meta: [RecvMeta; BATCH_SIZE],
}

impl Ingress {
    /// Sets the socket up: non-blocking, GRO, no fragmentation.
    pub(crate) fn new(socket: &UdpSocket) -> io::Result<Self> {
        Ok(Self {
            state: UdpSocketState::new(socket.into())?,
            buffer: vec![0; SLOT_BYTES * BATCH_SIZE],
            meta: [RecvMeta::default(); BATCH_SIZE],
        })
    }

    /// How many equal datagrams one send may carry; 1 without GSO.
    pub(crate) fn gso_segments_max(&self) -> usize {
        self.state.max_gso_segments()
    }

    /// Receives one batch and hands each datagram to `take`.
    pub(crate) fn receive(
        &mut self,
        socket: &UdpSocket,
        mut take: impl FnMut(SocketAddr, &[u8]),
    ) -> io::Result<Batch> {
        let mut slots: Vec<IoSliceMut<'_>> = self
            .buffer
            .chunks_exact_mut(SLOT_BYTES)
            .map(IoSliceMut::new)
            .collect();
        let filled = match self.state.recv(socket.into(), &mut slots, &mut self.meta) {
            Ok(filled) => filled,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Batch::default()),
            Err(error) => return Err(error),
        };
        let mut datagrams = 0;
        for (meta, slot) in self.meta[..filled]
            .iter()
            .zip(self.buffer.chunks_exact(SLOT_BYTES))
        {
            // A stride of 0 would be an empty datagram, which nobody here understands.
            for datagram in slot[..meta.len].chunks(meta.stride.max(1)) {
                take(meta.addr, datagram);
                datagrams += 1;
            }
        }
        Ok(Batch {
            datagrams,
            more: filled == BATCH_SIZE,
        })
    }
}
