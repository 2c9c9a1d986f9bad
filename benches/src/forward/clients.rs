//! Publishers and subscribers: str0m over real UDP, all on one thread.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use socket2::SockRef;
use str0m::change::{SdpAnswer, SdpOffer, SdpPendingOffer};
use str0m::format::PayloadParams;
use str0m::media::{Direction, MediaKind, Mid, Pt};
use str0m::net::{Protocol, Receive};
use str0m::rtp::{Extension, RtpWrite, Ssrc};
use str0m::{Candidate, Event, Input, Output, Rtc};

use super::process::Server;

/// Kernel buffers of a client: a stall of the generator must not look like loss.
const SOCKET_BUFFER: usize = 4 * 1024 * 1024;
/// How long everyone may take to connect and to get the first packet of every publisher.
const READY: Duration = Duration::from_secs(40);
/// Of this many packets one tells its latency.
const LATENCY_SAMPLE: u64 = 7;

/// What is sent and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) publishers: usize,
    pub(crate) subscribers: usize,
    /// Packets per second of each publisher.
    pub(crate) rate: u32,
    /// Packets that leave at once.
    pub(crate) burst: u32,
    /// Bytes of each.
    pub(crate) payload: usize,
    /// Whether subscribers report arrivals, so that the server adapts to what it takes
    /// for their bandwidth. Without, the load is what it says on every machine.
    pub(crate) feedback: bool,
}

/// What one run showed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measured {
    pub(crate) per_cpu_second: f64,
    pub(crate) latency_p50_us: f64,
    pub(crate) latency_p99_us: f64,
    /// Share of the packets that should have come.
    pub(crate) delivered: f64,
    /// Cores the server used.
    pub(crate) cores: f64,
    /// Resident memory the server gained, shared out among the participants.
    pub(crate) memory_per_participant: f64,
}

impl Measured {
    pub(crate) fn line(&self) -> String {
        format!(
            "{:.0}/cpu-s ({:.2} cores, {:.1} % delivered, p50 {:.0} µs, p99 {:.0} µs)",
            self.per_cpu_second,
            self.cores,
            self.delivered * 100.0,
            self.latency_p50_us,
            self.latency_p99_us
        )
    }
}

enum Role {
    Publisher {
        mid: Mid,
        stream: Option<(Ssrc, Pt)>,
        sequence: u64,
        frame: u32,
        key: bool,
        next: Instant,
    },
    Subscriber {
        from: Vec<bool>,
        streams: Vec<Ssrc>,
    },
}

/// One connection.
pub(crate) struct Client {
    socket: UdpSocket,
    address: SocketAddr,
    rtc: Rtc,
    due: Instant,
    connected: bool,
    role: Role,
    pending: Option<SdpPendingOffer>,
}

/// All of them.
pub(crate) struct Clients {
    clients: Vec<Client>,
    load: Load,
    epoch: Instant,
    counting: bool,
    received: u64,
    latencies_us: Vec<u32>,
    buffer: Vec<u8>,
}

impl Client {
    fn new(ip: IpAddr, role: Role, feedback: bool) -> anyhow::Result<Self> {
        let socket = UdpSocket::bind((ip, 0))?;
        socket.set_nonblocking(true)?;
        let options = SockRef::from(&socket);
        options.set_recv_buffer_size(SOCKET_BUFFER)?;
        options.set_send_buffer_size(SOCKET_BUFFER)?;
        let address = socket.local_addr()?;
        let now = Instant::now();
        let mut builder = Rtc::builder();
        if !feedback {
            builder = builder.clear_extension_map().set_extension(4, Extension::RtpMid);
        }
        let mut rtc = builder
            .set_rtp_mode(true)
            .clear_codecs()
            .enable_opus(true, false)
            .enable_vp8(true)
            .set_send_buffer_video(64)
            .build(now);
        rtc.add_local_candidate(Candidate::host(address, "udp")?);
        Ok(Self {
            socket,
            address,
            rtc,
            due: now,
            connected: false,
            role,
            pending: None,
        })
    }

