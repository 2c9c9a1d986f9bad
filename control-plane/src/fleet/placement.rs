//! Placing people: planned from ledger and telemetry on the leader, committed, answered.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use medmesh_base::media_token::MeshEdge;
use medmesh_base::{ClientPrefix, EdgeId, ParticipantId, Region, RoomId};
use medmesh_ledger::{Command, Placement, Refused, Response, Room, State};
use medmesh_place::{EdgeView, Report};
use medmesh_wire::consensus::leader_client::LeaderClient;
use medmesh_wire::consensus::{
    ExplainRequest, ExplainResponse, PlaceRequest, PlaceResponse, PlacedEdge, Probe,
};
use tonic::{Code, Status};

use super::enrolment::unix_ms;
use super::handle::{Fleet, now_unix_ms};
use super::view;
use crate::media::{self, CANDIDATES_MAX, PlaceError, Placed, Wish};

/// Plans that may fail because the room moved on meanwhile: six people who join at once
/// each lose at most five times.
const PLANS_MAX: u32 = 16;

/// How long a node looks for a leader that places: longer than an election.
const PLACE_TIMEOUT: Duration = Duration::from_secs(5);
/// Between tries.
const PLACE_PAUSE: Duration = Duration::from_millis(50);

/// Probes looked at; a browser times four candidates.
const PROBES_MAX: usize = 64;

/// When a room ends if the caller does not say, as control nodes before this version do: a visit,
/// however late it starts and long it takes, is over by then.
const ROOM_LIFE_MS: u64 = 12 * 3_600_000;

/// The leader's word for "no edge stands where the visit may run": the wish is out of the range
/// of regions there are. Nothing else on this path says it.
const OUTSIDE_RESIDENCY: Code = Code::OutOfRange;

/// A wish with its ids and numbers read.
struct Ask {
    room: RoomId,
    participant: ParticipantId,
    probes_us: BTreeMap<EdgeId, u32>,
    /// The network they ask from.
    prefix: Option<ClientPrefix>,
    residency: Vec<Region>,
    /// When the visit is over; `None` when the caller does not say.
    expires_at: Option<u64>,
}

impl Ask {
    fn parse(request: &PlaceRequest) -> Result<Self, Status> {
        let invalid = |what: &'static str| Status::invalid_argument(what);
        if request.probes.len() > PROBES_MAX {
            return Err(invalid("probes"));
        }
        let probe = |probe: &Probe| Some((EdgeId::from_slice(&probe.edge_id).ok()?, probe.rtt_us));
        Ok(Self {
            room: RoomId::from_slice(&request.room_id).map_err(|_| invalid("room_id"))?,
            participant: ParticipantId::from_slice(&request.participant_id)
                .map_err(|_| invalid("participant_id"))?,
            probes_us: request
                .probes
                .iter()
                .map(probe)
                .collect::<Option<_>>()
                .ok_or_else(|| invalid("probes"))?,
            prefix: ClientPrefix::from_slice(&request.client_prefix),
            residency: request
                .residency
                .iter()
                .map(|region| region.parse())
                .collect::<Result<_, _>>()
                .map_err(|_| invalid("residency"))?,
            expires_at: match request.expires_at_unix_ms {
                0 => None,
                at if at <= now_unix_ms() => return Err(invalid("expires_at_unix_ms")),
                at => Some(at),
            },
        })
    }
}

fn assign(ask: &Ask, epoch: u64, placement: &Placement) -> Command {
    Command::RoomAssign {
        room: ask.room,
        epoch,
        residency: ask.residency.clone(),
        expires_at: ask.expires_at.unwrap_or_else(|| now_unix_ms() + ROOM_LIFE_MS),
        place: vec![(ask.participant, placement.clone())],
        remove: Vec::new(),
        now: now_unix_ms(),
    }
}

/// What to do about a wish, read from one state.
enum Decision {
    /// They have a good place.
    Stays(PlaceResponse),
    /// This is to be committed.
    Goes(Placement, Option<Report>, Command),
}

/// One try at placing.
enum Try {
    Done(PlaceResponse),
    /// The ledger moved between planning and committing.
    Again,
}

