//! Headroom and explanations as tables.

use comfy_table::CellAlignment;
use medmesh_api_types::fleet::{Explanation, FleetHeadroom, Headroom, PlacementCandidate, PlacementOutcome};
use time::format_description::well_known::Rfc3339;

use super::table::{NONE, table};

pub(super) fn headroom(headroom: &FleetHeadroom) -> String {
    let mut rows = table(&[
        "REGION", "EDGES", "OPEN", "PEOPLE", "CAPACITY", "LARGEST", "SPARE",
    ]);
    for at in 1..=6 {
        let column = rows.column_mut(at).expect("seven columns were made above");
        column.set_cell_alignment(CellAlignment::Right);
    }
    for region in &headroom.regions {
        rows.add_row(row(region.region.to_string(), &region.headroom));
    }
    rows.add_row(row("all".to_owned(), &headroom.fleet));
    format!("{rows}\n\nSPARE: how many more fit while the largest edge could still die\n")
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
    ]
}

pub(super) fn explanation(explanation: &Explanation) -> String {
    let residency: Vec<&str> = explanation
        .residency
        .iter()
        .map(medmesh_base::Region::as_str)
        .collect();
    let residency = if residency.is_empty() {
        "any region".to_owned()
    } else {
        residency.join(", ")
    };
    let mut text = format!(
        "room {} (epoch {}, {residency})\n",
        explanation.room, explanation.epoch
    );
    for placed in &explanation.participants {
        let when = placed.decided_at.and_then(|at| at.format(&Rfc3339).ok());
        let when = when.map_or_else(
            || "nothing is remembered; as it would be decided now".to_owned(),
            |at| format!("decided {at}"),
        );
        let spare = if placed.spare_edge {
            ""
        } else {
            ", no edge to spare"
        };
        let mut rows = table(&[
            "EDGE",
            "OUTCOME",
            "WHY",
            "M2E MS",
            "ACCESS MS",
            "HOP MS",
            "IMPAIRED",
            "LOAD",
            "COST",
        ]);
        for candidate in &placed.candidates {
            rows.add_row(candidate_row(candidate));
        }
        text += &format!(
            "\nparticipant {} on {} ({when}{spare})\n{rows}\n",
            placed.id, placed.edge
        );
    }
    text
}

fn candidate_row(candidate: &PlacementCandidate) -> Vec<String> {
    let outcome = match candidate.outcome {
        PlacementOutcome::Chosen => "chosen",
        PlacementOutcome::Ranked => "ranked",
        PlacementOutcome::Rejected => "rejected",
    };
    let reason = candidate.reason.clone().unwrap_or_else(|| NONE.to_owned());
    let mut row = vec![candidate.name.clone(), outcome.to_owned(), reason];
    match &candidate.score {
        None => row.extend(std::iter::repeat_n(NONE.to_owned(), 6)),
        Some(score) => row.extend([
            score.mouth_to_ear_ms.to_string(),
            score.access_ms.to_string(),
            format!("{:.1}", f64::from(score.mesh_hop_us) / 1000.0),
            score.impairment_us.to_string(),
            format!("{} %", score.load_permille / 10),
            score.cost.to_string(),
        ]),
    }
    row
}
