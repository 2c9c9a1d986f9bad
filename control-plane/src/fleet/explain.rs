//! Why people are where they are: what the planner said when it placed them, as the leader
//! remembers it, or what it would say now.

use std::collections::{BTreeMap, VecDeque};

use medmesh_api_types::fleet as api;
use medmesh_base::{ParticipantId, RoomId};
use medmesh_ledger::{Room, State};
use medmesh_place::{Candidate, Rejection, Report, Score, Verdict};
use medmesh_wire::consensus::leader_client::LeaderClient;
use medmesh_wire::consensus::{ExplainRequest, ExplainResponse, Explained};
use tonic::Status;

use super::handle::{Fleet, now_unix_ms};
use super::operate::OperateError;
use super::overview::instant;
use super::view;

/// Decisions remembered; the oldest go first. A report over a hundred edges takes about 20 kB.
const DECISIONS_MAX: usize = 4_096;

/// What the leader decided lately. Bounded; gone with the process, and with leadership.
#[derive(Default)]
pub(super) struct Decisions {
    reports: BTreeMap<(RoomId, ParticipantId), (u64, Report)>,
    order: VecDeque<(RoomId, ParticipantId)>,
}

impl Decisions {
    fn remember(&mut self, room: RoomId, participant: ParticipantId, at_unix_ms: u64, report: Report) {
        let key = (room, participant);
        if self.reports.insert(key, (at_unix_ms, report)).is_none() {
            self.order.push_back(key);
        }
        while self.order.len() > DECISIONS_MAX {
            if let Some(oldest) = self.order.pop_front() {
                self.reports.remove(&oldest);
            }
        }
    }

    fn get(&self, room: RoomId, participant: ParticipantId) -> Option<&(u64, Report)> {
        self.reports.get(&(room, participant))
    }

    /// Forgets rooms that are no more.
    pub(super) fn retain(&mut self, keep: impl Fn(RoomId) -> bool) {
        self.order.retain(|(room, _)| keep(*room));
        self.reports.retain(|(room, _), _| keep(*room));
    }
}

impl Fleet {
    pub(super) fn remember_decision(&self, room: RoomId, participant: ParticipantId, report: &Report) {
        let mut desk = self.inner.desk.lock();
        let now = now_unix_ms();
        desk.decisions.remember(room, participant, now, report.clone());
    }

    /// Why the people of a room are where they are.
    ///
    /// # Errors
    /// [`OperateError::UnknownRoom`]; [`OperateError::NoAnswer`] when the leader is silent.
    pub async fn explain(&self, room: RoomId) -> Result<api::Explanation, OperateError> {
        let request = ExplainRequest {
            room_id: room.to_vec().into(),
        };
        let answer = if self.inner.consensus.is_leader() {
            self.explain_here(&request)
        } else if let Some((_, channel)) = self.inner.consensus.leader_channel() {
            let answer = LeaderClient::new(channel).explain(request).await;
            answer.map(tonic::Response::into_inner)
        } else {
            // Nobody leads: what this node would say is better than nothing.
            self.explain_here(&request)
        };
        let answer = answer.map_err(|status| OperateError::NoAnswer(Box::new(status)))?;
        let state = self.state();
        let known = state.rooms.get(&room).ok_or(OperateError::UnknownRoom)?;
        let shown = answer
            .placements
            .iter()
            .filter_map(|one| explained(&state, known, one));
        Ok(api::Explanation {
            room,
            epoch: known.epoch,
            residency: known.residency.clone(),
            participants: shown.collect(),
        })
    }

    pub(super) fn explain_here(&self, request: &ExplainRequest) -> Result<ExplainResponse, Status> {
        let room = RoomId::from_slice(&request.room_id).map_err(|_| Status::invalid_argument("room_id"))?;
        let state = self.state();
        let Some(known) = state.rooms.get(&room) else {
            return Ok(ExplainResponse::default());
        };
        let placements = known.placements.keys().map(|participant| {
            let remembered = self.inner.desk.lock().decisions.get(room, *participant).cloned();
            let (at, report) =
                remembered.unwrap_or_else(|| (0, self.plan_again(&state, room, known, *participant)));
            Explained {
                participant_id: participant.to_vec().into(),
                decided_at_unix_ms: at,
                report_json: serde_json::to_string(&report).unwrap_or_default(),
            }
        });
        Ok(ExplainResponse {
            placements: placements.collect(),
        })
    }

