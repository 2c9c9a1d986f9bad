//! Relays, peers, and a client that says exactly what a test wants said.

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, LazyLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use medmesh_turn::codec::{
    Builder, Class, Datagram, IntegrityKind, Message, Method, TransactionId, attribute, decode,
    decode_xor_address,
};
use medmesh_turn::{PeerPolicy, Relay, RelayConfig, RelayHandle, Secret, Secrets, TlsFiles, long_term_key};

use rustls::pki_types::CertificateDer;

use crate::wire::{self, Wire};

pub(crate) const REALM: &str = "medmesh";
pub(crate) const SECRET: &str = "0123456789abcdef0123456789abcdef0123456789a";
/// Long enough for a busy machine, short enough to notice.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn loopback() -> IpAddr {
    Ipv4Addr::LOCALHOST.into()
}

pub(crate) fn config() -> RelayConfig {
    RelayConfig {
        listen: vec![SocketAddr::new(loopback(), 0)],
        workers: 2,
        ..RelayConfig::default()
    }
}

pub(crate) fn secrets() -> Secrets {
    Secrets::new(Secret::new(1, SECRET), None)
}

/// Unprivileged ports of loopback: what tests need and production must not have.
pub(crate) fn loopback_peers() -> PeerPolicy {
    PeerPolicy::allow_list(
        ["127.0.0.1:1024-65535", "[::1]:1024-65535"]
            .map(|rule| rule.parse().unwrap())
            .into(),
    )
}

pub(crate) fn spawn(config: RelayConfig, policy: PeerPolicy) -> RelayHandle {
    Relay::spawn(config, secrets(), policy, &prometheus::Registry::new()).unwrap()
}

/// Writes a fresh self-signed pair; returns the certificate for clients.
pub(crate) fn write_pair(directory: &Path) -> (TlsFiles, CertificateDer<'static>) {
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let pair = rcgen::generate_simple_self_signed(names).unwrap();
    let files = TlsFiles {
        cert: directory.join("cert.pem"),
        key: directory.join("key.pem"),
    };
    std::fs::write(&files.key, pair.signing_key.serialize_pem()).unwrap();
    std::fs::write(&files.cert, pair.cert.pem()).unwrap();
    (files, pair.cert.der().clone())
}

/// A port for a server that can only be told a number. The kernel gives ports from 32768 on to
/// whoever asks for any, as the floods of these tests do by the thousand: one of those may be taken again
/// before the server is up, so this is below. Two at a time, because coturn takes the next one as well.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = u16::try_from(std::process::id() % 5_000).expect("below 5,000") * 2;
    let is_free = |port: u16| {
        UdpSocket::bind((loopback(), port)).is_ok() && TcpListener::bind((loopback(), port)).is_ok()
    };
    (0..5_000)
        .map(|_| 21_000 + (first + NEXT.fetch_add(2, Ordering::Relaxed)) % 10_000)
        .find(|port| is_free(*port) && is_free(port + 1))
        .expect("10,000 ports are not all taken")
}

/// Tells threads to end however the test does: one that fails while they run would wait for them otherwise.
pub(crate) struct StopAtEnd<'a>(pub(crate) &'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Waits until something holds.
pub(crate) fn eventually(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        std::thread::yield_now();
    }
}

/// When everybody's credentials end: one instant, or somebody's second connection, made a second later,
/// would have another name and own nothing.
static EXPIRES_UNIX_S: LazyLock<u64> =
    LazyLock::new(|| SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + 3600);

pub(crate) fn credentials(user: &str) -> (String, String) {
    let username = format!("{}:{user}", *EXPIRES_UNIX_S);
    let password = Secret::new(1, SECRET).password(&username);
    (username, password)
}

