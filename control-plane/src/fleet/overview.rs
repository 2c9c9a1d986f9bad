//! What an operator is shown: agreed intent beside fresh telemetry. Changes nothing.

use std::collections::{BTreeMap, BTreeSet};

use medmesh_api_types::fleet::{
    ControlNode, EdgeHealth, EdgeNode, EdgePath, EdgeReport, FleetHeadroom, Headroom, Nodes, Placed, Raft,
    RaftMember, RaftRole, RegionHeadroom, Room, Sessions,
};
use medmesh_base::{ControlId, EdgeId, RoomId};
use medmesh_consensus::Status;
use medmesh_ledger::{Edge, EdgeStatus, Room as LedgerRoom, State};
use time::OffsetDateTime;

use super::handle::Fleet;
use super::operate::OperateError;
use super::telemetry::{EdgeTelemetry, Telemetry};
use super::view;

impl Fleet {
    /// Every machine of the cluster.
    #[must_use]
    pub fn nodes(&self) -> Nodes {
        let state = self.state();
        let status = self.inner.consensus.status();
        let now_ms = self.now_ms();
        let telemetry = self.inner.telemetry.read();
        let reserved = self.inner.desk.lock().reservations.by_edge().clone();
        let homes = state.homes();
        let mut edges: Vec<EdgeNode> = state
            .edges
            .iter()
            .map(|(id, edge)| EdgeNode {
                reserved_participants: reserved.get(id).copied().unwrap_or(0),
                placed_participants: homes.get(id).copied().unwrap_or(0),
                health: health(&state, &telemetry, *id, now_ms),
                ..edge_node(*id, edge, telemetry.get(*id), now_ms)
            })
            .collect();
        edges.sort_by(|a, b| a.name.cmp(&b.name));
        Nodes {
            controls: controls(&state, &status),
            edges,
        }
    }

    /// One edge, to watch it being emptied.
    ///
    /// # Errors
    /// [`OperateError::UnknownEdge`].
    pub fn edge(&self, edge: EdgeId) -> Result<EdgeNode, OperateError> {
        let edges = self.nodes().edges;
        let found = edges.into_iter().find(|node| node.id == edge);
        found.ok_or(OperateError::UnknownEdge)
    }

    /// How many more people fit, by region.
    #[must_use]
    pub fn headroom(&self) -> FleetHeadroom {
        let state = self.state();
        let telemetry = self.inner.telemetry.read();
        let reserved = self.inner.desk.lock().reservations.by_edge().clone();
        let fleet = view::fleet(&state, &telemetry, &reserved, &BTreeSet::new(), self.now_ms());
        let (regions, all) = medmesh_place::headroom(&fleet);
        FleetHeadroom {
            regions: regions
                .into_iter()
                .map(|(region, room)| RegionHeadroom {
                    region,
                    headroom: shown_headroom(room),
                })
                .collect(),
            fleet: shown_headroom(all),
        }
    }

    /// The latest `limit` rooms, and totals over all.
    #[must_use]
    pub fn sessions(&self, limit: usize) -> Sessions {
        let state = self.state();
        let telemetry = self.inner.telemetry.read();
        let now_ms = self.now_ms();
        let fresh = || {
            let edges = state.edges.iter();
            edges
                .filter_map(|(id, edge)| Some((edge.descriptor.name.as_str(), telemetry.fresh(*id, now_ms)?)))
        };
        let mut rooms: Vec<(&RoomId, &LedgerRoom)> =
            state.rooms.iter().map(|(id, room)| (id, room.as_ref())).collect();
        rooms.sort_by_key(|(_, room)| std::cmp::Reverse(room.epoch));
        let connected = fresh().flat_map(|(_, report)| report.rooms.values());
        Sessions {
            rooms_total: rooms.len() as u64,
            participants_placed: rooms.iter().map(|(_, room)| room.placements.len() as u64).sum(),
            participants_connected: connected.map(|presence| presence.people.len() as u64).sum(),
            rooms: rooms
                .into_iter()
                .take(limit)
                .map(|(id, room)| shown_room(*id, room, &state, fresh))
                .collect(),
        }
    }

    /// The Raft group as this node sees it.
    #[must_use]
    pub fn raft(&self) -> Raft {
        let status = self.inner.consensus.status();
        Raft {
            node: status.node,
            leader: status.leader,
            term: status.term,
            last_log_index: status.last_index,
            applied_index: status.applied_index,
            snapshot_index: status.snapshot_index,
            members: status
                .members
                .iter()
                .map(|member| RaftMember {
                    id: member.node,
                    role: role(&status, member.node),
                    link_address: member.link_address.clone(),
                    matched_index: member.matched_index,
                })
                .collect(),
        }
    }
}

