//! One TURN client with one channel, or one peer it sends indications to.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use medmesh_turn::codec::{
    Builder, Class, Datagram, IntegrityKind, Message, Method, TransactionId, attribute, decode,
    decode_xor_address,
};
use medmesh_turn::{IntegrityKey, Secret, long_term_key};

/// Realm and secret both servers are given.
pub(super) const REALM: &str = "medmesh";
pub(super) const SECRET: &str = "0123456789abcdef0123456789abcdef0123456789a";
/// The bare forwarder answers once: loopback in microseconds, a busy machine in less than this.
const PATIENCE: Duration = Duration::from_secs(5);
/// First wait for an answer, doubled with each repetition (RFC 8489 §6.2.1: 500 ms where
/// nothing is known of the path; of loopback it is known that it answers in microseconds).
const RTO: Duration = Duration::from_millis(100);
/// Requests that are sent (RFC 8489 §6.2.1: Rc).
const REQUESTS_MAX: u32 = 7;
/// The wait after the last, in RTOs (RFC 8489 §6.2.1: Rm).
const LAST_WAIT: u32 = 16;
/// The 5-tuple has an allocation already (RFC 8656 §19).
const ALLOCATION_MISMATCH: u16 = 437;
/// Ports a flow tries; an earlier flow's is met in one of some hundred.
const PORTS_TRIED: usize = 8;

/// An allocation with a channel, or a permission, to the sink.
pub(super) struct Flow {
    pub(super) socket: UdpSocket,
    pub(super) relayed: SocketAddr,
    /// The channel; none: the payload goes as it is.
    number: Option<u16>,
    peer: SocketAddr,
}

impl Flow {
    /// A flow of the bare forwarder, which tells its address.
    pub(super) fn bare(server: SocketAddr, peer: SocketAddr) -> anyhow::Result<Self> {
        let socket = UdpSocket::bind((near(server), 0))?;
        socket.connect(server)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.send(medmesh_turn::FORWARD_ASK)?;
        let mut buffer = [0; 100];
        let length = socket.recv(&mut buffer).context("the forwarder is silent")?;
        let relayed = std::str::from_utf8(&buffer[..length])?.parse()?;
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket,
            relayed,
            number: None,
            peer,
        })
    }

    /// A flow past every server, straight to the peer: what the generator itself can do.
    pub(super) fn direct(peer: SocketAddr) -> anyhow::Result<Self> {
        let socket = UdpSocket::bind((near(peer), 0))?;
        socket.connect(peer)?;
        socket.set_nonblocking(true)?;
        Ok(Self {
            relayed: socket.local_addr()?,
            socket,
            number: None,
            peer,
        })
    }

    /// Allocates and, for `channel`, binds; otherwise permits, and sends something, as whoever looks for a way does.
    pub(super) fn open(
        server: SocketAddr,
        peer: SocketAddr,
        index: u32,
        channel: bool,
    ) -> anyhow::Result<Self> {
        // Flows of earlier loads went without a word, and the kernel gives their ports away again:
        // who meets such an allocation takes another port (RFC 8656 §7.4).
        let taken = |error: &anyhow::Error| error.downcast_ref() == Some(&Refused(ALLOCATION_MISMATCH));
        let mut result = Self::try_open(server, peer, index, channel);
        for _ in 0..PORTS_TRIED {
            result = match result {
                Err(error) if taken(&error) => Self::try_open(server, peer, index, channel),
                other => return other,
            };
        }
        result
    }

    fn try_open(server: SocketAddr, peer: SocketAddr, index: u32, channel: bool) -> anyhow::Result<Self> {
        let mut caller = Caller::new(server, index)?;
        let udp = |r: Builder| r.attribute(attribute::REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
        caller.challenge(udp)?;
        let relayed = caller.call(Method::ALLOCATE, udp, |message| {
            let value = find(message, attribute::XOR_RELAYED_ADDRESS)?;
            decode_xor_address(&value, &message.transaction())
        })?;
        let number = 0x4000 + u16::try_from(index % 0x0FFF)?;
        let permit = |r: Builder| r.address(attribute::XOR_PEER_ADDRESS, peer);
        let [n1, n0] = number.to_be_bytes();
        let bind = |r: Builder| permit(r.attribute(attribute::CHANNEL_NUMBER, &[n1, n0, 0, 0]));
        if channel {
            caller.call(Method::CHANNEL_BIND, bind, |_| Some(()))?;
        } else {
            caller.call(Method::CREATE_PERMISSION, permit, |_| Some(()))?;
        }
        caller.socket.set_nonblocking(true)?;
        let flow = Self {
            socket: caller.socket,
            relayed,
            number: Some(number),
            peer,
        };
        if !channel {
            flow.socket.send(&flow.frame(b"anybody there?", false).0)?;
        }
        Ok(flow)
    }

    /// What this client sends for `payload`, and where in it the payload begins.
    pub(super) fn frame(&self, payload: &[u8], channel: bool) -> (Vec<u8>, usize) {
        let Some(number) = self.number else {
            return (payload.to_vec(), 0);
        };
        if channel {
            let length = u16::try_from(payload.len()).unwrap_or(u16::MAX);
            let header = [number.to_be_bytes(), length.to_be_bytes()].concat();
            return ([&header, payload].concat(), header.len());
        }
        let indication = Builder::new(Class::Indication, Method::SEND, [9; 12])
            .address(attribute::XOR_PEER_ADDRESS, self.peer)
            .attribute(attribute::DATA, payload)
            .finish();
        // Header, peer attribute of 12 bytes, header of the data attribute.
        (indication, 20 + 12 + 4)
    }
}