#[tonic::async_trait]
impl medmesh_consensus::Placer for Fleet {
    async fn place(&self, request: PlaceRequest) -> Result<PlaceResponse, Status> {
        let timer = self.inner.metrics.placement_seconds.start_timer();
        let result = self.place_here(&request).await;
        timer.observe_duration();
        let word = match &result {
            Ok(_) => "ok",
            Err(status) if status.code() == Code::ResourceExhausted => "no_capacity",
            Err(status) if status.code() == OUTSIDE_RESIDENCY => "outside_residency",
            Err(status) if status.code() == Code::InvalidArgument => "invalid",
            Err(_) => "unavailable",
        };
        self.inner.metrics.placements.with_label_values(&[word]).inc();
        result
    }

    async fn explain(&self, request: ExplainRequest) -> Result<ExplainResponse, Status> {
        self.explain_here(&request)
    }
}

impl Fleet {
    async fn place_here(&self, request: &PlaceRequest) -> Result<PlaceResponse, Status> {
        let ask = Ask::parse(request)?;
        for _ in 0..PLANS_MAX {
            match self.try_place(&ask).await? {
                Try::Done(response) => return Ok(response),
                Try::Again => self.inner.metrics.placement_conflicts.inc(),
            }
        }
        Err(Status::unavailable("the room kept changing"))
    }

    async fn try_place(&self, ask: &Ask) -> Result<Try, Status> {
        let (placement, report, command) = match self.decide_place(ask)? {
            Decision::Stays(response) => return Ok(Try::Done(response)),
            Decision::Goes(placement, report, command) => (placement, report, command),
        };
        let committed = self
            .inner
            .consensus
            .propose(command)
            .await
            .map_err(|error| Status::unavailable(error.to_string()))?;
        match committed.response {
            Response::Epoch(_) => {
                let state = self.state();
                // Gone again at once only when somebody closed it meanwhile.
                let Some(room) = state.rooms.get(&ask.room) else {
                    return Ok(Try::Again);
                };
                self.remember_access(ask, placement.edge);
                if let Some(report) = &report {
                    self.remember_decision(ask.room, ask.participant, report);
                }
                Ok(Try::Done(answer(&state, room, &placement, report.as_ref())))
            }
            Response::Refused(
                Refused::StaleEpoch { .. }
                | Refused::EdgeUnavailable(_)
                | Refused::UnknownEdge(_)
                | Refused::OutsideResidency(_),
            ) => Ok(Try::Again),
            Response::Refused(Refused::LimitReached(_)) => {
                Err(Status::resource_exhausted("the ledger is full"))
            }
            Response::Refused(why) => Err(Status::invalid_argument(why.to_string())),
            other => Err(Status::internal(format!("unexpected answer {other:?}"))),
        }
    }

    fn decide_place(&self, ask: &Ask) -> Result<Decision, Status> {
        let state = self.state();
        let room = state.rooms.get(&ask.room);
        let held = room.and_then(|room| Some((room, room.placements.get(&ask.participant)?)));
        if let Some((room, placement)) = held
            && self.may_stay(&state, placement)
        {
            if ask.expires_at.is_some_and(|at| room.expires_at < at) {
                // The visit was moved to a later time since.
                return Ok(Decision::Goes(
                    placement.clone(),
                    None,
                    assign(ask, room.epoch, placement),
                ));
            }
            self.remember_access(ask, placement.edge);
            return Ok(Decision::Stays(answer(&state, room, placement, None)));
        }
        let (placement, report) = self.plan(&state, room.map(Arc::as_ref), ask)?;
        let command = assign(ask, room.map_or(0, |room| room.epoch), &placement);
        Ok(Decision::Goes(placement, Some(report), command))
    }

    /// Who comes back keeps their edge unless it died or is being emptied.
    fn may_stay(&self, state: &State, placement: &Placement) -> bool {
        let telemetry = self.inner.telemetry.read();
        let draining = state.edges.get(&placement.edge).is_none_or(|edge| edge.draining);
        !draining && view::is_healthy(state, &telemetry, placement.edge, self.now_ms())
    }

