//! One thread: its own sockets, its own server, no locks shared with the others on the way
//! of a packet.

use std::io;
use std::net::UdpSocket;
use std::os::fd::AsRawFd as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};

use super::handle::Shared;
use super::metrics::WorkerMetrics;
use crate::server::{Counter, Counters};

/// Events taken from the kernel in one turn.
const EVENTS_MAX: usize = 256;
const WAKE: Token = Token(usize::MAX);

pub(super) struct Worker {
    shared: Arc<Shared>,
    poll: Poll,
    listeners: Vec<UdpSocket>,
    metrics: Arc<WorkerMetrics>,
    counters: Counters,
}

impl Worker {
    pub(super) fn new(
        shared: Arc<Shared>,
        listeners: Vec<UdpSocket>,
        metrics: Arc<WorkerMetrics>,
    ) -> io::Result<(Self, Waker)> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), WAKE)?;
        for (index, socket) in listeners.iter().enumerate() {
            poll.registry().register(
                &mut SourceFd(&socket.as_raw_fd()),
                Token(index),
                Interest::READABLE,
            )?;
        }
        Ok((
            Self {
                shared,
                poll,
                listeners,
                metrics,
                counters: Counters::default(),
            },
            waker,
        ))
    }

    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(EVENTS_MAX);
        let mut buffer = [0; 2048];
        while !self.shared.stopping.load(Ordering::Acquire) {
            if let Err(error) = self.poll.poll(&mut events, None) {
                if error.kind() == io::ErrorKind::Interrupted {
                    continue;
                }
                tracing::error!(%error, "cannot wait for packets");
                return;
            }
            for event in &events {
                let Some(socket) = self.listeners.get(event.token().0) else {
                    continue;
                };
                while socket.recv_from(&mut buffer).is_ok() {
                    self.counters.increment(Counter::DropUnexpected);
                }
            }
            self.metrics.publish(&self.counters);
        }
    }
}