fn shown_headroom(room: medmesh_place::Headroom) -> Headroom {
    Headroom {
        edges: room.edges,
        edges_open: room.edges_open,
        capacity_participants: room.capacity_participants,
        load_participants: room.load_participants,
        largest_edge_participants: room.largest_edge_participants,
        spare_participants: room.spare_participants(),
        turn_allocations: room.relay_allocations,
        turn_allocations_max: room.relay_allocations_max,
        spare_turn_allocations: room.spare_allocations(),
    }
}

fn health(state: &State, telemetry: &Telemetry, edge: EdgeId, now_ms: u64) -> EdgeHealth {
    let down = state
        .edges
        .get(&edge)
        .is_none_or(|known| known.status == EdgeStatus::Down);
    if down {
        EdgeHealth::Down
    } else if view::is_healthy(state, telemetry, edge, now_ms) {
        EdgeHealth::Healthy
    } else {
        EdgeHealth::Silent
    }
}

fn edge_node(id: EdgeId, edge: &Edge, report: Option<&EdgeTelemetry>, now_ms: u64) -> EdgeNode {
    let descriptor = &edge.descriptor;
    EdgeNode {
        id,
        name: descriptor.name.clone(),
        region: descriptor.region.clone(),
        health: EdgeHealth::Down,
        cordoned: edge.cordoned,
        draining: edge.draining,
        capacity_participants: descriptor.capacity_participants,
        reserved_participants: 0,
        placed_participants: 0,
        signalling_url: descriptor.signalling_url.clone(),
        link_address: descriptor.link_address.clone(),
        report: report.map(|report| EdgeReport {
            age_ms: now_ms.saturating_sub(report.received_at_ms),
            version: report.version.clone(),
            media: report.media.clone(),
            participants: report.load.participants,
            rooms: report.load.rooms,
            cpu_ratio: report.load.cpu_ratio,
            ingress_bps: report.load.ingress_bps,
            egress_bps: report.load.egress_bps,
            turn_allocations: report.load.turn_allocations,
            turn_allocations_max: report.load.turn_allocations_max,
            config_version: report.config_version,
            paths: report
                .paths
                .iter()
                .map(|(to, path)| EdgePath {
                    to: *to,
                    rtt_us: path.rtt_us,
                    jitter_us: path.jitter_us,
                    loss_ppm: path.loss_ppm,
                })
                .collect(),
        }),
    }
}

fn shown_room<'a, I>(id: RoomId, room: &LedgerRoom, state: &State, fresh: impl Fn() -> I) -> Room
where
    I: Iterator<Item = (&'a str, &'a EdgeTelemetry)>,
{
    let name = |edge: &EdgeId| {
        state
            .edges
            .get(edge)
            .map_or_else(|| edge.to_string(), |known| known.descriptor.name.clone())
    };
    let connected_to = |participant| {
        let there = |(_, report): &(&str, &EdgeTelemetry)| {
            report
                .rooms
                .get(&id)
                .is_some_and(|presence| presence.people.contains_key(participant))
        };
        fresh().find(there).map(|(name, _)| name.to_owned())
    };
    Room {
        id,
        epoch: room.epoch,
        expires_at: instant(room.expires_at),
        participants: room
            .placements
            .iter()
            .map(|(participant, placement)| Placed {
                id: *participant,
                edge: name(&placement.edge),
                connected_to: connected_to(participant),
            })
            .collect(),
    }
}

/// Members of the group, and nodes that have introduced themselves without being members.
fn controls(state: &State, status: &Status) -> Vec<ControlNode> {
    let members = status
        .members
        .iter()
        .map(|member| (member.node, Some(member.link_address.as_str())));
    let known = state.controls.iter();
    let known = known.map(|(id, node)| (*id, Some(node.descriptor.link_address.as_str())));
    let mut all: BTreeMap<ControlId, Option<&str>> = known.collect();
    all.extend(members);
    all.into_iter()
        .map(|(id, link)| ControlNode {
            id,
            role: role(status, id),
            is_this_node: id == status.node,
            link_address: link.unwrap_or_default().to_owned(),
            http_url: state
                .controls
                .get(&id)
                .map(|node| node.descriptor.http_url.clone()),
        })
        .collect()
}

fn role(status: &Status, node: ControlId) -> RaftRole {
    if status.leader == Some(node) {
        return RaftRole::Leader;
    }
    match status.members.iter().find(|member| member.node == node) {
        Some(member) if member.voter => RaftRole::Voter,
        Some(_) => RaftRole::Learner,
        None => RaftRole::Outside,
    }
}

pub(super) fn instant(unix_ms: u64) -> OffsetDateTime {
    let nanos = i128::from(unix_ms) * 1_000_000;
    OffsetDateTime::from_unix_timestamp_nanos(nanos).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}