    /// Plans and promises the place in one step, so that two who ask at once see each other.
    fn plan(&self, state: &State, room: Option<&Room>, ask: &Ask) -> Result<(Placement, Report), Status> {
        let now_ms = self.now_ms();
        let learned_us = ask.prefix.map_or_else(BTreeMap::new, |prefix| {
            self.inner.learned.lock().of(prefix, now_ms)
        });
        let telemetry = self.inner.telemetry.read();
        let mut desk = self.inner.desk.lock();
        let access = |other| desk.access_us.get(&(ask.room, other)).copied().unwrap_or(0);
        let demand = view::demand(
            room,
            ask.participant,
            &ask.residency,
            ask.probes_us.clone(),
            learned_us,
            access,
        );
        let near = demand.others.iter().map(|(edge, _)| *edge).collect();
        let fleet = view::fleet(state, &telemetry, desk.reservations.by_edge(), &near, now_ms);
        let (_, seed) = ask.room.as_uuid().as_u64_pair();
        let (plan, report) = medmesh_place::plan(&fleet, &demand, seed);
        let Ok(plan) = plan else {
            let why = serde_json::to_string(&report).unwrap_or_default();
            tracing::warn!(room = %ask.room, report = why, "no edge can take a participant");
            let allowed = |edge: &EdgeView| demand.allows(&edge.region);
            return Err(if fleet.edges.is_empty() || fleet.edges.values().any(allowed) {
                Status::resource_exhausted("no edge can take the participant")
            } else {
                Status::new(OUTSIDE_RESIDENCY, "no edge stands where the visit may run")
            });
        };
        desk.reservations
            .reserve(ask.room, ask.participant, plan.home, now_ms);
        let placement = Placement {
            edge: plan.home,
            fallbacks: plan.fallbacks,
        };
        Ok((placement, report))
    }

    fn remember_access(&self, ask: &Ask, edge: EdgeId) {
        if let Some(rtt_us) = ask.probes_us.get(&edge) {
            let mut desk = self.inner.desk.lock();
            desk.access_us.insert((ask.room, ask.participant), *rtt_us);
        }
    }

    /// Places through whoever leads. Placing again changes nothing, so an unclear outcome is tried again.
    async fn place_anywhere(&self, request: PlaceRequest) -> Result<PlaceResponse, Status> {
        let tries = async {
            loop {
                let result = if self.inner.consensus.is_leader() {
                    medmesh_consensus::Placer::place(self, request.clone()).await
                } else if let Some((_, channel)) = self.inner.consensus.leader_channel() {
                    let answer = LeaderClient::new(channel).place(request.clone()).await;
                    answer.map(tonic::Response::into_inner)
                } else {
                    Err(Status::unavailable("no leader"))
                };
                match result {
                    Err(status) if !is_final(status.code()) => tokio::time::sleep(PLACE_PAUSE).await,
                    other => return other,
                }
            }
        };
        tokio::time::timeout(PLACE_TIMEOUT, tries)
            .await
            .unwrap_or_else(|_| Err(Status::unavailable("no leader answered in time")))
    }

    async fn place_wish(&self, wish: &Wish) -> Result<Placed, PlaceError> {
        let micros = |rtt: Duration| u32::try_from(rtt.as_micros()).unwrap_or(u32::MAX);
        let request = PlaceRequest {
            room_id: wish.room.to_vec().into(),
            participant_id: wish.participant.to_vec().into(),
            probes: wish
                .probes
                .iter()
                .map(|(edge, rtt)| Probe {
                    edge_id: edge.to_vec().into(),
                    rtt_us: micros(*rtt),
                })
                .collect(),
            residency: wish.residency.iter().map(ToString::to_string).collect(),
            client_prefix: wish
                .network
                .map_or_else(Vec::new, |prefix| prefix.as_bytes().to_vec())
                .into(),
            expires_at_unix_ms: u64::try_from(unix_ms(wish.room_ends_at())).unwrap_or(0),
        };
        let response = self
            .place_anywhere(request)
            .await
            .map_err(|status| match status.code() {
                Code::ResourceExhausted => PlaceError::NoCapacity,
                OUTSIDE_RESIDENCY => PlaceError::OutsideResidency,
                _ => PlaceError::Unavailable(status.message().to_owned()),
            })?;
        let turn_epoch = self.state().turn.current;
        placed(response, turn_epoch).ok_or_else(|| PlaceError::Unavailable("malformed answer".to_owned()))
    }

