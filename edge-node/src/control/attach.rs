//! Attached to every control node: a report up each second, commands down.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use medmesh_base::drain::Drain;
use medmesh_base::{ClientPrefix, ParticipantId, RoomId};
use medmesh_link::{Backoff, Peer, Session, TrafficClass};
use medmesh_sfu::{LeaveReason, SessionView};
use medmesh_turn::RelayHandle;
use medmesh_wire::fleet::edge_command::Command as Order;
use medmesh_wire::fleet::fleet_client::FleetClient;
use medmesh_wire::fleet::{
    EdgeCommand, EdgeDescriptor, EdgeLoad, EdgeReport, PeerPath, PrefixRtt, RoomPresence,
};
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::LoadMeter;
use crate::mesh::PeerTable;
use crate::mesh::convert::age_ms;
use crate::metrics::{Metrics, TurnedAway};
use crate::settings::SettingsStore;
use crate::shard::{Command, Shards};

/// How often an edge reports: the planner's view is at most this old.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// Networks in one report: a few kilobytes, and more than a host's people come from.
const NETWORKS_MAX: usize = 512;
/// Reports waiting for a slow control node; the newest replaces what does not fit.
const REPORTS_WAITING_MAX: usize = 2;
/// Pauses between attempts to attach.
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_CEILING: Duration = Duration::from_secs(2);
/// Before an edge that is refused asks again: an operator has to do something first.
const REFUSED_PAUSE: Duration = Duration::from_secs(30);
/// A control node that says nothing back for this long after a call is tried anew.
const ATTACH_TIMEOUT: Duration = Duration::from_secs(5);

/// Makes one report a second for all control nodes.
pub(crate) struct Reporter {
    pub(crate) descriptor: EdgeDescriptor,
    pub(crate) shards: Shards,
    pub(crate) peers: PeerTable,
    pub(crate) settings: Arc<SettingsStore>,
    pub(crate) relay: Option<RelayHandle>,
}

impl Reporter {
    /// Reports into `reports` until the drain.
    pub(crate) async fn run(self, reports: watch::Sender<Arc<EdgeReport>>, drain: Drain) {
        let mut ticks = interval(REPORT_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut meter = LoadMeter::new(Instant::now());
        for sequence in 1.. {
            tokio::select! {
                () = drain.stopping() => return,
                _ = ticks.tick() => {}
            }
            reports.send_replace(Arc::new(self.report(sequence, &mut meter)));
        }
    }

    fn report(&self, sequence: u64, meter: &mut LoadMeter) -> EdgeReport {
        let views = self.shards.views();
        let sum =
            |get: fn(&medmesh_sfu::Stats) -> u64| views.iter().map(|(_, view)| get(&view.stats)).sum::<u64>();
        let bytes_out = views.iter().map(|(loops, _)| loops.bytes_sent).sum();
        let load = meter.read(Instant::now(), sum(|stats| stats.bytes_in), bytes_out);
        let relay = self.relay.as_ref();
        let allocations = relay.map_or(0, |relay| relay.stats().allocations);
        let allocations_max = relay.map_or(0, RelayHandle::allocations_max);
        let count = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
        EdgeReport {
            sequence,
            edge: Some(self.descriptor.clone()),
            load: Some(EdgeLoad {
                participants: count(sum(|stats| stats.participants)),
                rooms: count(sum(|stats| stats.rooms)),
                cpu_ratio: load.cpu_ratio,
                ingress_bps: load.ingress_bps,
                egress_bps: load.egress_bps,
                turn_allocations: count(allocations),
                turn_allocations_max: count(allocations_max),
            }),
            peers: self.paths(),
            rooms: presence(views.iter().flat_map(|(_, view)| &view.sessions)),
            config_version: self.settings.version(),
            prefix_rtts: ways(views.iter().flat_map(|(_, view)| &view.sessions)),
        }
    }

    /// Paths that have been measured; one of which nothing is known is not reported.
    fn paths(&self) -> Vec<PeerPath> {
        let peers = self.peers.read();
        let measured = peers.iter().filter_map(|(edge, counters)| {
            let read = |value: &std::sync::atomic::AtomicU64| {
                u32::try_from(value.load(Ordering::Relaxed)).unwrap_or(u32::MAX)
            };
            let rtt_us = read(&counters.rtt_us);
            (rtt_us > 0).then(|| PeerPath {
                edge_id: edge.to_vec(),
                rtt_us,
                jitter_us: read(&counters.jitter_us),
                loss_ppm: read(&counters.loss_ppm),
            })
        });
        measured.collect()
    }
}

fn presence<'a>(sessions: impl Iterator<Item = &'a SessionView>) -> Vec<RoomPresence> {
    let mut rooms: BTreeMap<RoomId, RoomPresence> = BTreeMap::new();
    for session in sessions {
        let room = rooms.entry(session.room).or_insert_with(|| RoomPresence {
            room_id: session.room.to_vec(),
            epoch: 0,
            participant_ids: Vec::new(),
            connected_ms: Vec::new(),
        });
        room.epoch = room.epoch.max(session.epoch);
        room.participant_ids.push(session.participant.to_vec());
        room.connected_ms.push(session.connected_for.map_or(0, age_ms));
    }
    rooms.into_values().collect()
}