/// Sends back whatever it gets.
pub(crate) struct Echo {
    pub(crate) address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Echo {
    pub(crate) fn new() -> Self {
        let socket = UdpSocket::bind((loopback(), 0)).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let address = socket.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut buffer = vec![0; 65_536];
            while !stopped.load(Ordering::Relaxed) {
                if let Ok((length, from)) = socket.recv_from(&mut buffer) {
                    socket.send_to(&buffer[..length], from).unwrap();
                }
            }
        });
        Self {
            address,
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

/// A client on the wire that can be made to do anything.
pub(crate) struct WireClient {
    pub(crate) socket: Wire,
    pub(crate) username: String,
    pub(crate) password: String,
    pub(crate) realm: String,
    nonce: Vec<u8>,
    transactions: u32,
}

/// An answer off the wire.
pub(crate) struct Reply(Vec<u8>);

impl Reply {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }

    pub(crate) fn message(&self) -> Message<'_> {
        let Ok(Datagram::Message(message)) = decode(&self.0) else {
            panic!("not a message: {:?}", self.0)
        };
        message
    }

    pub(crate) fn get(&self, kind: u16) -> Option<&[u8]> {
        self.message()
            .attributes()
            .find(|attribute| attribute.kind == kind)
            .map(|attribute| attribute.value)
    }

    /// 0 for success.
    pub(crate) fn code(&self) -> u16 {
        self.get(attribute::ERROR_CODE)
            .map_or(0, |value| u16::from(value[2]) * 100 + u16::from(value[3]))
    }

    pub(crate) fn relayed(&self) -> SocketAddr {
        let value = self.get(attribute::XOR_RELAYED_ADDRESS).expect("an allocation");
        decode_xor_address(value, &self.message().transaction()).unwrap()
    }
}

impl WireClient {
    pub(crate) fn new(server: SocketAddr, user: &str) -> Self {
        let socket = UdpSocket::bind((loopback(), 0)).unwrap();
        socket.connect(server).unwrap();
        Self::over(Wire::Udp(socket), user)
    }

    /// A client over TCP.
    pub(crate) fn tcp(server: SocketAddr, user: &str) -> Self {
        Self::over(Wire::Tcp(TcpStream::connect(server).unwrap()), user)
    }

    /// A client over TLS that trusts `root`.
    pub(crate) fn tls(server: SocketAddr, root: &CertificateDer<'static>, user: &str) -> Self {
        let stream = TcpStream::connect(server).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let stream = wire::tls(stream, root.clone(), &[]);
        Self::over(Wire::Tls(Box::new(RefCell::new(stream))), user)
    }

    pub(crate) fn over(socket: Wire, user: &str) -> Self {
        let (username, password) = credentials(user);
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self {
            socket,
            username,
            password,
            realm: REALM.to_owned(),
            nonce: Vec::new(),
            transactions: 0,
        }
    }

    /// The same credentials from another address.
    pub(crate) fn elsewhere(&self, server: SocketAddr) -> Self {
        let mut client = Self::new(server, "");
        client.username.clone_from(&self.username);
        client.password.clone_from(&self.password);
        client
    }

    pub(crate) fn nonce(&self) -> &[u8] {
        &self.nonce
    }

    /// The same 5-tuple with other credentials.
    pub(crate) fn impostor(&self, user: &str) -> Self {
        let (username, password) = credentials(user);
        let socket = self.socket.try_clone().unwrap();
        Self {
            socket,
            username,
            password,
            nonce: self.nonce.clone(),
            realm: self.realm.clone(),
            ..*self
        }
    }

    pub(crate) fn transaction(&mut self) -> TransactionId {
        self.transactions += 1;
        let mut id = [0; 12];
        id[..2].copy_from_slice(&self.socket.local_addr().unwrap().port().to_be_bytes());
        id[2..6].copy_from_slice(&self.transactions.to_be_bytes());
        id[6] = u8::try_from(self.username.len()).unwrap();
        id
    }

    /// Sends bytes, takes the answer; `None` if there is none within `patience`.
    pub(crate) fn exchange(&self, request: &[u8], patience: Duration) -> Option<Reply> {
        self.socket.send(request).unwrap();
        self.socket.set_read_timeout(Some(patience)).unwrap();
        let mut buffer = [0; 2048];
        let length = self.socket.recv(&mut buffer).ok()?;
        Some(Reply(buffer[..length].to_vec()))
    }

