//! Sending what one loop turn produced: runs of equal datagrams to one destination as
//! one GSO send, everything else by sendmmsg.

use std::io::IoSlice;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd as _;

use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, MsgFlags, MultiHeaders, SockaddrStorage, sendmmsg, sendmsg};

use super::counters::Counters;

/// Datagrams of one sendmmsg call. Beyond some 32 the saving per datagram is flat.
const BATCH: usize = 64;
/// Bytes of one GSO send: what an IPv4 datagram can carry (RFC 791) less headers.
const RUN_BYTES_MAX: usize = 65_507;
/// Shortest run that goes out by GSO: already for two, one pass through the kernel's stack
/// instead of two is worth more than the call that a place in the batch would save.
const RUN_MIN: usize = 2;
/// Turns that produce more flush in between, so that a burst does not hold memory.
pub(crate) const QUEUE_MAX: usize = 1024;

/// One datagram to send.
pub(crate) struct Datagram {
    pub(crate) destination: SocketAddr,
    pub(crate) contents: Vec<u8>,
}

/// The datagrams of this turn.
pub(crate) struct Egress {
    queue: Vec<Datagram>,
    headers: MultiHeaders<SockaddrStorage>,
}

impl Egress {
    pub(crate) fn new() -> Self {
        Self {
            queue: Vec::with_capacity(QUEUE_MAX),
            headers: MultiHeaders::preallocate(BATCH, None),
        }
    }

    pub(crate) fn push(&mut self, datagram: Datagram) {
        self.queue.push(datagram);
    }

    pub(crate) fn is_full(&self) -> bool {
        self.queue.len() >= QUEUE_MAX
    }

    /// Sends everything. Media that the socket does not take now is worth nothing
    /// later, so it is dropped and counted, never kept.
    pub(crate) fn flush(&mut self, socket: &UdpSocket, segments_max: usize, counters: &Counters) {
        if self.queue.is_empty() {
            return;
        }
        let queue = std::mem::take(&mut self.queue);
        let mut singles: Vec<&Datagram> = Vec::with_capacity(BATCH);
        let mut rest = queue.as_slice();
        while !rest.is_empty() {
            let (run, after) = rest.split_at(run_length(rest, segments_max));
            rest = after;
            if run.len() >= RUN_MIN {
                // Order within a destination is kept: what it is owed goes first.
                if singles.iter().any(|one| one.destination == run[0].destination) {
                    self.send_batch(socket, &mut singles, counters);
                }
                send_run(socket, run, counters);
            } else {
                for one in run {
                    singles.push(one);
                    if singles.len() == BATCH {
                        self.send_batch(socket, &mut singles, counters);
                    }
                }
            }
        }
        self.send_batch(socket, &mut singles, counters);
        self.queue = queue;
        self.queue.clear();
    }

