//! HTTP/1.1 and 2 over TCP: plain on loopback, TLS for everyone else.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use medmesh_base::drain::Drain;
use prometheus::IntCounterVec;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt as _;

use super::{CLOSE_PATIENCE, CONNECTIONS_MAX, HEAD_BYTES_MAX, HEAD_TIMEOUT, Peer, STREAMS_MAX};

/// Pause when the system has no more sockets for us, so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How often an idle HTTP/2 connection is asked whether it lives.
const H2_PING_EVERY: Duration = Duration::from_secs(20);
/// Most header lines of a request.
const HEADERS_MAX: usize = 64;

/// A TCP listener with the router behind it.
pub(crate) struct Tcp {
    pub(crate) listener: TcpListener,
    pub(crate) router: Router,
    pub(crate) tls: Option<ServerConfig>,
    pub(crate) connections: IntCounterVec,
}

impl Tcp {
    /// Serves until the drain stops, then lets open requests finish.
    pub(crate) async fn run(self, drain: Drain) {
        let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let handler = Handler {
            router: self.router,
            tls: self.tls.map(|config| TlsAcceptor::from(Arc::new(config))),
            connections: self.connections,
            drain: drain.clone(),
        };
        loop {
            let permit = permits.clone().acquire_owned().await;
            let permit = permit.expect("the semaphore is never closed");
            let accepted = tokio::select! {
                () = drain.stopping() => return,
                accepted = self.listener.accept() => accepted,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "connection not accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let handler = handler.clone();
            drain.spawn(async move {
                let protocol = if handler.tls.is_some() { "https" } else { "http" };
                let outcome = handler.connection(stream, peer).await;
                handler.connections.with_label_values(&[protocol, outcome]).inc();
                drop(permit);
            });
        }
    }
}

#[derive(Clone)]
struct Handler {
    router: Router,
    tls: Option<TlsAcceptor>,
    connections: IntCounterVec,
    drain: Drain,
}

impl Handler {
    /// Serves one connection; says how it ended.
    async fn connection(&self, stream: TcpStream, peer: SocketAddr) -> &'static str {
        // Without it small answers wait for the client's acknowledgement.
        let _ = stream.set_nodelay(true);
        let mut builder = Builder::new(TokioExecutor::new());
        let Some(tls) = &self.tls else {
            // Which version is spoken shows in the first bytes; they must not be waited for forever.
            return match tokio::time::timeout(HEAD_TIMEOUT, stream.readable()).await {
                Ok(Ok(())) => self.serve(builder, stream, peer).await,
                _ => "silent",
            };
        };
        match tokio::time::timeout(HEAD_TIMEOUT, tls.accept(stream)).await {
            Ok(Ok(stream)) => {
                let is_h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                builder = if is_h2 {
                    builder.http2_only()
                } else {
                    builder.http1_only()
                };
                self.serve(builder, stream, peer).await
            }
            Ok(Err(_)) => "handshake_failed",
            Err(_) => "silent",
        }
    }

    async fn serve<S>(&self, mut builder: Builder<TokioExecutor>, stream: S, peer: SocketAddr) -> &'static str
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        limit(&mut builder);
        let router = self.router.clone();
        let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(Peer(peer));
            router.clone().oneshot(request)
        });
        let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = self.drain.stopping() => {
                connection.as_mut().graceful_shutdown();
                match tokio::time::timeout(CLOSE_PATIENCE, connection.as_mut()).await {
                    Ok(ended) => ended,
                    Err(_) => return "cut",
                }
            }
        };
        match ended {
            Ok(()) => "closed",
            Err(error) if is_gone(error.as_ref()) => "gone",
            Err(_) => "protocol_error",
        }
    }
}

fn limit(builder: &mut Builder<TokioExecutor>) {
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT.max(H2_PING_EVERY * 3))
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_BYTES_MAX as usize * 2);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(H2_PING_EVERY)
        .keep_alive_timeout(HEAD_TIMEOUT)
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEAD_BYTES_MAX);
}

/// Whether the other side simply went away.
fn is_gone(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut error = Some(error);
    while let Some(inner) = error {
        if let Some(io) = inner.downcast_ref::<io::Error>() {
            use io::ErrorKind::{
                BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, UnexpectedEof,
            };
            return matches!(
                io.kind(),
                BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected | UnexpectedEof
            );
        }
        error = inner.source();
    }
    false
}
