//! A forwarder that does nothing but forward, with the relay's own batching: what the machine
//! gives. Benches call it the limit; nothing else has a use for it.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use super::mmsg::{Received, RecvBatch, Segment, SendBatch};
use super::socket;

const BATCH: usize = 32;
const EVENTS_MAX: usize = 256;
const BUFFER_BYTES: usize = 4 << 20;

struct Flow {
    client: SocketAddr,
    socket: UdpSocket,
}

/// Asks for the address of the sender's socket: answered whenever it comes, because the port of
/// a client that left is given to another one sooner or later.
pub const FORWARD_ASK: &[u8] = b"?";

/// Forwards between clients of `listen` and `peer`, each over a socket of its own, as datagrams
/// come. [`FORWARD_ASK`] is answered with the address of the client's socket (text); a client's
/// datagrams before it are lost. Never returns but with an error.
///
/// # Errors
/// The sockets or the poll fail.
pub fn forward(listen: SocketAddr, peer: SocketAddr) -> io::Result<()> {
    let listener = socket::listener(listen, BUFFER_BYTES)?;
    let mut poll = Poll::new()?;
    poll.registry()
        .register(&mut SourceFd(&listener.as_raw_fd()), Token(0), Interest::READABLE)?;
    let mut flows: Vec<Flow> = Vec::new();
    let mut by_client: HashMap<SocketAddr, usize> = HashMap::new();
    let (mut batch, mut send) = (RecvBatch::new(BATCH), SendBatch::new());
    let mut events = Events::with_capacity(EVENTS_MAX);
    let (mut ready, mut next) = (Vec::new(), Vec::new());
    let mut entries: Vec<(usize, usize)> = Vec::with_capacity(BATCH);
    loop {
        let patience = if ready.is_empty() {
            None
        } else {
            Some(Duration::ZERO)
        };
        poll.poll(&mut events, patience)?;
        let left_over = ready.len();
        for event in &events {
            if !ready[..left_over].contains(&event.token()) {
                ready.push(event.token());
            }
        }
        for Token(token) in ready.drain(..) {
            batch.clear();
            let fd = match token.checked_sub(1) {
                None => listener.as_fd(),
                Some(flow) => flows[flow].socket.as_fd(),
            };
            let Ok(count) = batch.receive(fd, BATCH) else {
                continue;
            };
            if let Some(flow) = token.checked_sub(1) {
                let to = flows[flow].client;
                let all = (0..count).filter_map(|index| batch.get(index));
                let segments = all
                    .flat_map(Received::datagrams)
                    .map(|(_, data)| segment(to, data));
                send.send(listener.as_fd(), None, segments);
            } else {
                for message in 0..count {
                    let Some(received) = batch.get(message) else {
                        continue;
                    };
                    let known = by_client.get(&received.source).copied();
                    if let Some(flow) = known {
                        let mut datagrams = received.datagrams();
                        if datagrams.all(|(_, data)| data == FORWARD_ASK) {
                            answer(&listener, &flows[flow])?;
                        } else {
                            entries.push((flow, message));
                        }
                        continue;
                    }
                    let own = socket::relay(SocketAddr::new(listen.ip(), 0))?;
                    let token = Token(flows.len() + 1);
                    poll.registry()
                        .register(&mut SourceFd(&own.as_raw_fd()), token, Interest::READABLE)?;
                    let flow = Flow {
                        client: received.source,
                        socket: own,
                    };
                    answer(&listener, &flow)?;
                    by_client.insert(received.source, flows.len());
                    flows.push(flow);
                }
                // Each flow's in one go, as the relay does it.
                entries.sort_unstable();
                for group in entries.chunk_by(|a, b| a.0 == b.0) {
                    let all = group.iter().filter_map(|(_, message)| batch.get(*message));
                    let segments = all
                        .flat_map(Received::datagrams)
                        .map(|(_, data)| segment(peer, data));
                    send.send(flows[group[0].0].socket.as_fd(), None, segments);
                }
                entries.clear();
            }
            if count == BATCH {
                next.push(Token(token));
            }
        }
        std::mem::swap(&mut ready, &mut next);
    }
}

fn answer(listener: &UdpSocket, flow: &Flow) -> io::Result<()> {
    let address = flow.socket.local_addr()?.to_string();
    listener.send_to(address.as_bytes(), flow.client)?;
    Ok(())
}

fn segment(to: SocketAddr, data: &[u8]) -> Segment<'_> {
    Segment {
        to,
        prefix: &[],
        data,
        padding: &[],
    }
}