    /// What the planner says of somebody as things are now. Promises nothing.
    fn plan_again(&self, state: &State, id: RoomId, room: &Room, participant: ParticipantId) -> Report {
        let now_ms = self.now_ms();
        let telemetry = self.inner.telemetry.read();
        let desk = self.inner.desk.lock();
        let access = |other| desk.access_us.get(&(id, other)).copied();
        let home = room.placements.get(&participant).map(|placement| placement.edge);
        let probes = home.zip(access(participant)).into_iter().collect();
        let known = |other| access(other).unwrap_or(0);
        let demand = view::demand(
            Some(room),
            participant,
            &room.residency,
            probes,
            BTreeMap::new(),
            known,
        );
        let near = demand.others.iter().map(|(edge, _)| *edge).collect();
        let fleet = view::fleet(state, &telemetry, desk.reservations.by_edge(), &near, now_ms);
        let (_, seed) = id.as_uuid().as_u64_pair();
        medmesh_place::plan(&fleet, &demand, seed).1
    }
}

/// One participant's report with names; `None` when it is not one, or they have gone meanwhile.
fn explained(state: &State, room: &Room, one: &Explained) -> Option<api::PlacementExplanation> {
    let id = ParticipantId::from_slice(&one.participant_id).ok()?;
    let report: Report = serde_json::from_str(&one.report_json).ok()?;
    let name = |edge| {
        let known = state.edges.get(&edge);
        known.map_or_else(|| edge.to_string(), |known| known.descriptor.name.clone())
    };
    let winner = report
        .candidates
        .iter()
        .find_map(|candidate| match &candidate.verdict {
            Verdict::Chosen { score, .. } => Some(score),
            _ => None,
        });
    let candidates = report.candidates.iter();
    Some(api::PlacementExplanation {
        id,
        edge: name(room.placements.get(&id)?.edge),
        decided_at: (one.decided_at_unix_ms > 0).then(|| instant(one.decided_at_unix_ms)),
        spare_edge: report.spare_edge,
        candidates: candidates
            .map(|candidate| shown(candidate, name(candidate.edge), winner))
            .collect(),
    })
}

fn shown(candidate: &Candidate, name: String, winner: Option<&Score>) -> api::PlacementCandidate {
    let (outcome, reason, score) = match &candidate.verdict {
        Verdict::Chosen { score, kept } => {
            let reason = kept.then_some("kept");
            (api::PlacementOutcome::Chosen, reason, Some(score))
        }
        Verdict::Ranked { score, .. } => {
            // One that is not worse lost to the edge the participant was on already.
            let reason = winner.map(|winner| score.loses_by(winner).unwrap_or("moving"));
            (api::PlacementOutcome::Ranked, reason, Some(score))
        }
        Verdict::Rejected { reason } => (api::PlacementOutcome::Rejected, Some(rejection(*reason)), None),
    };
    api::PlacementCandidate {
        edge: candidate.edge,
        name,
        outcome,
        reason: reason.map(str::to_owned),
        score: score.map(|score| api::PlacementScore {
            mouth_to_ear_ms: score.mouth_to_ear_ms(),
            impairment_us: score.impairment_us,
            mesh_hop_us: score.mesh_hop_us,
            access_ms: score.access_ms(),
            load_permille: score.balance_steps * 50,
            cost: score.cost,
        }),
    }
}

const fn rejection(reason: Rejection) -> &'static str {
    match reason {
        Rejection::Unhealthy => "unhealthy",
        Rejection::Cordoned => "cordoned",
        Rejection::Draining => "draining",
        Rejection::Residency => "residency",
        Rejection::Full => "full",
        Rejection::NoSpareEdge => "no_spare_edge",
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{person, room};
    use super::*;

    #[test]
    fn the_oldest_decisions_are_forgotten_first() {
        let mut decisions = Decisions::default();
        let report = Report {
            candidates: Vec::new(),
            spare_edge: true,
        };
        for who in 0..=DECISIONS_MAX as u128 {
            decisions.remember(room(who / 4), person(who), 1, report.clone());
        }
        assert_eq!(decisions.reports.len(), DECISIONS_MAX);
        assert!(decisions.get(room(0), person(0)).is_none());
        assert!(decisions.get(room(0), person(1)).is_some());
        decisions.remember(room(0), person(1), 2, report);
        assert_eq!(
            decisions.order.len(),
            DECISIONS_MAX,
            "deciding again is not another decision"
        );
        decisions.retain(|id| id == room(0));
        assert_eq!((decisions.reports.len(), decisions.order.len()), (3, 3));
    }
}