    /// Who sends one picture stream; with the offer.
    pub(crate) fn publisher(ip: IpAddr) -> anyhow::Result<(Self, String)> {
        let role = Role::Publisher {
            mid: Mid::from("0"),
            stream: None,
            sequence: 0,
            frame: 0,
            key: true,
            next: Instant::now(),
        };
        let mut client = Self::new(ip, role, true)?;
        let mut api = client.rtc.sdp_api();
        let mid = api.add_media(MediaKind::Video, Direction::SendOnly, None, None, None);
        let (offer, pending) = api.apply().context("media was added")?;
        client.pending = Some(pending);
        if let Role::Publisher { mid: m, .. } = &mut client.role {
            *m = mid;
        }
        Ok((client, offer.to_sdp_string()))
    }

    /// Who receives the load's streams, and has not yet negotiated.
    pub(crate) fn subscriber(ip: IpAddr, load: &Load) -> anyhow::Result<Self> {
        let role = Role::Subscriber {
            from: vec![false; load.publishers],
            streams: Vec::new(),
        };
        Self::new(ip, role, load.feedback)
    }

    /// An offer with one receive slot per publisher.
    pub(crate) fn offer(&mut self) -> anyhow::Result<String> {
        let Role::Subscriber { from, .. } = &self.role else {
            anyhow::bail!("publishers have offered")
        };
        let mut api = self.rtc.sdp_api();
        for _ in 0..from.len() {
            api.add_media(MediaKind::Video, Direction::RecvOnly, None, None, None);
        }
        let (offer, pending) = api.apply().context("media was added")?;
        self.pending = Some(pending);
        Ok(offer.to_sdp_string())
    }

    pub(crate) fn accept_answer(&mut self, answer: &str) -> anyhow::Result<()> {
        let pending = self.pending.take().context("an offer was made")?;
        self.rtc
            .sdp_api()
            .accept_answer(pending, SdpAnswer::from_sdp_string(answer)?)?;
        self.due = Instant::now();
        Ok(())
    }

    pub(crate) fn accept_offer(&mut self, offer: &str) -> anyhow::Result<String> {
        let answer = self
            .rtc
            .sdp_api()
            .accept_offer(SdpOffer::from_sdp_string(offer)?)?;
        self.due = Instant::now();
        Ok(answer.to_sdp_string())
    }
}

impl Clients {
    pub(crate) fn new(load: Load) -> Self {
        Self {
            clients: Vec::new(),
            load,
            epoch: Instant::now(),
            counting: false,
            received: 0,
            latencies_us: Vec::new(),
            buffer: vec![0; 65_536],
        }
    }

    pub(crate) fn push(&mut self, client: Client) {
        self.clients.push(client);
    }

    /// Drives everyone for a while: what signalling needs between its requests.
    pub(crate) fn drive(&mut self, time: Duration) -> anyhow::Result<()> {
        let until = Instant::now() + time;
        while Instant::now() < until {
            self.turn(until)?;
        }
        Ok(())
    }