    fn send_batch(&mut self, socket: &UdpSocket, singles: &mut Vec<&Datagram>, counters: &Counters) {
        let mut from = 0;
        while from < singles.len() {
            let batch = &singles[from..];
            let slices: Vec<[IoSlice<'_>; 1]> =
                batch.iter().map(|one| [IoSlice::new(&one.contents)]).collect();
            let addresses: Vec<Option<SockaddrStorage>> = batch
                .iter()
                .map(|one| Some(SockaddrStorage::from(one.destination)))
                .collect();
            let no_control: [ControlMessage<'_>; 0] = [];
            let sent = sendmmsg(
                socket.as_raw_fd(),
                &mut self.headers,
                &slices,
                &addresses,
                no_control,
                MsgFlags::MSG_DONTWAIT,
            )
            .map(Iterator::count);
            match sent {
                Ok(sent) => {
                    let bytes = batch[..sent].iter().map(|one| one.contents.len()).sum();
                    counters.sent_batch(sent, bytes);
                    from += sent.max(1);
                }
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN | Errno::ENOBUFS) => {
                    counters.send_dropped_full(batch.len());
                    break;
                }
                // The error is about the first datagram: a destination that is unreachable or forbidden.
                Err(_) => {
                    counters.send_dropped_error(1);
                    from += 1;
                }
            }
        }
        singles.clear();
    }
}

/// How many datagrams from the front go to one destination with one size, the last
/// possibly shorter.
fn run_length(queue: &[Datagram], segments_max: usize) -> usize {
    let first = &queue[0];
    let size = first.contents.len();
    if size == 0 {
        return 1;
    }
    let longest = segments_max.min(RUN_BYTES_MAX / size).max(1);
    let mut length = 1;
    for next in queue.iter().take(longest).skip(1) {
        if next.destination != first.destination || next.contents.len() > size || next.contents.is_empty() {
            break;
        }
        length += 1;
        if next.contents.len() < size {
            break;
        }
    }
    length
}

fn send_run(socket: &UdpSocket, run: &[Datagram], counters: &Counters) {
    let slices: Vec<IoSlice<'_>> = run.iter().map(|one| IoSlice::new(&one.contents)).collect();
    let destination = SockaddrStorage::from(run[0].destination);
    let Ok(size) = u16::try_from(run[0].contents.len()) else {
        counters.send_dropped_error(run.len());
        return;
    };
    let sent = loop {
        let control = [ControlMessage::UdpGsoSegments(&size)];
        match sendmsg(
            socket.as_raw_fd(),
            &slices,
            &control,
            MsgFlags::MSG_DONTWAIT,
            Some(&destination),
        ) {
            Err(Errno::EINTR) => {}
            other => break other,
        }
    };
    match sent {
        Ok(bytes) => counters.sent_run(run.len(), bytes),
        Err(Errno::EAGAIN | Errno::ENOBUFS) => counters.send_dropped_full(run.len()),
        // EIO or EINVAL: this route's device cannot segment. One by one it still goes out.
        Err(Errno::EIO | Errno::EINVAL) => {
            for one in run {
                match socket.send_to(&one.contents, one.destination) {
                    Ok(bytes) => counters.sent_batch(1, bytes),
                    Err(_) => counters.send_dropped_error(1),
                }
            }
        }
        Err(_) => counters.send_dropped_error(run.len()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
    use std::time::Duration;

    use super::{Datagram, Egress, run_length};
    use crate::shard::counters::Counters;

    fn datagram(destination: SocketAddr, len: usize, mark: u8) -> Datagram {
        Datagram {
            destination,
            contents: vec![mark; len],
        }
    }

    fn address(port: u16) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, port).into()
    }

    #[test]
    fn a_run_is_equal_sizes_to_one_place_and_a_shorter_last() {
        let (a, b) = (address(1), address(2));
        let sizes = |list: &[(SocketAddr, usize)]| {
            let queue: Vec<_> = list.iter().map(|(to, len)| datagram(*to, *len, 0)).collect();
            run_length(&queue, 64)
        };
        assert_eq!(sizes(&[(a, 9)]), 1);
        assert_eq!(sizes(&[(a, 9), (a, 9), (a, 4), (a, 4)]), 3);
        assert_eq!(sizes(&[(a, 9), (b, 9)]), 1);
        assert_eq!(sizes(&[(a, 4), (a, 9)]), 1);
        assert_eq!(sizes(&[(a, 9), (a, 0)]), 1);
        let many: Vec<_> = (0..100).map(|_| datagram(a, 1200, 0)).collect();
        assert_eq!(run_length(&many, 64), 54);
        assert_eq!(run_length(&many, 10), 10);
        assert_eq!(run_length(&many, 1), 1);
    }

    #[test]
    fn each_place_gets_its_own_in_order() {
        let receivers: Vec<UdpSocket> = (0..3).map(|_| UdpSocket::bind(address(0)).unwrap()).collect();
        let sender = UdpSocket::bind(address(0)).unwrap();
        let counters = Counters::default();
        let mut egress = Egress::new();
        let mut expected: BTreeMap<usize, Vec<(u8, usize)>> = BTreeMap::new();
        // Receiver 0: single then run; 1: only singles, apart; 2: one long run.
        let plan = [(0, 100), (1, 50), (0, 700), (0, 700), (0, 700), (0, 20), (1, 60)]
            .into_iter()
            .chain((0..70).map(|_| (2, 900)));
        for (mark, (to, len)) in plan.enumerate() {
            let mark = u8::try_from(mark).unwrap();
            expected.entry(to).or_default().push((mark, len));
            egress.push(datagram(receivers[to].local_addr().unwrap(), len, mark));
        }
        egress.flush(&sender, 64, &counters);
        for (index, receiver) in receivers.iter().enumerate() {
            receiver.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            for (mark, len) in &expected[&index] {
                let mut buffer = [0; 2000];
                let got = receiver.recv(&mut buffer).unwrap();
                assert_eq!((buffer[0], got), (*mark, *len), "receiver {index}");
            }
        }
        let seen = counters.read();
        assert_eq!(seen.datagrams_sent, 77);
        assert_eq!(seen.gso_datagrams, 4 + 64 + 6);
        assert_eq!(seen.dropped_full + seen.dropped_error, 0);
    }
}
