//! Explanations as tables.

use medmesh_api_client::{ClientError, Operator};
use medmesh_api_types::fleet::{Explanation, PlacementCandidate, PlacementOutcome};
use medmesh_base::{ProblemCode, RoomId, VisitId};
use time::format_description::well_known::Rfc3339;

use super::table::{NONE, table};

/// Of the room with this id, or of the visit with it: ids of the two are never the same.
pub(super) async fn explain(operator: &Operator, id: RoomId) -> Result<Explanation, ClientError> {
    match operator.explain(id).await {
        Err(ClientError::Problem(problem)) if problem.code == ProblemCode::NotFound => {
            operator.visit_explain(VisitId::from_uuid(id.as_uuid())).await
        }
        answer => answer,
    }
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