    /// Runs the load: until everyone gets everything, then for `time` while counting.
    pub(crate) fn measure(&mut self, servers: &[&Server], time: Duration) -> anyhow::Result<Measured> {
        let until = Instant::now() + READY;
        while !self.ready() {
            anyhow::ensure!(
                Instant::now() < until,
                "not everyone got everything: {}",
                self.missing()
            );
            self.turn(until)?;
        }
        // What was queued while things started is not part of the load.
        self.drive(Duration::from_secs(1))?;
        self.counting = true;
        self.received = 0;
        self.latencies_us.clear();
        let (cpu, began) = (cpu_seconds(servers)?, Instant::now());
        self.drive(time)?;
        let cpu = cpu_seconds(servers)? - cpu;
        let seconds = began.elapsed().as_secs_f64();
        self.counting = false;
        let expected =
            f64::from(self.load.rate) * (self.load.publishers * self.load.subscribers) as f64 * seconds;
        self.latencies_us.sort_unstable();
        let percentile = |share: f64| {
            let index = (self.latencies_us.len() as f64 * share) as usize;
            self.latencies_us.get(index).copied().map_or(0.0, f64::from)
        };
        let gained: u64 = servers
            .iter()
            .map(|server| server.gained_bytes())
            .sum::<anyhow::Result<u64>>()?;
        Ok(Measured {
            memory_per_participant: gained as f64 / self.clients.len() as f64,
            per_cpu_second: self.received as f64 / cpu.max(0.01),
            latency_p50_us: percentile(0.5),
            latency_p99_us: percentile(0.99),
            delivered: self.received as f64 / expected,
            cores: cpu / seconds,
        })
    }

    fn ready(&self) -> bool {
        self.clients.iter().all(|c| match &c.role {
            Role::Publisher { .. } => c.connected,
            Role::Subscriber { from, .. } => from.iter().all(|f| *f),
        })
    }

    fn missing(&self) -> String {
        let connected = self.clients.iter().filter(|c| c.connected).count();
        let streams: usize = self
            .clients
            .iter()
            .map(|c| match &c.role {
                Role::Publisher { .. } => 0,
                Role::Subscriber { from, .. } => from.iter().filter(|f| **f).count(),
            })
            .sum();
        format!(
            "{connected} of {} connected, {streams} streams come",
            self.clients.len()
        )
    }

    /// Waits for the first thing to do, does it for everyone.
    fn turn(&mut self, until: Instant) -> anyhow::Result<()> {
        let next = |c: &Client| match &c.role {
            Role::Publisher { next, .. } if c.connected => c.due.min(*next),
            _ => c.due,
        };
        let due = self.clients.iter().map(next).min().unwrap_or(until).min(until);
        let pause = TimeSpec::from_duration(due.saturating_duration_since(Instant::now()));
        let mut fds: Vec<PollFd<'_>> = self
            .clients
            .iter()
            .map(|c| PollFd::new(c.socket.as_fd(), PollFlags::POLLIN))
            .collect();
        ppoll(&mut fds, Some(pause), None)?;
        let readable: Vec<bool> = fds.iter().map(|f| f.any().unwrap_or(false)).collect();
        for (index, readable) in readable.into_iter().enumerate() {
            if readable {
                self.receive(index)?;
            }
            let now = Instant::now();
            self.publish(index, now);
            if self.clients[index].due <= now {
                self.clients[index].rtc.handle_input(Input::Timeout(now))?;
                self.poll(index, now)?;
            }
        }
        Ok(())
    }

    fn receive(&mut self, index: usize) -> anyhow::Result<()> {
        let mut buffer = std::mem::take(&mut self.buffer);
        while let Ok((length, source)) = self.clients[index].socket.recv_from(&mut buffer) {
            let now = Instant::now();
            let client = &mut self.clients[index];
            if let Ok(receive) = Receive::new(Protocol::Udp, source, client.address, &buffer[..length]) {
                client.rtc.handle_input(Input::Receive(now, receive))?;
                self.poll(index, now)?;
            }
        }
        self.buffer = buffer;
        Ok(())
    }

    fn poll(&mut self, index: usize, now: Instant) -> anyhow::Result<()> {
        loop {
            let client = &mut self.clients[index];
            match client.rtc.poll_output()? {
                Output::Timeout(at) if at <= now => client.rtc.handle_input(Input::Timeout(now))?,
                Output::Timeout(at) => {
                    client.due = at;
                    return Ok(());
                }
                // A full buffer is loss, and counted as such at the other end.
                Output::Transmit(t) => drop(client.socket.send_to(&t.contents, t.destination)),
                Output::Event(Event::Connected) => {
                    client.connected = true;
                    if let Role::Publisher { next, .. } = &mut client.role {
                        *next = now;
                    }
                }
                Output::Event(Event::KeyframeRequest(_)) => {
                    if let Role::Publisher { key, .. } = &mut client.role {
                        *key = true;
                    }
                }
                Output::Event(Event::RtpPacket(packet)) => {
                    self.note(index, packet.header.ssrc, &packet.payload);
                }
                Output::Event(_) => {}
            }
        }
    }

