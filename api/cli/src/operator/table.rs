//! Answers as tables.

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, ContentArrangement, Table};
use medmesh_api_types::fleet::{EdgeHealth, EdgeNode, Nodes, Raft, RaftRole, Sessions};
use time::format_description::well_known::Rfc3339;

/// A value that is not known.
pub(super) const NONE: &str = "–";

pub(super) fn nodes(nodes: &Nodes) -> String {
    let mut controls = table(&["CONTROL", "ROLE", "LINK", "HTTP"]);
    for node in &nodes.controls {
        let here = if node.is_this_node { " (asked)" } else { "" };
        controls.add_row([
            format!("{}{here}", node.id),
            role(node.role).to_owned(),
            node.link_address.clone(),
            node.http_url.clone().unwrap_or_else(|| NONE.to_owned()),
        ]);
    }
    let mut edges = table(&[
        "EDGE", "REGION", "HEALTH", "PEOPLE", "ROOMS", "CPU", "IN", "OUT", "TURN", "REPORT", "VERSION",
    ]);
    for at in 3..=8 {
        let column = edges.column_mut(at).expect("eleven columns were made above");
        column.set_cell_alignment(CellAlignment::Right);
    }
    for edge in &nodes.edges {
        edges.add_row(edge_row(edge));
    }
    if nodes.controls.is_empty() {
        return format!("{edges}\n");
    }
    format!("{controls}\n\n{edges}\n")
}

fn edge_row(edge: &EdgeNode) -> Vec<String> {
    let mut health = match edge.health {
        EdgeHealth::Healthy => "healthy",
        EdgeHealth::Silent => "silent",
        EdgeHealth::Down => "down",
    }
    .to_owned();
    for (flag, word) in [(edge.cordoned, " cordoned"), (edge.draining, " draining")] {
        if flag {
            health.push_str(word);
        }
    }
    let mut row = vec![edge.name.clone(), edge.region.to_string(), health];
    match &edge.report {
        None => {
            row.push(format!("{NONE}/{}", edge.capacity_participants));
            row.extend(std::iter::repeat_n(NONE.to_owned(), 7));
        }
        Some(report) => row.extend([
            format!("{}/{}", report.participants, edge.capacity_participants),
            report.rooms.to_string(),
            format!("{:.0} %", report.cpu_ratio * 100.0),
            bits(report.ingress_bps),
            bits(report.egress_bps),
            format!("{}/{}", report.turn_allocations, report.turn_allocations_max),
            format!("{} ms ago", report.age_ms),
            report.version.clone(),
        ]),
    }
    row
}

pub(super) fn sessions(sessions: &Sessions) -> String {
    let mut rooms = table(&["ROOM", "EPOCH", "PARTICIPANT", "EDGE", "CONNECTED", "ENDS"]);
    for room in &sessions.rooms {
        for (nth, placed) in room.participants.iter().enumerate() {
            let first = |text: String| if nth == 0 { text } else { String::new() };
            rooms.add_row([
                first(room.id.to_string()),
                first(room.epoch.to_string()),
                placed.id.to_string(),
                placed.edge.clone(),
                placed.connected_to.clone().unwrap_or_else(|| NONE.to_owned()),
                first(room.expires_at.format(&Rfc3339).unwrap_or_default()),
            ]);
        }
    }
    format!(
        "{rooms}\n{} of {} rooms; {} participants placed, {} connected\n",
        sessions.rooms.len(),
        sessions.rooms_total,
        sessions.participants_placed,
        sessions.participants_connected
    )
}

pub(super) fn raft(raft: &Raft) -> String {
    let mut members = table(&["NODE", "ROLE", "LINK", "MATCHED", "BEHIND"]);
    for member in &raft.members {
        let behind = member
            .matched_index
            .map(|matched| raft.last_log_index.saturating_sub(matched));
        members.add_row([
            member.id.to_string(),
            role(member.role).to_owned(),
            member.link_address.clone(),
            known(member.matched_index),
            known(behind),
        ]);
    }
    let leader = raft
        .leader
        .map_or_else(|| "nobody".to_owned(), |leader| leader.to_string());
    format!(
        "{members}\nnode {}: term {}, leader {leader}, log {}, applied {}, snapshot {}\n",
        raft.node, raft.term, raft.last_log_index, raft.applied_index, raft.snapshot_index
    )
}

fn known(value: Option<u64>) -> String {
    value.map_or_else(|| NONE.to_owned(), |value| value.to_string())
}

fn role(role: RaftRole) -> &'static str {
    match role {
        RaftRole::Leader => "leader",
        RaftRole::Voter => "voter",
        RaftRole::Learner => "learner",
        RaftRole::Outside => "outside",
    }
}

/// Bits per second in the unit a person reads.
fn bits(bps: u64) -> String {
    // Rates of one host: far below 2^53.
    let bps = bps as f64;
    if bps >= 1e9 {
        format!("{:.1} Gbit/s", bps / 1e9)
    } else if bps >= 1e6 {
        format!("{:.1} Mbit/s", bps / 1e6)
    } else {
        format!("{:.0} kbit/s", bps / 1e3)
    }
}

pub(super) fn table(head: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_preset(NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(head);
    table
}