/// Where to send from to reach `other`: an address of its kind, or whichever the kernel picks.
pub(super) fn near(other: SocketAddr) -> IpAddr {
    if other.ip().is_loopback() {
        Ipv4Addr::LOCALHOST.into()
    } else {
        Ipv4Addr::UNSPECIFIED.into()
    }
}

/// A client's side of requests and answers.
struct Caller {
    socket: UdpSocket,
    index: u32,
    username: String,
    key: IntegrityKey,
    nonce: Vec<u8>,
    requests: u32,
}

/// The server's error code.
#[derive(Debug, PartialEq, Eq)]
struct Refused(u16);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "refused with {}", self.0)
    }
}

impl std::error::Error for Refused {}

impl Caller {
    fn new(server: SocketAddr, index: u32) -> anyhow::Result<Self> {
        let socket = UdpSocket::bind((near(server), 0))?;
        socket.connect(server)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let username = format!("{}:bench-{index}", now + 3600);
        let key = long_term_key(&username, REALM, &Secret::new(1, SECRET).password(&username));
        Ok(Self {
            socket,
            index,
            username,
            key,
            nonce: Vec::new(),
            requests: 0,
        })
    }

    fn begin(&mut self, method: Method) -> (Builder, TransactionId) {
        self.requests += 1;
        let mut id = [0; 12];
        id[..4].copy_from_slice(&self.requests.to_be_bytes());
        id[4..8].copy_from_slice(&self.index.to_be_bytes());
        (Builder::new(Class::Request, method, id), id)
    }

    /// Asks without credentials, and keeps the nonce of the refusal.
    fn challenge(&mut self, attributes: impl Fn(Builder) -> Builder) -> anyhow::Result<()> {
        let (request, id) = self.begin(Method::ALLOCATE);
        let answer = exchange(&self.socket, &attributes(request).finish(), id)?;
        let message = message(&answer).context("the answer is no STUN message")?;
        match (find(&message, attribute::NONCE), refused(&message)) {
            (Some(nonce), _) => self.nonce = nonce,
            // coturn says so before it asks for credentials.
            (None, Some(refused)) => return Err(refused.into()),
            (None, None) => anyhow::bail!("no challenge"),
        }
        Ok(())
    }

    /// Asks with credentials; `read` takes what is wanted from the answer.
    fn call<T>(
        &mut self,
        method: Method,
        attributes: impl Fn(Builder) -> Builder,
        read: impl Fn(&Message<'_>) -> Option<T>,
    ) -> anyhow::Result<T> {
        let (request, id) = self.begin(method);
        let request = attributes(request)
            .attribute(attribute::USERNAME, self.username.as_bytes())
            .attribute(attribute::REALM, REALM.as_bytes())
            .attribute(attribute::NONCE, &self.nonce)
            .integrity(IntegrityKind::Sha1, &self.key)
            .finish();
        let answer = exchange(&self.socket, &request, id)?;
        let message = message(&answer).context("the answer is no STUN message")?;
        if let Some(refused) = refused(&message) {
            return Err(refused.into());
        }
        read(&message).with_context(|| format!("{method:?}: the answer lacks what was asked for"))
    }
}

fn refused(message: &Message<'_>) -> Option<Refused> {
    let value = find(message, attribute::ERROR_CODE)?;
    let (class, number) = (value.get(2)?, value.get(3)?);
    Some(Refused(u16::from(*class) * 100 + u16::from(*number)))
}

fn message(bytes: &[u8]) -> Option<Message<'_>> {
    match decode(bytes) {
        Ok(Datagram::Message(message)) => Some(message),
        _ => None,
    }
}

/// Sends a request until it is answered, as RFC 8489 §6.2.1 asks of a client over UDP.
///
/// A port that refuses may listen in a moment: coturn was seen to refuse right after its
/// first answer.
fn exchange(socket: &UdpSocket, request: &[u8], id: TransactionId) -> anyhow::Result<Vec<u8>> {
    let refused = |error: &io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    for attempt in 0..REQUESTS_MAX {
        match socket.send(request) {
            Err(error) if !refused(&error) => return Err(error.into()),
            _ => {}
        }
        let last = attempt + 1 == REQUESTS_MAX;
        let until = Instant::now() + RTO * if last { LAST_WAIT } else { 1 << attempt };
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            socket.set_read_timeout(Some(left))?;
            let mut buffer = [0; 2048];
            match socket.recv(&mut buffer) {
                Ok(length) => {
                    let answer = &buffer[..length];
                    // The answer to an earlier request, which was sent twice, is not this one's.
                    if message(answer).is_some_and(|message| message.transaction() == id) {
                        return Ok(answer.to_vec());
                    }
                }
                Err(error) if refused(&error) => {}
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
    anyhow::bail!("no answer to {REQUESTS_MAX} requests")
}

fn find(message: &Message<'_>, kind: u16) -> Option<Vec<u8>> {
    message
        .attributes()
        .find(|attribute| attribute.kind == kind)
        .map(|attribute| attribute.value.to_vec())
}
