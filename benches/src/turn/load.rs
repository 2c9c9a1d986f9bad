//! The load: packets at a steady rate over some flows, one way, counted and timed where they arrive.

use std::net::{IpAddr, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use medmesh_turn::codec::{Datagram, Fields, decode};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use socket2::SockRef;

use super::flow::Flow;

/// Buffer of every socket of the generator: losses must not be its own.
const SOCKET_BUFFER_BYTES: usize = 4 << 20;
/// Packets are sent in steps of this; a browser's pacer works about as finely.
const STEP: Duration = Duration::from_millis(1);
/// Before counting starts.
const WARM_UP: Duration = Duration::from_millis(80);
/// One packet in so many is timed.
const SAMPLE: u64 = 8;

/// Which way packets go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// Client to peer.
    Up,
    /// Peer to client.
    Down,
}

/// One load.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    pub(super) flows: u16,
    pub(super) payload: usize,
    pub(super) channel: bool,
    pub(super) direction: Direction,
    /// Packets per second over all flows.
    pub(super) rate: u64,
    /// Packets of one flow that leave at once.
    pub(super) burst: u64,
}

/// What came of it.
#[derive(Clone, Debug)]
pub(super) struct Result {
    pub(super) sent: u64,
    pub(super) delivered: u64,
    pub(super) seconds: f64,
    pub(super) server_cpu_s: f64,
    pub(super) latencies_us: Vec<f64>,
}

impl Result {
    pub(super) fn per_cpu_second(&self) -> f64 {
        if self.server_cpu_s > 0.0 {
            self.delivered as f64 / self.server_cpu_s
        } else {
            0.0
        }
    }

    pub(super) fn loss(&self) -> f64 {
        1.0 - self.delivered as f64 / self.sent.max(1) as f64
    }

    pub(super) fn latency_us(&self, quantile: f64) -> f64 {
        let index = (self.latencies_us.len() as f64 * quantile) as usize;
        self.latencies_us
            .get(index.min(self.latencies_us.len().saturating_sub(1)))
            .copied()
            .unwrap_or(0.0)
    }
}

#[derive(Default)]
struct Counts {
    stop: AtomicBool,
    sent: AtomicU64,
    delivered: AtomicU64,
}

/// The peer of every flow.
pub(super) fn sink(ip: IpAddr) -> anyhow::Result<UdpSocket> {
    let sink = UdpSocket::bind((ip, 0))?;
    sink.set_nonblocking(true)?;
    widen(&sink)?;
    Ok(sink)
}

/// Runs the load over open flows for `time`.
pub(super) fn run(
    load: &Load,
    sink: &UdpSocket,
    flows: &[Flow],
    time: Duration,
    cpu_seconds: impl Fn() -> anyhow::Result<f64>,
) -> anyhow::Result<Result> {
    // What an earlier round left behind is none of this one's.
    let mut rest = [0; 2048];
    while sink.recv(&mut rest).is_ok() {}
    for flow in flows {
        while flow.socket.recv(&mut rest).is_ok() {}
    }
    let counts = Arc::new(Counts::default());
    let epoch = Instant::now();
    std::thread::scope(|scope| {
        let receiver = scope.spawn(|| receive(load, sink, flows, &counts, epoch));
        let sender = scope.spawn(|| send(load, sink, flows, &counts, epoch));
        std::thread::sleep(WARM_UP);
        let (cpu, sent, delivered) = (cpu_seconds()?, load_of(&counts.sent), load_of(&counts.delivered));
        std::thread::sleep(time);
        let (cpu2, sent2, delivered2) = (cpu_seconds()?, load_of(&counts.sent), load_of(&counts.delivered));
        counts.stop.store(true, Ordering::Relaxed);
        sender.join().expect("the sender does not panic")?;
        let mut latencies_us = receiver.join().expect("the receiver does not panic")?;
        latencies_us.sort_by(f64::total_cmp);
        Ok(Result {
            sent: sent2 - sent,
            delivered: delivered2 - delivered,
            seconds: time.as_secs_f64(),
            server_cpu_s: cpu2 - cpu,
            latencies_us,
        })
    })
}