    fn note(&mut self, index: usize, ssrc: Ssrc, payload: &[u8]) {
        if let Role::Subscriber { from, streams } = &mut self.clients[index].role
            && !streams.contains(&ssrc)
        {
            if let Some(slot) = from.get_mut(streams.len()) {
                *slot = true;
            }
            streams.push(ssrc);
        }
        if !self.counting {
            return;
        }
        self.received += 1;
        if self.received.is_multiple_of(LATENCY_SAMPLE)
            && let Some(sent) = payload.get(16..24).and_then(|b| b.try_into().ok())
        {
            let sent = Duration::from_nanos(u64::from_be_bytes(sent));
            let late = self.epoch.elapsed().saturating_sub(sent);
            self.latencies_us
                .push(u32::try_from(late.as_micros()).unwrap_or(u32::MAX));
        }
    }

    /// Writes what is due of a publisher.
    fn publish(&mut self, index: usize, now: Instant) {
        let (load, epoch) = (self.load, self.epoch);
        let client = &mut self.clients[index];
        let Role::Publisher {
            mid,
            stream,
            sequence,
            frame,
            key,
            next,
        } = &mut client.role
        else {
            return;
        };
        if !client.connected || now < *next {
            return;
        }
        let interval = Duration::from_secs_f64(f64::from(load.burst) / f64::from(load.rate));
        // After a stall the rate is kept, not the backlog.
        *next = (*next + interval).max(now - interval);
        if stream.is_none() {
            let pt = client
                .rtc
                .codec_config()
                .find(|p| p.spec().codec.is_video())
                .map(PayloadParams::pt);
            let ssrc = client
                .rtc
                .direct_api()
                .stream_tx_by_mid(*mid, None)
                .map(|s| s.ssrc());
            *stream = ssrc.zip(pt);
        }
        let Some((ssrc, pt)) = *stream else { return };
        // One picture is a burst, or as many single packets as a burst would have.
        let per_frame = u64::from(load.burst.max(load.rate / 30));
        let sent_at = (now - epoch).as_nanos() as u64;
        let mut direct = client.rtc.direct_api();
        let Some(tx) = direct.stream_tx(&ssrc) else { return };
        for _ in 0..load.burst {
            *sequence += 1;
            let place = *sequence % per_frame;
            if place == 1 {
                *frame += 1;
            }
            let first = place == 1 || per_frame == 1;
            let payload = picture(load.payload, first, first && std::mem::take(key), *frame, sent_at);
            let write = RtpWrite::new(pt, (*sequence).into(), *frame * 3_000, now, payload);
            tx.write_rtp(write.marker(place == 0).nackable(true));
        }
        client.due = now;
    }
}

fn cpu_seconds(servers: &[&Server]) -> anyhow::Result<f64> {
    servers.iter().map(|s| s.cpu_seconds()).sum()
}

/// A VP8 packet (RFC 7741) with the time it was sent.
fn picture(bytes: usize, first: bool, key: bool, frame: u32, sent_at_ns: u64) -> Arc<[u8]> {
    let mut payload = vec![0; bytes];
    payload[0] = if first { 0x90 } else { 0x80 };
    payload[1] = 0x80;
    payload[2] = 0x80 | (frame >> 8) as u8;
    payload[3] = frame as u8;
    payload[4] = u8::from(!key);
    payload[16..24].copy_from_slice(&sent_at_ns.to_be_bytes());
    payload.into()
}
