//! HTTP/3 (RFC 9114) over QUIC, for the same router.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use bytes::{Buf, Bytes};
use futures::{StreamExt as _, stream};
use h3::error::StreamError;
use h3::quic::{RecvStream, SendStream};
use h3::server::{RequestResolver, RequestStream};
use http::{Request, Response};
use medmesh_base::drain::Drain;
use prometheus::IntCounterVec;
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{Endpoint, Incoming, TransportConfig, VarInt};
use rustls::ServerConfig;
use tokio::sync::Semaphore;
use tower::ServiceExt as _;

use super::{CLOSE_PATIENCE, CONNECTIONS_MAX, HEAD_BYTES_MAX, HEAD_TIMEOUT, Peer, STREAMS_MAX};

/// An idle connection is closed after this; browsers open a new one in one round trip.
const IDLE: Duration = Duration::from_secs(60);
/// Share of the connections above which a client must prove its address first (RFC 9000 section 8.1.2).
const RETRY_ABOVE: usize = CONNECTIONS_MAX / 4;

type Connection = h3::server::Connection<h3_quinn::Connection, Bytes>;
type Resolver = RequestResolver<h3_quinn::Connection, Bytes>;

/// A QUIC listener with the router behind it.
pub(crate) struct Quic {
    pub(crate) endpoint: Endpoint,
    pub(crate) router: Router,
    pub(crate) connections: IntCounterVec,
}

impl Quic {
    /// Listens on the address; `tls` offers `h3`.
    ///
    /// # Errors
    /// When the socket cannot be bound.
    pub(crate) fn bind(listen: SocketAddr, tls: ServerConfig) -> std::io::Result<Endpoint> {
        let crypto = QuicServerConfig::try_from(tls).expect("TLS 1.3 suites include QUIC's initial one");
        let mut transport = TransportConfig::default();
        transport
            .max_concurrent_bidi_streams(STREAMS_MAX.into())
            // The control and the two QPACK streams, and one to grease (RFC 9114 section 6.2).
            .max_concurrent_uni_streams(4_u8.into())
            .max_idle_timeout(Some(IDLE.try_into().expect("a minute is a valid idle timeout")))
            .datagram_receive_buffer_size(None);
        let mut config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
        config.transport_config(Arc::new(transport));
        Endpoint::server(config, listen)
    }

    /// Serves until the drain stops, then lets open requests finish.
    pub(crate) async fn run(self, drain: Drain) {
        let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let incoming = tokio::select! {
                () = drain.stopping() => break,
                incoming = self.endpoint.accept() => incoming,
            };
            let Some(incoming) = incoming else { break };
            let Ok(permit) = permits.clone().try_acquire_owned() else {
                incoming.refuse();
                continue;
            };
            let is_busy = permits.available_permits() < CONNECTIONS_MAX - RETRY_ABOVE;
            if is_busy && incoming.may_retry() && !incoming.remote_address_validated() {
                // An error means that it cannot be retried after all; the client will come again.
                let _ = incoming.retry();
                continue;
            }
            let (router, drain_all, connections) =
                (self.router.clone(), drain.clone(), self.connections.clone());
            drain.spawn(async move {
                let outcome = connection(incoming, router, drain_all).await;
                connections.with_label_values(&["h3", outcome]).inc();
                drop(permit);
            });
        }
        // Open requests first; what then is still there is closed without an error.
        let _ = tokio::time::timeout(CLOSE_PATIENCE, self.endpoint.wait_idle()).await;
        self.endpoint.close(VarInt::from_u32(H3_NO_ERROR), b"");
    }
}

/// RFC 9114 section 8.1.
const H3_NO_ERROR: u32 = 0x100;

/// Serves one connection; says how it ended.
async fn connection(incoming: Incoming, router: Router, drain: Drain) -> &'static str {
    let peer = incoming.remote_address();
    let quic = match tokio::time::timeout(HEAD_TIMEOUT, incoming).await {
        Ok(Ok(quic)) => quic,
        Ok(Err(_)) => return "handshake_failed",
        Err(_) => return "silent",
    };
    let built = h3::server::builder()
        .max_field_section_size(HEAD_BYTES_MAX.into())
        .build(h3_quinn::Connection::new(quic.clone()))
        .await;
    let Ok(mut h3) = built else {
        return "protocol_error";
    };
    let outcome = requests(&mut h3, router, peer, &drain).await;
    quic.close(VarInt::from_u32(H3_NO_ERROR), b"");
    outcome
}

async fn requests(h3: &mut Connection, router: Router, peer: SocketAddr, drain: &Drain) -> &'static str {
    let mut open = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            () = drain.stopping() => break,
            // Finished requests are taken out, so that the set stays as small as the connection's streams.
            Some(_) = open.join_next() => {}
            accepted = h3.accept() => match accepted {
                Ok(Some(resolver)) => {
                    let router = router.clone();
                    // Its error is the stream's; the connection goes on.
                    open.spawn(async move { let _ = request(resolver, router, peer).await; });
                }
                Ok(None) => return "closed",
                Err(error) if error.is_h3_no_error() => return "closed",
                Err(_) => return "gone",
            }
        }
    }
    let _ = h3.shutdown(0).await;
    let finish = async { while open.join_next().await.is_some() {} };
    match tokio::time::timeout(CLOSE_PATIENCE, finish).await {
        Ok(()) => "closed",
        Err(_) => "cut",
    }
}

async fn request(resolver: Resolver, router: Router, peer: SocketAddr) -> Result<(), StreamError> {
    let resolved = tokio::time::timeout(HEAD_TIMEOUT, resolver.resolve_request()).await;
    let Ok(resolved) = resolved else { return Ok(()) };
    let (request, stream) = resolved?;
    let (send, receive) = stream.split();
    let mut request: Request<Body> = request.map(|()| body(receive));
    request.extensions_mut().insert(Peer(peer));
    let response = match router.oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    };
    answer(send, response).await
}

/// The request's data frames as a body; the router's own limits bound it.
fn body<S: RecvStream + Send + 'static>(stream: RequestStream<S, Bytes>) -> Body {
    Body::from_stream(stream::unfold(Some(stream), |stream| async {
        let mut stream = stream?;
        match stream.recv_data().await {
            Ok(Some(mut data)) => {
                let bytes = data.copy_to_bytes(data.remaining());
                Some((Ok(bytes), Some(stream)))
            }
            Ok(None) => None,
            Err(error) => Some((Err(error), None)),
        }
    }))
}

async fn answer<S>(mut stream: RequestStream<S, Bytes>, response: Response<Body>) -> Result<(), StreamError>
where
    S: SendStream<Bytes>,
{
    let (mut head, body) = response.into_parts();
    // Of one connection, which this is not (RFC 9114 section 4.2).
    for name in ["connection", "keep-alive", "transfer-encoding", "upgrade"] {
        head.headers.remove(name);
    }
    stream.send_response(Response::from_parts(head, ())).await?;
    let mut data = body.into_data_stream();
    while let Some(chunk) = data.next().await {
        let Ok(chunk) = chunk else {
            // A broken body must not look whole.
            stream.stop_stream(h3::error::Code::H3_INTERNAL_ERROR);
            return Ok(());
        };
        stream.send_data(chunk).await?;
    }
    stream.finish().await
}