fn load_of(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

pub(super) fn widen(socket: &UdpSocket) -> anyhow::Result<()> {
    let socket = SockRef::from(socket);
    socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES)?;
    socket.set_send_buffer_size(SOCKET_BUFFER_BYTES)?;
    Ok(())
}

fn send(
    load: &Load,
    sink: &UdpSocket,
    flows: &[Flow],
    counts: &Counts,
    epoch: Instant,
) -> anyhow::Result<()> {
    let payload = vec![7; load.payload];
    let mut frames: Vec<_> = flows
        .iter()
        .map(|flow| match load.direction {
            Direction::Up => flow.frame(&payload, load.channel),
            Direction::Down => (payload.clone(), 0),
        })
        .collect();
    let start = Instant::now();
    let (mut sent, mut next) = (0_u64, 0_usize);
    while !counts.stop.load(Ordering::Relaxed) {
        let due = u64::try_from(start.elapsed().as_micros())? * load.rate / 1_000_000;
        while sent < due {
            let (frame, at) = &mut frames[next];
            for _ in 0..load.burst {
                let nanos = u64::try_from(epoch.elapsed().as_nanos())?;
                frame[*at..*at + 8].copy_from_slice(&nanos.to_ne_bytes());
                // A full buffer is the generator's own loss and is not counted as sent.
                let done = match load.direction {
                    Direction::Up => flows[next].socket.send(frame),
                    Direction::Down => sink.send_to(frame, flows[next].relayed),
                };
                if done.is_ok() {
                    counts.sent.fetch_add(1, Ordering::Relaxed);
                }
            }
            sent += load.burst;
            next = (next + 1) % flows.len();
        }
        std::thread::sleep(STEP);
    }
    Ok(())
}

fn receive(
    load: &Load,
    sink: &UdpSocket,
    flows: &[Flow],
    counts: &Counts,
    epoch: Instant,
) -> anyhow::Result<Vec<f64>> {
    let epoll = Epoll::new(EpollCreateFlags::empty())?;
    let sockets: Vec<&UdpSocket> = match load.direction {
        Direction::Up => vec![sink],
        Direction::Down => flows.iter().map(|flow| &flow.socket).collect(),
    };
    for (index, socket) in sockets.iter().enumerate() {
        epoll.add(socket, EpollEvent::new(EpollFlags::EPOLLIN, index as u64))?;
    }
    let mut latencies = Vec::with_capacity(1 << 20);
    let mut events = [EpollEvent::empty(); 64];
    let mut buffer = [0; 2048];
    let mut count = 0_u64;
    while !counts.stop.load(Ordering::Relaxed) {
        let ready = epoll
            .wait(&mut events, EpollTimeout::try_from(Duration::from_millis(50))?)
            .unwrap_or(0);
        for event in &events[..ready] {
            let socket = sockets[usize::try_from(event.data())?];
            while let Ok(length) = nix::sys::socket::recv(
                socket.as_raw_fd(),
                &mut buffer,
                nix::sys::socket::MsgFlags::MSG_DONTWAIT,
            ) {
                count += 1;
                let sampled = count.is_multiple_of(SAMPLE) && latencies.len() < latencies.capacity();
                if sampled && let Some(then) = stamp(load.direction, &buffer[..length]) {
                    let now = u64::try_from(epoch.elapsed().as_nanos())?;
                    latencies.push(now.saturating_sub(then) as f64 / 1000.0);
                }
                counts.delivered.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
    Ok(latencies)
}

/// When a packet was sent, in nanoseconds since the epoch of the run.
fn stamp(direction: Direction, bytes: &[u8]) -> Option<u64> {
    let payload = match (direction, decode(bytes)) {
        (Direction::Up, _) => bytes,
        (Direction::Down, Ok(Datagram::ChannelData(channel))) => channel.data,
        (Direction::Down, Ok(Datagram::Message(message))) => Fields::read(&message).data?,
        // Of the bare forwarder.
        (Direction::Down, Err(_)) => bytes,
    };
    payload.first_chunk().map(|bytes| u64::from_ne_bytes(*bytes))
}
