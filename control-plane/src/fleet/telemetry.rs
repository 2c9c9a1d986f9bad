//! What the edges last said of themselves. Pure, in memory, rebuilt within seconds:
//! every edge reports to every control node, so that whichever leads knows the load.
//!
//! All times are milliseconds of this process's steady clock.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use medmesh_base::{ClientPrefix, EdgeId, ParticipantId, RoomId};
use medmesh_ledger::EdgeDescriptor;
use medmesh_place::Path;
use medmesh_wire::fleet::{EdgeDescriptor as WireDescriptor, EdgeReport};

/// An edge that has not reported for this long is unhealthy. Reports come once a
/// second: two may be lost, and a visit that starts meanwhile has fall-backs.
pub const STALE_AFTER_MS: u64 = 3_000;

/// Rooms in one report; four times what the largest edge carries.
const ROOMS_MAX: usize = 16_384;
/// Participants of one room in one report, as the ledger bounds them, twice (moves overlap).
const ROOM_PARTICIPANTS_MAX: usize = 32;
/// Paths in one report: one to every other edge of the largest fleet.
const PATHS_MAX: usize = medmesh_ledger::limits::EDGES_MAX;

/// Ranges of media sockets in one report: one on a host that says `media.port_base`, one a core otherwise.
const MEDIA_MAX: usize = 256;

/// Networks in one report, as edges bound them.
const PREFIXES_MAX: usize = 512;

/// A report that is not one; the stream it came on ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed report: {0}")]
pub struct MalformedReport(&'static str);

/// The load an edge reported.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Load {
    /// People it carries.
    pub participants: u32,
    /// Rooms it carries a part of.
    pub rooms: u32,
    /// Load of all its cores, 0.0 to 1.0.
    pub cpu_ratio: f64,
    /// Received, bits per second.
    pub ingress_bps: u64,
    /// Sent, bits per second.
    pub egress_bps: u64,
    /// Relayed connections.
    pub turn_allocations: u32,
    /// As many as its relay may hold.
    pub turn_allocations_max: u32,
}

/// An edge's part of a room.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Presence {
    /// The newest assignment of a token seen there.
    pub epoch: u64,
    /// Who is there, and for how long their media is up, milliseconds; 0 = not yet.
    pub people: BTreeMap<ParticipantId, u32>,
}

/// One edge, as last reported.
#[derive(Clone, Debug, PartialEq)]
pub struct EdgeTelemetry {
    /// What it says of itself; `None` where that does not parse.
    pub descriptor: Option<EdgeDescriptor>,
    /// The build it runs.
    pub version: String,
    /// The UDP sockets browsers send media to, `address:low-high`; none from an edge that does not say so.
    pub media: Vec<String>,
    /// Its load.
    pub load: Load,
    /// Its links to other edges.
    pub paths: BTreeMap<EdgeId, Path>,
    /// Who is there.
    pub rooms: BTreeMap<RoomId, Presence>,
    /// Round trips to the networks its people are in, microseconds.
    pub ways: Vec<(ClientPrefix, u32)>,
    /// The configuration in force there.
    pub config_version: u64,
    /// When it was received.
    pub received_at_ms: u64,
}

/// The latest report of each edge.
#[derive(Clone, Debug, Default)]
pub struct Telemetry {
    edges: BTreeMap<EdgeId, EdgeTelemetry>,
}

