use std::sync::LazyLock;
use std::time::Duration;

use medmesh_api_types::fleet::EdgeHealth;
use medmesh_ledger::EdgeStatus;
use medmesh_link::{EnrolError, JoinToken, TrafficClass, enrol, renew};
use medmesh_wire::consensus::ProposeRequest;
use medmesh_wire::consensus::leader_client::LeaderClient;
use medmesh_wire::fleet::edge_command::Command as Down;
use time::OffsetDateTime;
use tonic::Code;

use super::node::{Control, Edge, eventually, soon};
use super::*;
use crate::fleet::STALE_AFTER_MS;
use crate::fleet::transition::GRACE_MS;
use crate::media::{PlaceError, Placed, Placer as _, Wish};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_join_token_lets_one_edge_in_once() {
    let control = Control::start().await;
    let token = control.join_token().await;
    let enrolled = soon(enrol(&token, wire_descriptor("fra-1", "eu"))).await.unwrap();
    assert_eq!(
        control.fleet.state().edges[&enrolled.edge].descriptor,
        descriptor("fra-1", "eu")
    );

    let again = soon(enrol(&token, wire_descriptor("fra-2", "eu"))).await;
    assert!(matches!(again, Err(EnrolError::Refused { .. })), "{again:?}");

    let real: JoinToken = token.parse().unwrap();
    let forged = JoinToken::generate(real.cluster.clone(), real.ca, real.control.clone()).to_text();
    let index = control.fleet.raft().last_log_index;
    let refused = soon(enrol(&forged, wire_descriptor("fra-2", "eu"))).await;
    assert!(matches!(refused, Err(EnrolError::Refused { .. })), "{refused:?}");
    assert_eq!(
        control.fleet.raft().last_log_index,
        index,
        "a stranger's token must not reach the log"
    );

    let nowhere = control.join_token().await;
    let refused = soon(enrol(&nowhere, wire_descriptor("fra-2", "No Region"))).await;
    assert!(matches!(refused, Err(EnrolError::Refused { .. })), "{refused:?}");
    soon(enrol(&nowhere, wire_descriptor("fra-2", "eu")))
        .await
        .expect("what was refused spent no token");
    assert_eq!(control.fleet.state().edges.len(), 2);
    control.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_belongs_to_a_live_edge_and_waits_for_one_that_is_gone() {
    let control = Control::start().await;
    let edge = control.enrol("fra-1", "eu").await;
    let (attached, reporting) = edge.keep_reporting().await;
    let token = control.join_token().await;
    let taken = soon(enrol(&token, wire_descriptor("fra-1", "eu"))).await;
    assert!(matches!(taken, Err(EnrolError::Refused { .. })), "{taken:?}");

    control.silence(&edge, &attached, reporting, GRACE_MS).await;
    drop(attached);
    eventually(async || {
        let state = control.fleet.state();
        (state.edges[&edge.id].status == EdgeStatus::Down).then_some(())
    })
    .await;
    let back = soon(enrol(&token, wire_descriptor("fra-1", "eu"))).await.unwrap();
    assert_eq!(back.edge, edge.id, "the same edge, with a new certificate");
    assert_eq!(control.fleet.state().edges.len(), 1);
    edge.stop().await;
    control.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attached_edge_is_told_what_it_needs_and_when_that_changes() {
    let control = Control::start().await;
    let [first, second] = [
        control.enrol("fra-1", "eu").await,
        control.enrol("nyc-1", "us").await,
    ];
    let mut attached = first.attach().await.unwrap();
    let config = attached.config(|config| config.peers.len() == 1).await;
    assert!(
        config.version > 0 && config.jwks.contains("ES256"),
        "{}",
        config.jwks
    );
    assert_eq!((config.turn_secrets.len(), config.turn_secrets[0].epoch), (1, 1));
    assert_eq!(config.peers[0].name, "nyc-1");
    assert_eq!(config.allowed_origins, ["https://clinic.example"]);
    assert!(!config.cordoned);

    control.fleet.edge_cordon(second.id, true).await.unwrap();
    control.fleet.edge_cordon(first.id, true).await.unwrap();
    let cordoned = attached.config(|config| config.cordoned).await;
    assert!(cordoned.version > config.version);
    control.fleet.edge_cordon(first.id, false).await.unwrap();
    attached.config(|config| !config.cordoned).await;

    // Reports arrive; a malformed one ends the stream and changes nothing.
    attached.up.send(first.report()).await.unwrap();
    eventually(async || {
        let nodes = control.fleet.nodes();
        let edge = nodes.edges.into_iter().find(|edge| edge.id == first.id)?;
        (edge.health == EdgeHealth::Healthy && edge.report?.participants == 3).then_some(())
    })
    .await;
    let mut malformed = first.report();
    malformed.load.as_mut().unwrap().cpu_ratio = -1.0;
    attached.up.send(malformed).await.unwrap();
    while attached.next().await.is_some() {}

    // A second attachment of the same edge takes the place of the first.
    let mut older = first.attach().await.unwrap();
    older.config(|_| true).await;
    let mut newer = first.attach().await.unwrap();
    newer.config(|_| true).await;
    while older.next().await.is_some() {}
    for edge in [first, second] {
        edge.stop().await;
    }
    control.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn edges_renew_their_certificate_and_reach_nothing_of_the_control_nodes() {
    let control = Control::start().await;
    let edge = control.enrol("fra-1", "eu").await;
    let channel = edge.peer.channel(TrafficClass::Fleet);
    let renewed = soon(renew(channel.clone(), &edge.enrolled.identity))
        .await
        .unwrap();
    assert_eq!(renewed.peer(), edge.enrolled.identity.peer());
    assert_ne!(renewed.chain()[0], edge.enrolled.identity.chain()[0]);

    let refused = soon(LeaderClient::new(channel.clone()).propose(ProposeRequest::default())).await;
    assert_eq!(refused.unwrap_err().code(), Code::PermissionDenied);

    let remove = Command::EdgeRemove {
        edge: edge.id,
        now: 1,
    };
    control.fleet.inner.consensus.propose(remove).await.unwrap();
    assert!(
        edge.attach().await.is_err(),
        "a removed edge has no place, whatever its certificate"
    );
    assert!(soon(renew(channel, &edge.enrolled.identity)).await.is_err());
    edge.stop().await;
    control.stop().await;
}

/// The visits of these tests all end at the same time.
static VISITS_END: LazyLock<OffsetDateTime> =
    LazyLock::new(|| OffsetDateTime::now_utc() + time::Duration::hours(1));

pub(super) fn wish(room_number: u128, who: u128, probes: &[(&Edge, u64)]) -> Wish {
    Wish {
        room: room(room_number),
        participant: person(who),
        probes: probes
            .iter()
            .map(|(edge, ms)| (edge.id, Duration::from_millis(*ms)))
            .collect(),
        network: None,
        residency: Vec::new(),
        until: *VISITS_END,
    }
}

pub(super) fn home(placed: &Placed) -> EdgeId {
    placed.edges[0].id
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_are_placed_near_themselves_and_stay_until_their_edge_dies() {
    let control = Control::start().await;
    let fleet = &control.fleet;
    let [fra, nyc] = [
        control.enrol("fra-1", "eu").await,
        control.enrol("nyc-1", "us").await,
    ];
    let nobody = fleet.place(&wish(1, 1, &[])).await;
    assert_eq!(nobody, Err(PlaceError::NoCapacity), "no edge has reported yet");
    // The edges measured 60 ms between them: an ocean, and shorter than the patient's own way across.
    let (mut fra_side, fra_reports) = fra.keep_reporting_path(nyc.id, 60_000).await;
    let (_nyc_side, nyc_reports) = nyc.keep_reporting().await;
    eventually(async || (fleet.candidates(&[]).await.ok()?.len() == 2).then_some(())).await;
    let eu = ["eu".parse().unwrap()];
    let near: Vec<_> = fleet
        .candidates(&eu)
        .await
        .unwrap()
        .into_iter()
        .map(|edge| edge.name)
        .collect();
    assert_eq!(near, ["fra-1"]);

    let patient = wish(1, 1, &[(&fra, 10), (&nyc, 90)]);
    let first = fleet.place(&patient).await.unwrap();
    assert_eq!(home(&first), fra.id);
    assert_eq!(first.edges[1].id, nyc.id, "the other edge is the fall-back");
    assert_eq!((first.mesh.len(), first.turn_epoch), (1, 1));
    let second = fleet.place(&wish(1, 2, &[(&fra, 90), (&nyc, 10)])).await.unwrap();
    assert_eq!(home(&second), nyc.id);
    assert!(second.epoch > first.epoch && second.mesh.len() == 2);

    let again = fleet.place(&wish(1, 1, &[(&fra, 90), (&nyc, 10)])).await.unwrap();
    assert_eq!(
        (home(&again), again.epoch),
        (fra.id, second.epoch),
        "who re-joins stays, and nothing is committed"
    );
    let sessions = fleet.sessions(10);
    assert_eq!((sessions.rooms_total, sessions.participants_placed), (1, 2));

    fleet.edge_cordon(nyc.id, true).await.unwrap();
    let third = fleet.place(&wish(1, 3, &[(&nyc, 10), (&fra, 90)])).await.unwrap();
    assert_eq!(home(&third), fra.id, "a cordoned edge takes nobody new");
    let stays = fleet.place(&wish(1, 2, &[])).await.unwrap();
    assert_eq!(home(&stays), nyc.id, "and keeps whom it has");
    fleet.edge_cordon(nyc.id, false).await.unwrap();

    // The patient's edge falls silent.
    control
        .silence(&fra, &fra_side, fra_reports, STALE_AFTER_MS)
        .await;
    let moved = eventually(async || {
        let placed = fleet.place(&patient).await.ok()?;
        (home(&placed) == nyc.id).then_some(placed)
    })
    .await;
    assert!(moved.epoch > third.epoch);

    // Closing the room reaches the edges that were to have it, and nothing of it is left.
    fleet.room_close(room(1)).await.unwrap();
    let closed = loop {
        let command = fra_side.next().await.expect("the stream goes on");
        if let Down::CloseRoom(close) = command {
            break close;
        }
    };
    assert_eq!(closed.room_id, room(1).to_vec());
    assert_eq!(fleet.sessions(10).rooms_total, 0);
    nyc_reports.finish(Duration::from_secs(5)).await;
    for edge in [fra, nyc] {
        edge.stop().await;
    }
    control.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_who_join_at_once_are_spread_before_any_report() {
    let control = Control::start().await;
    let fleet = &control.fleet;
    let [one, two] = [
        control.enrol("fra-1", "eu").await,
        control.enrol("fra-2", "eu").await,
    ];
    let (_one_side, one_reports) = one.keep_reporting().await;
    let (_two_side, two_reports) = two.keep_reporting().await;
    eventually(async || (fleet.candidates(&[]).await.ok()?.len() == 2).then_some(())).await;

    let epoch_before = fleet.state().epoch;
    let joins = (0..40_u128).map(|who| {
        let wish = wish(100 + who / 4, who, &[(&one, 10), (&two, 10)]);
        async move { fleet.place(&wish).await.unwrap() }
    });
    let placed = futures::future::join_all(joins).await;
    let state = fleet.state();
    assert_eq!(
        state.epoch - epoch_before,
        40,
        "each got an assignment of their own, and whoever lost a race planned again"
    );
    // What an answer says is the room as it is when it is read: perhaps with the next one in it already.
    for (at_once, number) in placed.chunks(4).zip(100..) {
        let room = &state.rooms[&room(number)];
        let epochs = at_once.iter().map(|placed| placed.epoch);
        assert_eq!(epochs.max(), Some(room.epoch));
        assert!(at_once.iter().all(|placed| placed.epoch > epoch_before));
        for (placed, who) in at_once.iter().zip((number - 100) * 4..) {
            assert_eq!(room.placements[&person(who)].edge, home(placed));
        }
    }
    drop(state);
    let on_one = placed.iter().filter(|placed| home(placed) == one.id).count();
    assert!(
        (10..=30).contains(&on_one),
        "{on_one} of 40 on one of two equal edges"
    );
    assert_eq!(fleet.sessions(100).participants_placed, 40);
    for reports in [one_reports, two_reports] {
        reports.finish(Duration::from_secs(5)).await;
    }
    for edge in [one, two] {
        edge.stop().await;
    }
    control.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_control_node_enrols_and_places_and_a_new_leader_goes_on() {
    let mut group = Control::group(3).await;
    let follower = |group: &[Control]| group.iter().position(|node| !node.leads()).unwrap();
    let edge = group[follower(&group)].enrol("fra-1", "eu").await;
    let reports = edge.keep_reporting_to(&group).await;
    let visit = wish(1, 1, &[(&edge, 10)]);
    let mut epochs = Vec::new();
    for control in &group {
        let placed = eventually(async || control.fleet.place(&visit).await.ok()).await;
        assert_eq!(home(&placed), edge.id);
        epochs.push(placed.epoch);
    }
    assert_eq!(epochs, vec![epochs[0]; 3], "asking elsewhere changes nothing");

    let leader = eventually(async || group.iter().position(Control::leads)).await;
    group.remove(leader).stop().await;
    for (number, control) in group.iter().enumerate() {
        let next = wish(2, 10 + number as u128, &[(&edge, 10)]);
        let placed = eventually(async || control.fleet.place(&next).await.ok()).await;
        assert!(
            placed.epoch > epochs[0],
            "what was agreed before is not agreed again"
        );
        let again = eventually(async || control.fleet.place(&visit).await.ok()).await;
        assert_eq!(again.epoch, epochs[0], "what was placed before is still placed");
    }
    for (_, drain) in reports {
        drain.finish(Duration::from_secs(5)).await;
    }
    edge.stop().await;
    for control in group {
        control.stop().await;
    }
}