    /// As [`WireClient::exchange`], where the other side may have hung up.
    pub(crate) fn exchange_maybe(&self, request: &[u8]) -> Option<Reply> {
        self.socket.send(request).ok()?;
        let mut buffer = [0; 2048];
        let length = self.socket.recv(&mut buffer).ok()?;
        Some(Reply(buffer[..length].to_vec()))
    }

    pub(crate) fn challenge(&mut self) {
        let bare = udp(Builder::new(Class::Request, Method::ALLOCATE, self.transaction())).finish();
        let reply = self.exchange(&bare, PATIENCE).expect("a challenge");
        self.nonce = reply.get(attribute::NONCE).expect("a nonce").to_vec();
    }

    pub(crate) fn seal(&self, request: Builder) -> Vec<u8> {
        let key = long_term_key(&self.username, &self.realm, &self.password);
        request
            .attribute(attribute::USERNAME, self.username.as_bytes())
            .attribute(attribute::REALM, self.realm.as_bytes())
            .attribute(attribute::NONCE, &self.nonce)
            .integrity(IntegrityKind::Sha1, &key)
            .finish()
    }

    pub(crate) fn try_request(
        &mut self,
        method: Method,
        patience: Duration,
        attributes: impl FnOnce(Builder) -> Builder,
    ) -> Option<Reply> {
        if self.nonce.is_empty() {
            self.challenge();
        }
        let transaction = self.transaction();
        let request = self.seal(attributes(Builder::new(Class::Request, method, transaction)));
        self.exchange(&request, patience)
    }

    pub(crate) fn request(&mut self, method: Method, attributes: impl FnOnce(Builder) -> Builder) -> Reply {
        self.try_request(method, PATIENCE, attributes).expect("an answer")
    }

    pub(crate) fn allocate(&mut self) -> Reply {
        self.request(Method::ALLOCATE, udp)
    }

    pub(crate) fn permit(&mut self, peers: &[SocketAddr]) -> u16 {
        let add = |request: Builder, peer: &SocketAddr| request.address(attribute::XOR_PEER_ADDRESS, *peer);
        self.request(Method::CREATE_PERMISSION, |request| {
            peers.iter().fold(request, add)
        })
        .code()
    }

    pub(crate) fn bind(&mut self, number: u16, peer: SocketAddr) -> u16 {
        let [n1, n0] = number.to_be_bytes();
        self.request(Method::CHANNEL_BIND, |request| {
            request
                .attribute(attribute::CHANNEL_NUMBER, &[n1, n0, 0, 0])
                .address(attribute::XOR_PEER_ADDRESS, peer)
        })
        .code()
    }

    /// Sends channel data; returns the datagram.
    pub(crate) fn send_on_channel(&self, number: u16, data: &[u8]) -> Vec<u8> {
        let mut datagram = number.to_be_bytes().to_vec();
        datagram.extend_from_slice(&u16::try_from(data.len()).unwrap().to_be_bytes());
        datagram.extend_from_slice(data);
        self.socket.send(&datagram).unwrap();
        datagram
    }

    /// One round trip of `data` over a channel.
    pub(crate) fn echo_over_channel(&self, number: u16, data: &[u8]) -> bool {
        self.echoes_within(PATIENCE, number, data)
    }

    /// One round trip, if it takes no longer than `patience`.
    pub(crate) fn echoes_within(&self, patience: Duration, number: u16, data: &[u8]) -> bool {
        self.socket.set_read_timeout(Some(patience)).unwrap();
        let datagram = self.send_on_channel(number, data);
        let mut buffer = vec![0; 65_536];
        self.socket
            .recv(&mut buffer)
            .is_ok_and(|length| buffer[..length] == datagram)
    }
}

pub(crate) fn udp(request: Builder) -> Builder {
    request.attribute(attribute::REQUESTED_TRANSPORT, &[17, 0, 0, 0])
}
