//! What an operator does to an edge, and asks about placements.

use std::time::Duration;

use medmesh_api_types::fleet::PlacementOutcome;
use medmesh_link::renew;

use super::node::{Control, eventually, soon};
use super::service::{home, wish};
use super::*;
use crate::fleet::OperateError;
use crate::media::Placer as _;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drained_edge_gives_people_away_and_takes_them_again() {
    let control = Control::start().await;
    let fleet = &control.fleet;
    let [fra, nyc] = [
        control.enrol("fra-1", "eu").await,
        control.enrol("nyc-1", "us").await,
    ];
    let (mut fra_side, fra_reports) = fra.keep_reporting().await;
    let (_nyc_side, nyc_reports) = nyc.keep_reporting().await;
    eventually(async || (fleet.candidates(&[]).await.ok()?.len() == 2).then_some(())).await;
    let patient = wish(1, 1, &[(&fra, 10), (&nyc, 90)]);
    assert_eq!(home(&fleet.place(&patient).await.unwrap()), fra.id);
    assert_eq!(fleet.edge(fra.id).unwrap().placed_participants, 1);

    fleet.edge_drain(fra.id, true).await.unwrap();
    let told = fra_side.config(|config| config.draining).await;
    assert!(!told.cordoned, "a drain is not a cordon");
    assert!(fleet.edge(fra.id).unwrap().draining);
    let newcomer = fleet.place(&wish(2, 2, &[(&fra, 10), (&nyc, 90)])).await.unwrap();
    assert_eq!(newcomer.edges.len(), 1, "neither home nor fall-back");
    assert_eq!(home(&newcomer), nyc.id);
    assert_eq!(
        home(&fleet.place(&patient).await.unwrap()),
        nyc.id,
        "nor does anybody come back to it"
    );

    fleet.edge_drain(fra.id, false).await.unwrap();
    fra_side.config(|config| !config.draining).await;
    assert_eq!(
        home(&fleet.place(&wish(3, 3, &[(&fra, 10), (&nyc, 90)])).await.unwrap()),
        fra.id
    );
    assert!(matches!(
        fleet.edge_drain(edge(9), true).await,
        Err(OperateError::UnknownEdge)
    ));
    for reports in [fra_reports, nyc_reports] {
        reports.finish(Duration::from_secs(5)).await;
    }
    for edge in [fra, nyc] {
        edge.stop().await;
    }
    control.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_edge_is_let_go_of_and_never_let_in_again() {
    let control = Control::start().await;
    let fleet = &control.fleet;
    let [fra, nyc] = [
        control.enrol("fra-1", "eu").await,
        control.enrol("nyc-1", "us").await,
    ];
    // Each says that it carries three people.
    let (mut fra_side, fra_reports) = fra.keep_reporting().await;
    let (mut nyc_side, nyc_reports) = nyc.keep_reporting().await;
    eventually(async || (fleet.candidates(&[]).await.ok()?.len() == 2).then_some(())).await;
    fleet.place(&wish(1, 1, &[(&fra, 10), (&nyc, 90)])).await.unwrap();
    fleet.place(&wish(2, 2, &[(&fra, 90), (&nyc, 10)])).await.unwrap();

    let refused = fleet.edge_remove(fra.id, false).await;
    assert!(
        matches!(refused, Err(OperateError::EdgeCarries { participants: 3 })),
        "{refused:?}"
    );
    assert!(
        !fleet.edge(fra.id).unwrap().draining,
        "what was refused changed nothing"
    );

    fleet.edge_remove(fra.id, true).await.unwrap();
    assert!(matches!(fleet.edge(fra.id), Err(OperateError::UnknownEdge)));
    let state = fleet.state();
    assert!(state.rooms[&room(1)].placements.is_empty());
    assert!(state.rooms[&room(2)].placements[&person(2)].fallbacks.is_empty());
    drop(state);
    // Its session ends, and it gets no other, though its certificate has a day to live.
    while fra_side.next().await.is_some() {}
    assert!(fra.attach().await.is_err());
    let channel = fra.peer.channel(medmesh_link::TrafficClass::Fleet);
    assert!(soon(renew(channel, &fra.enrolled.identity)).await.is_err());
    let told = nyc_side.config(|config| !config.removed_edges.is_empty()).await;
    assert_eq!(
        told.removed_edges,
        [fra.id.to_vec()],
        "the other edges refuse it, too"
    );
    assert!(told.peers.is_empty());
    assert!(matches!(
        fleet.edge_remove(fra.id, true).await,
        Err(OperateError::UnknownEdge)
    ));
    // Whoever was there is placed anew when they come back.
    let back = fleet.place(&wish(1, 1, &[(&nyc, 90)])).await.unwrap();
    assert_eq!(home(&back), nyc.id);
    for reports in [fra_reports, nyc_reports] {
        reports.finish(Duration::from_secs(5)).await;
    }
    for edge in [fra, nyc] {
        edge.stop().await;
    }
    control.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_node_explains_what_the_leader_decided() {
    let group = Control::group(3).await;
    let [fra, nyc, par] = [
        group[0].enrol("fra-1", "eu").await,
        group[0].enrol("nyc-1", "us").await,
        group[0].enrol("par-1", "eu").await,
    ];
    let mut reports = fra.keep_reporting_to(&group).await;
    reports.extend(nyc.keep_reporting_to(&group).await);
    reports.extend(par.keep_reporting_to(&group).await);
    let fleet = &group[0].fleet;
    eventually(async || fleet.edge_cordon(par.id, true).await.ok()).await;
    let visit = wish(1, 1, &[(&fra, 10), (&nyc, 90), (&par, 5)]);
    let placed = eventually(async || {
        let placed = fleet.place(&visit).await.ok()?;
        (placed.edges.len() == 2).then_some(placed)
    })
    .await;
    assert_eq!(home(&placed), fra.id);
    for control in &group {
        let explained = eventually(async || {
            let explained = control.fleet.explain(room(1)).await.ok()?;
            explained.participants.first()?.decided_at?;
            Some(explained)
        })
        .await;
        let of = &explained.participants[0];
        assert_eq!((of.id, of.edge.as_str()), (person(1), "fra-1"));
        let verdicts: Vec<_> = of
            .candidates
            .iter()
            .map(|candidate| {
                (
                    candidate.name.as_str(),
                    candidate.outcome,
                    candidate.reason.as_deref(),
                )
            })
            .collect();
        assert_eq!(
            verdicts,
            [
                ("fra-1", PlacementOutcome::Chosen, None),
                ("nyc-1", PlacementOutcome::Ranked, Some("mouth_to_ear")),
                ("par-1", PlacementOutcome::Rejected, Some("cordoned")),
            ]
        );
        assert!(matches!(
            control.fleet.explain(room(9)).await,
            Err(OperateError::UnknownRoom)
        ));
        let headroom = control.fleet.headroom();
        assert_eq!((headroom.fleet.edges, headroom.regions.len()), (3, 2));
    }
    for (_, drain) in reports {
        drain.finish(Duration::from_secs(5)).await;
    }
    for edge in [fra, nyc, par] {
        edge.stop().await;
    }
    for control in group {
        control.stop().await;
    }
}
