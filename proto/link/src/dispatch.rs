//! Sorting incoming streams by their class byte.

use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use quinn::{Connection, RecvStream, SendStream, VarInt};
use tokio::sync::mpsc;

use crate::metrics::LinkMetrics;
use crate::session::{CloseReason, Session};
use crate::stream::{MeshStream, PeerInfo, QuicStream, StreamClass};

/// A stream must say what it is within this time; the byte travels with its first packet.
const CLASS_TIMEOUT: Duration = Duration::from_secs(2);

/// Enrolment is one call; a session without a certificate does not stay longer.
const ENROL_LIFE: Duration = Duration::from_secs(15);

/// Where streams go.
#[derive(Clone, Debug)]
pub(crate) struct Sinks {
    pub(crate) grpc: mpsc::Sender<QuicStream>,
    pub(crate) enrol: mpsc::Sender<QuicStream>,
    pub(crate) mesh: mpsc::Sender<MeshStream>,
}

/// Why a stream is refused, as the QUIC error code the peer sees and the word that is counted.
#[derive(Clone, Copy, Debug)]
enum Refusal {
    NoClass,
    UnknownClass,
    NotServed,
    Busy,
}

impl Refusal {
    fn word(self) -> &'static str {
        match self {
            Self::NoClass => "no_class",
            Self::UnknownClass => "unknown_class",
            Self::NotServed => "not_served",
            Self::Busy => "busy",
        }
    }

    fn code(self) -> VarInt {
        VarInt::from_u32(match self {
            Self::NoClass => 16,
            Self::UnknownClass => 17,
            Self::NotServed => 18,
            Self::Busy => 19,
        })
    }
}

/// Takes streams of an authenticated session until it ends.
pub(crate) async fn serve(session: Session, sinks: Sinks, metrics: LinkMetrics) {
    let info = PeerInfo {
        identity: Some(session.peer().clone()),
        remote: session.remote_address(),
    };
    let route = |class: StreamClass, stream: QuicStream| match class {
        StreamClass::Grpc => {
            give(&sinks.grpc, stream).map_err(|(refusal, stream)| (refusal, Box::new(stream)))
        }
        StreamClass::Mesh => {
            let mesh = MeshStream {
                session: session.clone(),
                stream,
            };
            give(&sinks.mesh, mesh).map_err(|(refusal, mesh)| (refusal, Box::new(mesh.stream)))
        }
    };
    accept_streams(session.connection(), &info, &metrics, route).await;
}

/// Takes gRPC streams of a peer without a certificate, for a short while, and
/// gives them to enrolment and to nothing else.
pub(crate) async fn serve_enrolment(connection: Connection, sinks: Sinks, metrics: LinkMetrics) {
    let info = PeerInfo {
        identity: None,
        remote: connection.remote_address(),
    };
    let route = |class: StreamClass, stream: QuicStream| match class {
        StreamClass::Grpc => {
            give(&sinks.enrol, stream).map_err(|(refusal, stream)| (refusal, Box::new(stream)))
        }
        StreamClass::Mesh => Err((Refusal::NotServed, Box::new(stream))),
    };
    let streams = accept_streams(&connection, &info, &metrics, route);
    if tokio::time::timeout(ENROL_LIFE, streams).await.is_err() {
        connection.close(CloseReason::Done.code(), b"");
    }
}

fn give<T>(sink: &mpsc::Sender<T>, item: T) -> Result<(), (Refusal, T)> {
    sink.try_send(item).map_err(|error| match error {
        mpsc::error::TrySendError::Full(item) => (Refusal::Busy, item),
        mpsc::error::TrySendError::Closed(item) => (Refusal::NotServed, item),
    })
}

async fn accept_streams<R>(connection: &Connection, info: &PeerInfo, metrics: &LinkMetrics, route: R)
where
    R: Fn(StreamClass, QuicStream) -> Result<(), (Refusal, Box<QuicStream>)>,
{
    // At most STREAMS_MAX futures: QUIC holds the peer to that many open streams.
    let mut pending = FuturesUnordered::new();
    loop {
        tokio::select! {
            accepted = connection.accept_bi() => match accepted {
                Ok((send, recv)) => pending.push(classify(send, recv)),
                Err(_) => return,
            },
            Some((class, send, recv)) = pending.next() => {
                let stream = QuicStream::new(send, recv, info.clone());
                let outcome = match class {
                    Ok(class) => route(class, stream).map(|()| class),
                    Err(refusal) => Err((refusal, Box::new(stream))),
                };
                match outcome {
                    Ok(class) => metrics.stream(class.name()),
                    Err((refusal, stream)) => {
                        metrics.stream_refused(refusal.word());
                        stream.refuse(refusal.code());
                    }
                }
            }
        }
    }
}

async fn classify(
    send: SendStream,
    mut recv: RecvStream,
) -> (Result<StreamClass, Refusal>, SendStream, RecvStream) {
    let mut byte = [0];
    let class = match tokio::time::timeout(CLASS_TIMEOUT, recv.read_exact(&mut byte)).await {
        Ok(Ok(())) => StreamClass::from_byte(byte[0]).ok_or(Refusal::UnknownClass),
        Ok(Err(_)) | Err(_) => Err(Refusal::NoClass),
    };
    (class, send, recv)
}
