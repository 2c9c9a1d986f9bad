//! Streams of a session: one class byte, then the protocol of that class.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use medmesh_base::{ControlId, EdgeId};
use quinn::{RecvStream, SendStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc;
use tonic::transport::server::Connected;
use tonic::{Request, Status};

use crate::identity::{PeerIdentity, Role};
use crate::session::Session;

/// What a stream carries, as its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamClass {
    /// HTTP/2 with gRPC.
    Grpc,
    /// Length-delimited mesh messages between edges.
    Mesh,
}

impl StreamClass {
    /// The byte on the wire.
    #[must_use]
    pub fn byte(self) -> u8 {
        match self {
            Self::Grpc => 1,
            Self::Mesh => 2,
        }
    }

    /// The class of a byte, if there is one.
    #[must_use]
    pub fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Grpc),
            2 => Some(Self::Mesh),
            _ => None,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::Mesh => "mesh",
        }
    }
}

/// Who is at the other end of a gRPC stream: tonic puts it into every request's extensions.
#[derive(Clone, Debug)]
pub struct PeerInfo {
    /// From the certificate; `None` only on the enrolment protocol.
    pub identity: Option<PeerIdentity>,
    /// Where it is.
    pub remote: SocketAddr,
}

impl PeerInfo {
    /// The peer of a gRPC request that came over a link.
    #[must_use]
    pub fn of<T>(request: &Request<T>) -> Option<&Self> {
        request.extensions().get()
    }

    /// The edge that sent this request.
    ///
    /// # Errors
    /// `PERMISSION_DENIED` for anybody else.
    pub fn require_edge<T>(request: &Request<T>) -> Result<EdgeId, Status> {
        match Self::role(request) {
            Some(Role::Edge(id)) => Ok(id),
            _ => Err(Status::permission_denied("only an edge may call this")),
        }
    }

    /// The control node that sent this request.
    ///
    /// # Errors
    /// `PERMISSION_DENIED` for anybody else.
    pub fn require_control<T>(request: &Request<T>) -> Result<ControlId, Status> {
        match Self::role(request) {
            Some(Role::Control(id)) => Ok(id),
            _ => Err(Status::permission_denied("only a control node may call this")),
        }
    }

    fn role<T>(request: &Request<T>) -> Option<Role> {
        Some(Self::of(request)?.identity.as_ref()?.role)
    }
}

/// One bidirectional stream after its class byte, readable and writable like a socket.
#[derive(Debug)]
pub struct QuicStream {
    send: SendStream,
    recv: RecvStream,
    info: PeerInfo,
}

impl QuicStream {
    pub(crate) fn new(send: SendStream, recv: RecvStream, info: PeerInfo) -> Self {
        Self { send, recv, info }
    }

    /// Tells the peer that this stream will not be served.
    pub(crate) fn refuse(mut self, code: quinn::VarInt) {
        // Both fail only where the peer has already given the stream up.
        let _ = self.send.reset(code);
        let _ = self.recv.stop(code);
    }

    /// Who is at the other end.
    #[must_use]
    pub fn peer_info(&self) -> &PeerInfo {
        &self.info
    }
}

impl AsyncRead for QuicStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        AsyncRead::poll_read(Pin::new(&mut self.recv), cx, buffer)
    }
}

impl AsyncWrite for QuicStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        AsyncWrite::poll_write(Pin::new(&mut self.send), cx, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_flush(Pin::new(&mut self.send), cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_shutdown(Pin::new(&mut self.send), cx)
    }
}

impl Connected for QuicStream {
    type ConnectInfo = PeerInfo;

    fn connect_info(&self) -> PeerInfo {
        self.info.clone()
    }
}

/// A mesh stream a peer opened, with the session its datagrams travel on.
#[derive(Debug)]
pub struct MeshStream {
    /// The session; `session.peer()` says who.
    pub session: Session,
    /// The stream.
    pub stream: QuicStream,
}

/// gRPC streams as they arrive: hand it to tonic's `Server::serve_with_incoming`.
#[derive(Debug)]
pub struct GrpcIncoming(pub(crate) mpsc::Receiver<QuicStream>);

impl futures::Stream for GrpcIncoming {
    type Item = io::Result<QuicStream>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(cx).map(|stream| stream.map(Ok))
    }
}
