//! One session with a peer edge, from hello to its end.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use medmesh_base::EdgeId;
use medmesh_base::drain::Drain;
use medmesh_link::{CloseReason, Datagram, Probe, ProbeTracker, QuicStream, Session};
use medmesh_sfu::{MeshMessage, Route, flow_shard};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::convert::{self, ConvertError, Received};
use super::frame::{FrameReader, frame};
use super::port::{PeerCounters, PeerPort, count};
use crate::shard::{Command, MeshInput, Shards};

/// Messages waiting for the stream. A peer that lets more than this pile up reads nothing.
const MESSAGES_MAX: usize = 4096;
/// A peer says hello at once or never.
const HELLO_TIMEOUT: Duration = Duration::from_secs(3);
/// Probes: four a second measure loss to one percent within half a minute and cost 300 bytes a second.
const PROBE_INTERVAL: Duration = Duration::from_millis(250);
/// Flows of one peer: every layer of every track of a full host.
const FLOWS_MAX: usize = 65_536;
/// Messages written with one wake-up of the stream.
const WRITE_BATCH: usize = 64;

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionEnd {
    #[error("the peer closed it")]
    Closed,
    #[error("the stream broke")]
    Stream(#[from] io::Error),
    #[error("the peer sent nonsense: {0}")]
    Nonsense(#[from] ConvertError),
    #[error("the peer did not introduce itself")]
    NoHello,
    #[error("the peer is not who its certificate says")]
    WrongHello,
    #[error("the peer asks for too many flows")]
    TooManyFlows,
    #[error("this edge stops")]
    Stopping,
}

/// Everything a session needs of the edge.
pub(crate) struct Context {
    pub(crate) own: EdgeId,
    pub(crate) peer: EdgeId,
    pub(crate) shards: Shards,
    pub(crate) counters: Arc<PeerCounters>,
    pub(crate) drain: Drain,
}

/// Who asked for each flow this edge sends: the shard that got the `Subscribe`.
type Flows = Mutex<HashMap<u32, u8>>;

/// Runs a session: introduces, tells the manager through `up`, and carries messages,
/// datagrams and probes until it ends.
pub(crate) async fn run(
    context: Context,
    session: Session,
    stream: QuicStream,
    up: impl AsyncFnOnce(PeerPort),
) -> SessionEnd {
    let (read, mut write) = tokio::io::split(stream);
    let mut reader = FrameReader::new(read);
    if let Err(end) = introduce(&context, &mut reader, &mut write).await {
        session.close(CloseReason::Protocol);
        return end;
    }
    let (messages, outgoing) = mpsc::channel(MESSAGES_MAX);
    let port = PeerPort::new(
        context.peer,
        session.clone(),
        messages,
        Arc::clone(&context.counters),
    );
    let flows = Flows::default();
    let tracker = Mutex::new(ProbeTracker::new());
    let epoch = Instant::now();
    up(port.clone()).await;
    let end = tokio::select! {
        end = read_messages(&context, &mut reader, &flows) => end,
        end = write_messages(&mut write, outgoing, &flows) => end,
        end = read_datagrams(&context, &session, &tracker, epoch) => end,
        () = probe(&context, &port, &tracker, epoch) => SessionEnd::Closed,
        _ = session.closed() => SessionEnd::Closed,
        () = context.drain.stopping() => SessionEnd::Stopping,
    };
    session.close(match end {
        SessionEnd::Nonsense(_) | SessionEnd::TooManyFlows => CloseReason::Protocol,
        SessionEnd::Stopping => CloseReason::Stopping,
        _ => CloseReason::Done,
    });
    end
}

async fn introduce<R, W>(
    context: &Context,
    reader: &mut FrameReader<R>,
    write: &mut W,
) -> Result<(), SessionEnd>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    write.write_all(&frame(&convert::hello(context.own))).await?;
    write.flush().await?;
    let first = timeout(HELLO_TIMEOUT, reader.next())
        .await
        .map_err(|_| SessionEnd::NoHello)??;
    match convert::decode(first.ok_or(SessionEnd::NoHello)?)? {
        Received::Hello(edge) if edge == context.peer => Ok(()),
        Received::Hello(_) => Err(SessionEnd::WrongHello),
        _ => Err(SessionEnd::NoHello),
    }
}

async fn read_messages<R: AsyncRead + Unpin>(
    context: &Context,
    reader: &mut FrameReader<R>,
    flows: &Flows,
) -> SessionEnd {
    loop {
        let message = match reader.next().await {
            Ok(Some(message)) => message,
            Ok(None) => return SessionEnd::Closed,
            Err(error) => return error.into(),
        };
        let message = match convert::decode(message) {
            Ok(Received::Message(message)) => message,
            Ok(Received::Hello(_) | Received::Unknown) => continue,
            Err(error) => {
                count(&context.counters.malformed, 1);
                return error.into();
            }
        };
        count(&context.counters.messages_received, 1);
        match route(&context.shards, flows, &message) {
            Ok(Some(shard)) => {
                let peer = context.peer;
                context
                    .shards
                    .send(shard, Command::MeshMessage { peer, message })
                    .await;
            }
            // About a flow that has just ended: the two messages crossed.
            Ok(None) => {}
            Err(end) => return end,
        }
    }
}

/// Which shard a received message is for.
fn route(shards: &Shards, flows: &Flows, message: &MeshMessage) -> Result<Option<u8>, SessionEnd> {
    let shard = match message.route() {
        Route::Room(room) => Some(shards.of_room(room)),
        Route::Shard(shard) => Some(shard),
        Route::Subscribed(flow) => flows.lock().get(&flow).copied(),
    };
    let mut flows = flows.lock();
    match (message, shard) {
        (MeshMessage::Subscribe { flow, .. }, Some(shard)) => {
            if flows.len() >= FLOWS_MAX {
                return Err(SessionEnd::TooManyFlows);
            }
            flows.insert(*flow, shard);
        }
        (MeshMessage::Unsubscribe { flow }, _) => {
            flows.remove(flow);
        }
        _ => {}
    }
    Ok(shard)
}

async fn write_messages<W: AsyncWrite + Unpin>(
    write: &mut W,
    mut outgoing: mpsc::Receiver<MeshMessage>,
    flows: &Flows,
) -> SessionEnd {
    let mut batch = Vec::with_capacity(WRITE_BATCH);
    while outgoing.recv_many(&mut batch, WRITE_BATCH).await > 0 {
        let mut bytes = Vec::new();
        for message in batch.drain(..) {
            if let MeshMessage::FlowGone { flow, .. } = &message {
                flows.lock().remove(flow);
            }
            bytes.extend_from_slice(&frame(&convert::encode(message)));
        }
        if let Err(error) = write.write_all(&bytes).await {
            return error.into();
        }
        if let Err(error) = write.flush().await {
            return error.into();
        }
    }
    SessionEnd::Closed
}

async fn read_datagrams(
    context: &Context,
    session: &Session,
    tracker: &Mutex<ProbeTracker>,
    epoch: Instant,
) -> SessionEnd {
    loop {
        let Ok(bytes) = session.recv_datagram().await else {
            return SessionEnd::Closed;
        };
        take_datagram(context, session, tracker, epoch, &bytes);
    }
}

fn take_datagram(
    context: &Context,
    session: &Session,
    tracker: &Mutex<ProbeTracker>,
    epoch: Instant,
    bytes: &Bytes,
) {
    let size = bytes.len();
    match Datagram::parse(bytes) {
        Some(Datagram::Media { flow_id, body }) => {
            count(&context.counters.datagrams_received, 1);
            count(&context.counters.bytes_received, size);
            if usize::from(flow_shard(flow_id)) >= context.shards.numbers().count() {
                count(&context.counters.malformed, 1);
                return;
            }
            context.shards.push_mesh(MeshInput {
                peer: context.peer,
                flow: flow_id,
                body,
            });
        }
        // An echo that does not fit the buffer is a lost probe, which is what it measures.
        Some(Datagram::Probe(probe)) => {
            let _ = session.send_datagram(Datagram::ProbeEcho(probe).to_bytes());
        }
        Some(Datagram::ProbeEcho(probe)) => note_echo(context, tracker, epoch, probe),
        None => count(&context.counters.malformed, 1),
    }
}

fn note_echo(context: &Context, tracker: &Mutex<ProbeTracker>, epoch: Instant, probe: Probe) {
    let now = micros_since(epoch);
    let mut tracker = tracker.lock();
    tracker.handle_echo(probe, now);
    publish(context, &tracker, now);
}

fn publish(context: &Context, tracker: &ProbeTracker, now_us: u64) {
    let quality = tracker.quality(now_us);
    let counters = &context.counters;
    counters.rtt_us.store(quality.rtt_us.into(), Ordering::Relaxed);
    counters
        .jitter_us
        .store(quality.jitter_us.into(), Ordering::Relaxed);
    counters
        .loss_ppm
        .store(quality.loss_ppm.into(), Ordering::Relaxed);
}

/// Probes the path, and tells the shards when its limit changes.
async fn probe(context: &Context, port: &PeerPort, tracker: &Mutex<ProbeTracker>, epoch: Instant) {
    let mut ticks = interval(PROBE_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told = port.body_bytes_max();
    loop {
        ticks.tick().await;
        let now = micros_since(epoch);
        let probe = {
            let mut tracker = tracker.lock();
            publish(context, &tracker, now);
            tracker.next_probe(now)
        };
        // A probe that is not sent counts as lost, and that is what it then is.
        let _ = port.session().send_datagram(Datagram::Probe(probe).to_bytes());
        let limit = port.body_bytes_max();
        if limit != told {
            told = limit;
            context
                .shards
                .send_all(|| Command::MeshUp { port: port.clone() })
                .await;
        }
    }
}

fn micros_since(epoch: Instant) -> u64 {
    u64::try_from(epoch.elapsed().as_micros()).unwrap_or(u64::MAX)
}