impl Telemetry {
    /// Takes a report; the previous one of the edge is replaced whole.
    ///
    /// # Errors
    /// When a part of it does not parse or is larger than an edge can be; nothing is changed then.
    pub fn handle_report(
        &mut self,
        edge: EdgeId,
        report: EdgeReport,
        now_ms: u64,
    ) -> Result<(), MalformedReport> {
        let load = report.load.unwrap_or_default();
        if !(0.0..=1.0).contains(&load.cpu_ratio) {
            return Err(MalformedReport("cpu_ratio"));
        }
        if report.rooms.len() > ROOMS_MAX {
            return Err(MalformedReport("rooms"));
        }
        if report.peers.len() > PATHS_MAX {
            return Err(MalformedReport("peers"));
        }
        let mut paths = BTreeMap::new();
        for peer in report.peers {
            let to = EdgeId::from_slice(&peer.edge_id).map_err(|_| MalformedReport("peers"))?;
            let path = Path {
                rtt_us: peer.rtt_us,
                jitter_us: peer.jitter_us,
                loss_ppm: peer.loss_ppm,
            };
            paths.insert(to, path);
        }
        let mut rooms = BTreeMap::new();
        for presence in report.rooms {
            let room = RoomId::from_slice(&presence.room_id).map_err(|_| MalformedReport("rooms"))?;
            if presence.participant_ids.len() > ROOM_PARTICIPANTS_MAX {
                return Err(MalformedReport("rooms"));
            }
            // Edges before this version do not say how long.
            let ages = presence.connected_ms.iter().copied().chain(std::iter::repeat(0));
            let people = presence
                .participant_ids
                .iter()
                .zip(ages)
                .map(|(id, age)| Ok((ParticipantId::from_slice(id)?, age)))
                .collect::<Result<_, medmesh_base::IdError>>()
                .map_err(|_| MalformedReport("rooms"))?;
            let epoch = presence.epoch;
            rooms.insert(room, Presence { epoch, people });
        }
        if report.prefix_rtts.len() > PREFIXES_MAX {
            return Err(MalformedReport("prefix_rtts"));
        }
        let ways = report.prefix_rtts.iter().map(|way| {
            let prefix = ClientPrefix::from_slice(&way.prefix).ok_or(MalformedReport("prefix_rtts"))?;
            Ok((prefix, way.rtt_us))
        });
        let ways = ways.collect::<Result<_, MalformedReport>>()?;
        let media = media(report.edge.as_ref())?;
        let version = report
            .edge
            .as_ref()
            .map_or_else(String::new, |edge| edge.version.clone());
        let telemetry = EdgeTelemetry {
            descriptor: report.edge.and_then(descriptor_from_wire),
            version: version.chars().take(VERSION_CHARS_MAX).collect(),
            media,
            load: Load {
                participants: load.participants,
                rooms: load.rooms,
                cpu_ratio: load.cpu_ratio,
                ingress_bps: load.ingress_bps,
                egress_bps: load.egress_bps,
                turn_allocations: load.turn_allocations,
                turn_allocations_max: load.turn_allocations_max,
            },
            paths,
            rooms,
            ways,
            config_version: report.config_version,
            received_at_ms: now_ms,
        };
        self.edges.insert(edge, telemetry);
        Ok(())
    }

    /// The edge's latest report, fresh or not.
    #[must_use]
    pub fn get(&self, edge: EdgeId) -> Option<&EdgeTelemetry> {
        self.edges.get(&edge)
    }

    /// The edge's latest report, unless it is stale.
    #[must_use]
    pub fn fresh(&self, edge: EdgeId, now_ms: u64) -> Option<&EdgeTelemetry> {
        self.get(edge)
            .filter(|known| now_ms.saturating_sub(known.received_at_ms) < STALE_AFTER_MS)
    }

    /// Edges that reported the room, fresh or not.
    pub fn edges_of_room(&self, room: RoomId) -> impl Iterator<Item = EdgeId> + '_ {
        self.edges
            .iter()
            .filter(move |(_, known)| known.rooms.contains_key(&room))
            .map(|(edge, _)| *edge)
    }

    /// Forgets edges that are no longer in the fleet.
    pub fn retain(&mut self, keep: impl Fn(EdgeId) -> bool) {
        self.edges.retain(|edge, _| keep(*edge));
    }
}

/// Longest build name kept, characters.
const VERSION_CHARS_MAX: usize = 64;

/// The media sockets an edge names.
fn media(edge: Option<&WireDescriptor>) -> Result<Vec<String>, MalformedReport> {
    let named = edge.map_or(&[][..], |edge| &edge.media);
    if named.len() > MEDIA_MAX || !named.iter().all(|range| is_media_range(range)) {
        return Err(MalformedReport("media"));
    }
    Ok(named.to_vec())
}

/// Whether `text` is `address:low-high`: operators make rules of it for their relays.
fn is_media_range(text: &str) -> bool {
    let range = || {
        let (first, last) = text.rsplit_once('-')?;
        let first: SocketAddr = first.parse().ok()?;
        let last: u16 = last.parse().ok()?;
        Some((1..=last).contains(&first.port()) && !first.ip().is_unspecified())
    };
    range().unwrap_or(false)
}

/// What an edge says of itself, if its region is one. Lengths are the ledger's to check.
#[must_use]
pub(super) fn descriptor_from_wire(wire: WireDescriptor) -> Option<EdgeDescriptor> {
    Some(EdgeDescriptor {
        region: wire.region.parse().ok()?,
        name: wire.name,
        signalling_url: wire.signalling_url,
        link_address: wire.link_address,
        turn_urls: wire.turn_urls,
        capacity_participants: wire.capacity_participants,
    })
}
