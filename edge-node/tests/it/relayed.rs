//! A browser that reaches its edge through the edge's own relay only (RFC 8656).

use std::net::SocketAddr;

use md5::{Digest as _, Md5};
use medmesh_turn::Secret;
use medmesh_turn::codec::{
    Builder, Class, Datagram, Fields, IntegrityKind, Message, Method, TransactionId, decode,
    decode_xor_address,
};
use time::OffsetDateTime;
use tokio::net::UdpSocket;

use crate::fleet::{PATIENCE, TURN_SECRET};

const USERNAME: u16 = 0x0006;
const XOR_PEER_ADDRESS: u16 = 0x0012;
const DATA: u16 = 0x0013;
const REALM: u16 = 0x0014;
const NONCE: u16 = 0x0015;
const XOR_RELAYED_ADDRESS: u16 = 0x0016;
const REQUESTED_TRANSPORT: u16 = 0x0019;
const UDP: [u8; 4] = [17, 0, 0, 0];

/// An allocation on an edge's relay, with permission to reach the edge's media addresses.
pub(crate) struct Relayed {
    socket: UdpSocket,
    relayed: SocketAddr,
    account: Account,
}

/// What requests are signed with.
struct Account {
    username: String,
    realm: Vec<u8>,
    nonce: Vec<u8>,
    key: Vec<u8>,
}

impl Account {
    fn sign(&self, builder: Builder) -> Vec<u8> {
        builder
            .attribute(USERNAME, self.username.as_bytes())
            .attribute(REALM, &self.realm)
            .attribute(NONCE, &self.nonce)
            .integrity(IntegrityKind::Sha1, &self.key)
            .finish()
    }
}

impl Relayed {
    pub(crate) async fn allocate(relay: SocketAddr, peers: &[SocketAddr]) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.connect(relay).await.unwrap();
        let username = format!("{}:someone", OffsetDateTime::now_utc().unix_timestamp() + 600);
        let password = Secret::new(1, TURN_SECRET).password(&username);

        let first = request(Method::ALLOCATE).attribute(REQUESTED_TRANSPORT, &UDP);
        let challenge = exchange(&socket, first.finish()).await;
        let challenge = message(&challenge);
        assert_eq!(challenge.class, Class::Error);
        let fields = Fields::read(&challenge);
        let (realm, nonce) = (fields.realm.unwrap(), fields.nonce.unwrap());
        let text = format!("{username}:{}:{password}", std::str::from_utf8(realm).unwrap());
        let account = Account {
            key: Md5::digest(text.as_bytes()).to_vec(),
            realm: realm.to_vec(),
            nonce: nonce.to_vec(),
            username,
        };

        let allocate = request(Method::ALLOCATE).attribute(REQUESTED_TRANSPORT, &UDP);
        let allocated = exchange(&socket, account.sign(allocate)).await;
        let allocated = message(&allocated);
        assert_eq!(allocated.class, Class::Success);
        let relayed = attribute(&allocated, XOR_RELAYED_ADDRESS).unwrap();
        let relayed = decode_xor_address(relayed, &allocated.transaction()).unwrap();
        let allocation = Self {
            socket,
            relayed,
            account,
        };
        for peer in peers {
            assert!(allocation.permit(*peer).await, "{peer}");
        }
        allocation
    }

    /// Asks for permission to reach a peer; whether it was given.
    pub(crate) async fn permit(&self, peer: SocketAddr) -> bool {
        let permit = request(Method::CREATE_PERMISSION).address(XOR_PEER_ADDRESS, peer);
        let permitted = exchange(&self.socket, self.account.sign(permit)).await;
        message(&permitted).class == Class::Success
    }

    pub(crate) fn relayed_address(&self) -> SocketAddr {
        self.relayed
    }

    pub(crate) fn local_address(&self) -> SocketAddr {
        self.socket.local_addr().unwrap()
    }

    pub(crate) async fn send(&mut self, to: SocketAddr, bytes: &[u8]) {
        let indication = Builder::new(Class::Indication, Method::SEND, transaction())
            .address(XOR_PEER_ADDRESS, to)
            .attribute(DATA, bytes)
            .finish();
        self.socket.send(&indication).await.unwrap();
    }

    pub(crate) async fn receive(&mut self, buffer: &mut [u8]) -> (usize, SocketAddr) {
        loop {
            let size = self.socket.recv(buffer).await.unwrap();
            let received = buffer[..size].to_vec();
            let indication = message(&received);
            let fields = Fields::read(&indication);
            if let (Method::DATA, Some(peer), Some(data)) = (indication.method, fields.peer, fields.data) {
                buffer[..data.len()].copy_from_slice(data);
                return (data.len(), peer);
            }
        }
    }
}

fn request(method: Method) -> Builder {
    Builder::new(Class::Request, method, transaction())
}

fn transaction() -> TransactionId {
    rand::random()
}

async fn exchange(socket: &UdpSocket, request: Vec<u8>) -> Vec<u8> {
    socket.send(&request).await.unwrap();
    let mut buffer = vec![0; 2048];
    let size = tokio::time::timeout(PATIENCE, socket.recv(&mut buffer))
        .await
        .unwrap()
        .unwrap();
    buffer.truncate(size);
    buffer
}

fn message(bytes: &[u8]) -> Message<'_> {
    match decode(bytes).unwrap() {
        Datagram::Message(message) => message,
        Datagram::ChannelData(_) => panic!("nobody bound a channel"),
    }
}

fn attribute<'a>(message: &Message<'a>, kind: u16) -> Option<&'a [u8]> {
    message
        .attributes()
        .find(|attribute| attribute.kind == kind)
        .map(|attribute| attribute.value)
}
