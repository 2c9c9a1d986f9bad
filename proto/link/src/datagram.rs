//! The head of mesh datagrams, as `mesh.proto` lays it out:
//! `kind u8 | flow id u32 big-endian | body`.

use bytes::{BufMut as _, Bytes, BytesMut};

/// Bytes before the body: kind and flow id.
pub const HEAD_BYTES: usize = 5;

/// Bytes of a probe's body: sequence u32, sender's clock u64.
const PROBE_BODY_BYTES: usize = 12;

const KIND_MEDIA: u8 = 0;
const KIND_PROBE: u8 = 1;
const KIND_PROBE_ECHO: u8 = 2;

/// A probe of the path; the receiver sends it back unchanged but for its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Counts up by one; wraps.
    pub sequence: u32,
    /// The sender's clock when it was sent, in microseconds of its own epoch.
    pub clock_us: u64,
}

/// A datagram of a link between edges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Datagram {
    /// One media packet; the body is `sfu::mesh`'s.
    Media {
        /// Chosen by the receiving side when it subscribed.
        flow_id: u32,
        /// What follows the head.
        body: Bytes,
    },
    /// Send this back as [`Datagram::ProbeEcho`].
    Probe(Probe),
    /// Came back; give it to [`crate::ProbeTracker::handle_echo`].
    ProbeEcho(Probe),
}

impl Datagram {
    /// Reads a datagram without copying its body. `None` for anything malformed.
    #[must_use]
    pub fn parse(bytes: &Bytes) -> Option<Self> {
        let head = bytes.get(..HEAD_BYTES)?;
        let kind = head[0];
        let flow_id = u32::from_be_bytes(head[1..].try_into().ok()?);
        let body = bytes.slice(HEAD_BYTES..);
        match (kind, flow_id) {
            (KIND_MEDIA, flow_id) => Some(Self::Media { flow_id, body }),
            (KIND_PROBE, 0) => parse_probe(&body).map(Self::Probe),
            (KIND_PROBE_ECHO, 0) => parse_probe(&body).map(Self::ProbeEcho),
            _ => None,
        }
    }

    /// The bytes to send. For media prefer to write [`media_head`] and the body into one buffer.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        let mut out = BytesMut::new();
        match self {
            Self::Media { flow_id, body } => {
                out.extend_from_slice(&media_head(*flow_id));
                out.extend_from_slice(body);
            }
            Self::Probe(probe) => put_probe(&mut out, KIND_PROBE, *probe),
            Self::ProbeEcho(probe) => put_probe(&mut out, KIND_PROBE_ECHO, *probe),
        }
        out.freeze()
    }
}

/// The head of a media datagram.
#[must_use]
pub fn media_head(flow_id: u32) -> [u8; HEAD_BYTES] {
    let [a, b, c, d] = flow_id.to_be_bytes();
    [KIND_MEDIA, a, b, c, d]
}

fn parse_probe(body: &[u8]) -> Option<Probe> {
    if body.len() != PROBE_BODY_BYTES {
        return None;
    }
    let (sequence, clock) = body.split_at(4);
    Some(Probe {
        sequence: u32::from_be_bytes(sequence.try_into().ok()?),
        clock_us: u64::from_be_bytes(clock.try_into().ok()?),
    })
}

fn put_probe(out: &mut BytesMut, kind: u8, probe: Probe) {
    out.put_u8(kind);
    out.put_u32(0);
    out.put_u32(probe.sequence);
    out.put_u64(probe.clock_us);
}