/// The median round trip to each network somebody is connected from; the best known ones first.
fn ways<'a>(sessions: impl Iterator<Item = &'a SessionView>) -> Vec<PrefixRtt> {
    let mut networks: BTreeMap<ClientPrefix, Vec<u32>> = BTreeMap::new();
    for session in sessions.filter(|session| session.connected) {
        let (Some(remote), Some(rtt)) = (session.remote, session.rtt) else {
            continue;
        };
        let rtt_us = u32::try_from(rtt.as_micros()).unwrap_or(u32::MAX);
        networks
            .entry(ClientPrefix::of(remote.ip()))
            .or_default()
            .push(rtt_us);
    }
    let mut ways: Vec<PrefixRtt> = networks
        .into_iter()
        .map(|(prefix, mut rtts_us)| {
            rtts_us.sort_unstable();
            PrefixRtt {
                prefix: prefix.as_bytes().to_vec(),
                rtt_us: rtts_us[rtts_us.len() / 2],
                samples: u32::try_from(rtts_us.len()).unwrap_or(u32::MAX),
            }
        })
        .collect();
    ways.sort_by_key(|way| std::cmp::Reverse(way.samples));
    ways.truncate(NETWORKS_MAX);
    ways
}

/// What commands act on.
#[derive(Clone)]
pub(crate) struct Orders {
    pub(crate) settings: Arc<SettingsStore>,
    pub(crate) shards: Shards,
    pub(crate) metrics: Arc<Metrics>,
}

impl Orders {
    /// Carries a command out. Every control node sends it, so doing it twice is harmless.
    pub(crate) async fn obey(&self, order: Order) {
        match order {
            Order::Config(config) => match self.settings.apply(&config) {
                Ok(true) => {
                    self.metrics.config_version(config.version);
                    tracing::info!(version = config.version, "configuration in force");
                }
                Ok(false) => {}
                Err(error) => {
                    self.metrics.config_refused();
                    tracing::error!(%error, version = config.version, "configuration refused");
                }
            },
            Order::Evict(evict) => {
                let ids = (
                    RoomId::from_slice(&evict.room_id),
                    ParticipantId::from_slice(&evict.participant_id),
                );
                if let (Ok(room), Ok(participant)) = ids
                    && self.has_been_here(room, participant, evict.connected_ms)
                {
                    let reason = match evict.reason.as_str() {
                        "moved" => LeaveReason::Replaced,
                        _ => LeaveReason::Removed,
                    };
                    let command = Command::Leave {
                        room,
                        participant,
                        reason,
                    };
                    self.shards.send(self.shards.of_room(room), command).await;
                }
            }
            Order::CloseRoom(close) => {
                if let Ok(room) = RoomId::from_slice(&close.room_id) {
                    let reason = match close.reason.as_str() {
                        "expired" => LeaveReason::Expired,
                        _ => LeaveReason::Ended,
                    };
                    let command = Command::RoomEnd { room, reason };
                    self.shards.send(self.shards.of_room(room), command).await;
                }
            }
        }
    }
}

impl Orders {
    /// Whether the participant's connection has been up for at least this long: one that they
    /// made since is not the one that is meant.
    fn has_been_here(&self, room: RoomId, participant: ParticipantId, connected_ms: u32) -> bool {
        let views = self.shards.views();
        let mut sessions = views.iter().flat_map(|(_, view)| &view.sessions);
        connected_ms == 0
            || sessions.any(|session| {
                (session.room, session.participant) == (room, participant)
                    && session
                        .connected_for
                        .is_some_and(|age| age_ms(age) >= connected_ms)
            })
    }
}