    /// Healthy edges the residency allows, spread over regions, the least loaded of each first.
    fn candidates_now(&self, residency: &[Region]) -> Vec<media::Edge> {
        let state = self.state();
        let now_ms = self.now_ms();
        let telemetry = self.inner.telemetry.read();
        let reserved = self.inner.desk.lock().reservations.by_edge().clone();
        let fleet = view::fleet(&state, &telemetry, &reserved, &BTreeSet::new(), now_ms);
        let mut open: Vec<_> = fleet
            .edges
            .iter()
            .filter(|(_, edge)| edge.takes_new() && edge.load() < edge.capacity_participants)
            .filter(|(_, edge)| residency.is_empty() || residency.contains(&edge.region))
            .collect();
        open.sort_by_key(|(id, edge)| {
            (
                u64::from(edge.load()) * 1000 / u64::from(edge.capacity_participants.max(1)),
                **id,
            )
        });
        // One of each region before a second of any: the browser does the measuring.
        let mut seen: BTreeMap<&Region, usize> = BTreeMap::new();
        let mut ranked: Vec<_> = open
            .into_iter()
            .map(|(id, edge)| {
                let nth = seen.entry(&edge.region).or_insert(0);
                *nth += 1;
                (*nth, *id)
            })
            .collect();
        ranked.sort_by_key(|(nth, _)| *nth);
        ranked
            .into_iter()
            .take(CANDIDATES_MAX)
            .filter_map(|(_, id)| media_edge(view::placed_edge(&state, id)?))
            .collect()
    }
}

impl media::Placer for Fleet {
    fn candidates<'a>(
        &'a self,
        residency: &'a [Region],
    ) -> BoxFuture<'a, Result<Vec<media::Edge>, PlaceError>> {
        Box::pin(async move { Ok(self.candidates_now(residency)) })
    }

    fn place<'a>(&'a self, wish: &'a Wish) -> BoxFuture<'a, Result<Placed, PlaceError>> {
        Box::pin(self.place_wish(wish))
    }

    fn close(&self, room: RoomId) -> BoxFuture<'_, Result<(), PlaceError>> {
        Box::pin(async move {
            let closed = self.room_close(room).await;
            closed.map_err(|error| PlaceError::Unavailable(error.to_string()))
        })
    }
}

/// Codes after which asking again leads to the same answer.
fn is_final(code: Code) -> bool {
    matches!(
        code,
        Code::InvalidArgument
            | Code::ResourceExhausted
            | OUTSIDE_RESIDENCY
            | Code::PermissionDenied
            | Code::Internal
    )
}

fn answer(state: &State, room: &Room, placement: &Placement, report: Option<&Report>) -> PlaceResponse {
    let named = |edge: &EdgeId| view::placed_edge(state, *edge);
    PlaceResponse {
        epoch: room.epoch,
        edges: std::iter::once(&placement.edge)
            .chain(&placement.fallbacks)
            .filter_map(named)
            .collect(),
        mesh: room.mesh().iter().filter_map(named).collect(),
        report_json: report.map_or_else(String::new, |report| {
            serde_json::to_string(report).unwrap_or_default()
        }),
    }
}

/// Reads an answer; `None` when it is not one.
fn placed(response: PlaceResponse, turn_epoch: u64) -> Option<Placed> {
    let edges: Option<Vec<_>> = response.edges.into_iter().map(media_edge).collect();
    let mesh = response.mesh.into_iter().map(|edge| {
        Some(MeshEdge {
            id: EdgeId::from_slice(&edge.edge_id).ok()?,
            link: edge.link_address,
        })
    });
    Some(Placed {
        epoch: response.epoch,
        edges: edges.filter(|edges| !edges.is_empty())?,
        mesh: mesh.collect::<Option<_>>()?,
        turn_epoch,
    })
}

fn media_edge(edge: PlacedEdge) -> Option<media::Edge> {
    Some(media::Edge {
        id: EdgeId::from_slice(&edge.edge_id).ok()?,
        name: edge.name,
        region: edge.region.parse().ok()?,
        signalling_url: edge.signalling_url,
        link_address: edge.link_address,
        turn_urls: edge.turn_urls,
    })
}
