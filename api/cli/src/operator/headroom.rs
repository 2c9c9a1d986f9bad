//! How much more fits: on the fleet's edges, and on relays that run by themselves.

use anyhow::bail;
use comfy_table::{CellAlignment, Table};
use medmesh_api_client::relay_headroom;
use medmesh_api_types::fleet::{FleetHeadroom, Headroom, RelayHeadroom};
use serde::Serialize;

use super::table::table;
use super::{Connection, show};

/// Relays asked in one go.
const RELAYS_MAX: usize = 100;

/// What is shown.
#[derive(Debug, Serialize)]
pub(super) struct Room {
    /// The fleet's, where a control plane was asked.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub(super) fleet: Option<FleetHeadroom>,
    /// Of the relays that were named.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) relays: Vec<RelayHeadroom>,
}

pub(super) async fn run(connection: &Connection, urls: &[String]) -> anyhow::Result<String> {
    if urls.len() > RELAYS_MAX {
        bail!("at most {RELAYS_MAX} relays at once");
    }
    let fleet = if urls.is_empty() || connection.token_file.is_some() {
        Some(connection.open()?.headroom().await?)
    } else {
        None
    };
    let ca_pem = connection.ca_pem()?;
    let mut relays = Vec::with_capacity(urls.len());
    for url in urls {
        match relay_headroom(url, ca_pem.as_deref()).await {
            Ok(room) => relays.push(room),
            Err(error) => bail!("the relay at {url}: {error}"),
        }
    }
    show(connection, &Room { fleet, relays }, text)
}

pub(super) fn text(room: &Room) -> String {
    let mut text = String::new();
    if let Some(fleet) = &room.fleet {
        let mut rows = numbers(&[
            "REGION",
            "EDGES",
            "OPEN",
            "PEOPLE",
            "CAPACITY",
            "LARGEST",
            "SPARE",
            "TURN",
            "TURN MAX",
            "TURN SPARE",
        ]);
        for region in &fleet.regions {
            rows.add_row(row(region.region.to_string(), &region.headroom));
        }
        rows.add_row(row("all".to_owned(), &fleet.fleet));
        text += &format!("{rows}\n\nSPARE: how many more fit while the largest edge could still die\n");
    }
    if !room.relays.is_empty() {
        let mut rows = numbers(&["RELAY", "TURN", "TURN MAX", "TURN SPARE"]);
        for relay in &room.relays {
            rows.add_row([
                relay.url.clone(),
                relay.allocations.to_string(),
                relay.allocations_max.to_string(),
                relay.spare_allocations.to_string(),
            ]);
        }
        if !text.is_empty() {
            text.push('\n');
        }
        text += &format!("{rows}\n");
    }
    text
}

/// A table whose columns but the first are numbers.
fn numbers(names: &[&str]) -> Table {
    let mut rows = table(names);
    for column in rows.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    rows
}

fn row(name: String, room: &Headroom) -> Vec<String> {
    vec![
        name,
        room.edges.to_string(),
        room.edges_open.to_string(),
        room.load_participants.to_string(),
        room.capacity_participants.to_string(),
        room.largest_edge_participants.to_string(),
        room.spare_participants.to_string(),
        room.turn_allocations.to_string(),
        room.turn_allocations_max.to_string(),
        room.spare_turn_allocations.to_string(),
    ]
}
