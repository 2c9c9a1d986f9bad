//! A TURN client over UDP, as far as somebody in a visit needs one (RFC 8656): it allocates, permits the
//! edge's addresses, and sends and receives by indications.

use std::net::SocketAddr;
use std::time::Duration;

use medmesh_api_types::signaling::IceServer;
use medmesh_turn::codec::{
    Builder, Class, Datagram, Fields, IntegrityKind, Message, Method, attribute, decode, decode_xor_address,
};
use medmesh_turn::{IntegrityKey, long_term_key};
use rand::random;
use tokio::net::UdpSocket;

/// How long a relay may take to answer; loopback takes a thousandth of it.
const PATIENCE: Duration = Duration::from_secs(10);
/// A packet of media with what TURN puts around it.
const LARGEST_DATAGRAM: usize = 2048;
const UDP: [u8; 4] = [17, 0, 0, 0];

/// An allocation on a relay.
pub struct Relayed {
    socket: UdpSocket,
    relayed: SocketAddr,
    username: String,
    realm: Vec<u8>,
    nonce: Vec<u8>,
    key: IntegrityKey,
}

impl Relayed {
    /// Allocates at the first URL over UDP of an ICE server, with the credentials that came with it.
    ///
    /// # Errors
    /// The error code of the relay.
    ///
    /// # Panics
    /// When there is no such URL, or nobody answers there.
    pub async fn allocate(server: &IceServer) -> Result<Self, u16> {
        let url = server.urls.iter().find(|url| url.ends_with("?transport=udp"));
        let place = url.and_then(|url| url.strip_prefix("turn:")?.strip_suffix("?transport=udp"));
        let place: SocketAddr = place
            .and_then(|place| place.parse().ok())
            .expect("a URL over UDP on loopback");
        let socket = UdpSocket::bind("127.0.0.1:0")
            .await
            .expect("loopback has free ports");
        socket.connect(place).await.expect("an address is one");
        let bare = request(Method::ALLOCATE).attribute(attribute::REQUESTED_TRANSPORT, &UDP);
        let challenge = exchange(&socket, bare.finish()).await;
        let challenge = message(&challenge).expect("an answer is a message");
        let fields = Fields::read(&challenge);
        let realm = fields.realm.expect("a challenge has a realm").to_vec();
        let nonce = fields.nonce.expect("a challenge has a nonce").to_vec();
        let text = String::from_utf8_lossy(&realm);
        let key = long_term_key(&server.username, &text, server.credential.expose());
        let mut client = Self {
            socket,
            relayed: place,
            username: server.username.clone(),
            realm,
            nonce,
            key,
        };
        let allocate = request(Method::ALLOCATE).attribute(attribute::REQUESTED_TRANSPORT, &UDP);
        let answer = client.ask(allocate).await;
        let answer = message(&answer).expect("an answer is a message");
        let id = answer.transaction();
        let relayed = value(&answer, attribute::XOR_RELAYED_ADDRESS);
        client.relayed = relayed
            .and_then(|value| decode_xor_address(value, &id))
            .ok_or_else(|| code(&answer))?;
        Ok(client)
    }

    /// The address of the allocation.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.relayed
    }

    /// Where it sends from.
    ///
    /// # Panics
    /// Never: the socket is bound.
    #[must_use]
    pub fn local(&self) -> SocketAddr {
        self.socket.local_addr().expect("a bound socket has an address")
    }

    /// Lets a peer in, and out; 0 or the error code.
    pub async fn permit(&self, peer: SocketAddr) -> u16 {
        let permit = request(Method::CREATE_PERMISSION).address(attribute::XOR_PEER_ADDRESS, peer);
        let answer = self.ask(permit).await;
        message(&answer).map_or(0, |answer| code(&answer))
    }

    /// Asks for a longer life with the credentials it was made with. The answer comes among the packets.
    pub async fn refresh(&self) {
        let refresh = request(Method::REFRESH).attribute(attribute::LIFETIME, &600_u32.to_be_bytes());
        self.send_raw(&self.seal(refresh)).await;
    }

    /// Sends to a peer.
    pub async fn send(&self, to: SocketAddr, bytes: &[u8]) {
        let indication = Builder::new(Class::Indication, Method::SEND, random())
            .address(attribute::XOR_PEER_ADDRESS, to)
            .attribute(attribute::DATA, bytes);
        self.send_raw(&indication.finish()).await;
    }

    /// What came: from a peer into `buffer`, or the code of an answer (0 for success) to
    /// [`Relayed::refresh`].
    pub async fn receive(&self, buffer: &mut [u8]) -> std::io::Result<Received> {
        let mut datagram = [0; LARGEST_DATAGRAM];
        loop {
            let size = self.socket.recv(&mut datagram).await?;
            let Some(message) = message(&datagram[..size]) else {
                continue;
            };
            let fields = Fields::read(&message);
            if let (Method::DATA, Some(peer), Some(data)) = (message.method, fields.peer, fields.data) {
                buffer[..data.len()].copy_from_slice(data);
                return Ok(Received::Packet(data.len(), peer));
            }
            if message.method == Method::REFRESH {
                return Ok(Received::Refreshed(code(&message)));
            }
        }
    }

    /// A relay that has gone answers with ICMP; that is for whoever waits for packets to notice.
    async fn send_raw(&self, bytes: &[u8]) {
        let _ = self.socket.send(bytes).await;
    }

    async fn ask(&self, request: Builder) -> Vec<u8> {
        exchange(&self.socket, self.seal(request)).await
    }

    fn seal(&self, request: Builder) -> Vec<u8> {
        request
            .attribute(attribute::USERNAME, self.username.as_bytes())
            .attribute(attribute::REALM, &self.realm)
            .attribute(attribute::NONCE, &self.nonce)
            .integrity(IntegrityKind::Sha1, &self.key)
            .finish()
    }
}

/// What comes from a relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// Bytes of a peer.
    Packet(usize, SocketAddr),
    /// The answer to a refresh: 0 or an error code.
    Refreshed(u16),
}

fn request(method: Method) -> Builder {
    Builder::new(Class::Request, method, random())
}

async fn exchange(socket: &UdpSocket, request: Vec<u8>) -> Vec<u8> {
    socket.send(&request).await.expect("loopback sends");
    let mut answer = vec![0; LARGEST_DATAGRAM];
    let received = tokio::time::timeout(PATIENCE, socket.recv(&mut answer)).await;
    let size = received.expect("the relay answers").expect("it is there");
    answer.truncate(size);
    answer
}

fn message(bytes: &[u8]) -> Option<Message<'_>> {
    match decode(bytes) {
        Ok(Datagram::Message(message)) => Some(message),
        _ => None,
    }
}

fn value<'a>(message: &Message<'a>, kind: u16) -> Option<&'a [u8]> {
    let mut attributes = message.attributes();
    let found = attributes.find(|attribute| attribute.kind == kind)?;
    Some(found.value)
}

/// 0 where there is no error.
fn code(message: &Message<'_>) -> u16 {
    match value(message, attribute::ERROR_CODE) {
        Some([_, _, class, number]) => u16::from(*class) * 100 + u16::from(*number),
        _ => 0,
    }
}