/// Stays attached to one control node until the drain.
pub(crate) async fn attach(
    node: (String, Peer),
    reports: watch::Receiver<Arc<EdgeReport>>,
    renewed: watch::Receiver<u64>,
    orders: Orders,
    drain: Drain,
) {
    let (address, peer) = node;
    let mut backoff = Backoff::new(RETRY_FIRST, RETRY_CEILING, rand::random());
    loop {
        let attached = tokio::select! {
            () = drain.stopping() => return,
            attached = once(&address, &peer, reports.clone(), renewed.clone(), &orders) => attached,
        };
        if attached.is_ok() {
            backoff.reset();
        }
        let mut pause = backoff.next_pause();
        match attached {
            Ok(()) => {}
            Err(error) if error.code() == tonic::Code::PermissionDenied => {
                tracing::error!(%address, why = error.message(), "the control plane refuses this edge");
                pause = REFUSED_PAUSE;
            }
            Err(error) => tracing::debug!(%address, code = ?error.code(), "not attached"),
        }
        tokio::select! {
            () = drain.stopping() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// One attachment, from the call to its end. `Ok` when commands came.
async fn once(
    address: &str,
    peer: &Peer,
    mut reports: watch::Receiver<Arc<EdgeReport>>,
    mut renewed: watch::Receiver<u64>,
    orders: &Orders,
) -> Result<(), tonic::Status> {
    // Waiting for the session here leaves the pauses between dials to the link.
    renewed.mark_unchanged();
    let session = peer.session_wait().await;
    let mut client = FleetClient::new(peer.channel(TrafficClass::Fleet));
    let (sender, outgoing) = mpsc::channel(REPORTS_WAITING_MAX);
    let first = EdgeReport::clone(&reports.borrow_and_update());
    // There is room: the channel is new.
    let _ = sender.try_send(first);
    let call = client.attach(ReceiverStream::new(outgoing));
    let answered = tokio::time::timeout(ATTACH_TIMEOUT, call)
        .await
        .map_err(|_| tonic::Status::deadline_exceeded("no answer to attach"))?;
    let mut commands = match (answered, turned_away(&session)) {
        (Err(_), Some(why)) => return Err(refused(why, orders)),
        (answered, _) => answered?.into_inner(),
    };
    orders.metrics.control_attached(1);
    tracing::info!(%address, "attached to the control plane");
    let end = tokio::select! {
        end = follow(&mut commands, orders) => end,
        () = report(reports, sender) => Ok(()),
        // Reports come once a second: nobody notices the moment between two attachments.
        Ok(()) = renewed.changed() => {
            peer.renew_session().await;
            Ok(())
        }
    };
    orders.metrics.control_attached(-1);
    tracing::info!(%address, "detached from the control plane");
    match turned_away(&session) {
        Some(why) => Err(refused(why, orders)),
        None => end,
    }
}

/// Whether the node ended the session because this edge's certificate counts no more.
fn turned_away(session: &Session) -> Option<TurnedAway> {
    if session.was_removed() {
        Some(TurnedAway::Removed)
    } else if session.was_out_of_time() {
        Some(TurnedAway::Expired)
    } else {
        None
    }
}

fn refused(why: TurnedAway, orders: &Orders) -> tonic::Status {
    orders.metrics.control_refused(why);
    tonic::Status::permission_denied(why.message())
}

async fn follow(commands: &mut Streaming<EdgeCommand>, orders: &Orders) -> Result<(), tonic::Status> {
    while let Some(command) = commands.message().await? {
        if let Some(order) = command.command {
            orders.obey(order).await;
        }
    }
    Ok(())
}

async fn report(mut reports: watch::Receiver<Arc<EdgeReport>>, sender: mpsc::Sender<EdgeReport>) {
    while reports.changed().await.is_ok() {
        let report = EdgeReport::clone(&reports.borrow_and_update());
        // A node that lags gets the next one instead.
        if let Err(mpsc::error::TrySendError::Closed(_)) = sender.try_send(report) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips_are_told_by_network_and_never_by_person() {
        let session = |address: &str, rtt_ms: Option<u64>, connected| SessionView {
            room: RoomId::generate(),
            participant: ParticipantId::generate(),
            epoch: 1,
            connected,
            connected_for: None,
            remote: Some(address.parse().unwrap()),
            rtt: rtt_ms.map(Duration::from_millis),
            loss_ratio: 0.0,
            estimate_bps: 0,
        };
        let sessions = [
            session("192.0.2.1:5000", Some(10), true),
            session("192.0.2.77:5000", Some(30), true),
            session("192.0.2.99:5000", Some(900), true),
            session("198.51.100.1:5000", Some(40), true),
            session("203.0.113.1:5000", None, true),
            session("203.0.113.2:5000", Some(50), false),
        ];
        let told = ways(sessions.iter());
        let told: Vec<_> = told
            .iter()
            .map(|way| (way.prefix.as_slice(), way.rtt_us, way.samples))
            .collect();
        assert_eq!(
            told,
            [(&[192, 0, 2][..], 30_000, 3), (&[198, 51, 100][..], 40_000, 1)]
        );
        let many: Vec<_> = (0..1_000_u32)
            .map(|n| session(&format!("10.{}.{}.1:1", n / 250, n % 250), Some(5), true))
            .collect();
        assert_eq!(ways(many.iter()).len(), NETWORKS_MAX);
    }
}
