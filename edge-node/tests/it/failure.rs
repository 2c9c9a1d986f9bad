//! Edges that stop and come back while a visit goes on.

use std::time::{Duration, Instant};

use medmesh_base::RoomId;
use medmesh_base::media_token::{MediaClaims, TokenUse};
use time::OffsetDateTime;

use crate::browser::Browser;
use crate::fleet::Fleet;

/// The same participant's token for coming back, with a proof each time.
fn resume(claims: &MediaClaims) -> MediaClaims {
    MediaClaims {
        token_use: TokenUse::Resume,
        exp: OffsetDateTime::now_utc().unix_timestamp() + 3600,
        jti: "resume".into(),
        ..claims.clone()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_waits_for_people_to_move_and_no_longer() {
    let patience = Duration::from_secs(30);
    let mut fleet = Fleet::start_with(2, false, 30).await;
    let room = RoomId::generate();
    let patient = Browser::join(&fleet, 0, &fleet.claims(room, 0)).await;
    let claims = fleet.claims(room, 1);
    let clinician = Browser::join(&fleet, 1, &claims).await;
    clinician.until_media(5, 5).await;

    let began = Instant::now();
    let stopping = fleet.take(1);
    let stopped = tokio::spawn(stopping.drain());
    clinician
        .until("told to move", |browser| browser.was_told("migrate"))
        .await;
    // The new connection is up before the old one goes.
    let moved = Browser::join(&fleet, 0, &resume(&claims)).await;
    moved.until_media(5, 5).await;
    // Nobody says goodbye to the old edge: it hears from the new one that they have moved.
    assert!(stopped.await.unwrap(), "the edge left something behind");
    assert!(began.elapsed() < patience);
    let (heard, watched) = patient.received();
    patient.until_media(heard + 20, watched + 20).await;

    let patient_left = fleet.http.delete(&patient.location).bearer_auth(&patient.token);
    patient_left.send().await.unwrap();
    let proof_url = &moved.location;
    let proof = fleet.holder.proof(
        "DELETE",
        proof_url,
        OffsetDateTime::now_utc().unix_timestamp(),
        "bye",
    );
    let moved_left = fleet
        .http
        .delete(proof_url)
        .bearer_auth(&moved.token)
        .header("dpop", proof);
    assert_eq!(moved_left.send().await.unwrap().status(), 200);
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_comes_back_when_its_edge_does() {
    let mut fleet = Fleet::start(2, false).await;
    let room = RoomId::generate();
    let patient = Browser::join(&fleet, 0, &fleet.claims(room, 0)).await;
    let claims = fleet.claims(room, 1);
    let clinician = Browser::join(&fleet, 1, &claims).await;
    patient.until_media(5, 5).await;
    let (heard, watched) = patient.received();

    assert!(fleet.take(1).drain().await);
    clinician
        .until("told it ended", |browser| browser.was_told("ended"))
        .await;
    drop(clinician);
    // Restarted from its files alone: identity, and what the control plane last said.
    fleet.start_again(1).await;
    let back = Browser::join(&fleet, 1, &resume(&claims)).await;
    back.until_media(20, 20).await;
    patient.until_media(heard + 20, watched + 20).await;
    let peer = fleet.edge(1).id();
    let sessions = format!("medmesh_edge_link_sessions_total{{edge=\"{peer}\"}}");
    assert!(fleet.metric(0, &sessions).await >= 2.0);
    drop((patient, back));
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_edges_that_dial_each_other_keep_one_link() {
    let fleet = Fleet::start(2, false).await;
    let room = RoomId::generate();
    let (first, second) = (fleet.claims(room, 0), fleet.claims(room, 1));
    // Both rooms want the other edge at the same moment.
    let (patient, clinician) = tokio::join!(
        Browser::join(&fleet, 0, &first),
        Browser::join(&fleet, 1, &second),
    );
    patient.until_media(30, 30).await;
    clinician.until_media(30, 30).await;
    for index in 0..2 {
        let open = async {
            while fleet.metric(index, "medmesh_link_sessions").await != 1.0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(crate::fleet::PATIENCE, open).await.unwrap();
    }
    let (heard, watched) = patient.received();
    patient.until_media(heard + 20, watched + 20).await;
    drop((patient, clinician));
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_flees_to_a_fallback_edge_is_met_there() {
    let mut fleet = Fleet::start(3, false).await;
    let room = RoomId::generate();
    // Placed first: the token names no edge but their own, and where to go next.
    let mut early = fleet.claims(room, 0);
    let (home, fallback) = (fleet.edge(0).id(), fleet.edge(2).id());
    early.mesh.retain(|edge| edge.id == home);
    early.edges.retain(|edge| edge.id == home || edge.id == fallback);
    let mut late = fleet.claims(room, 1);
    late.mesh.retain(|edge| edge.id != fallback);
    late.epoch += 1;
    let patient = Browser::join(&fleet, 0, &early).await;
    let clinician = Browser::join(&fleet, 1, &late).await;
    clinician.until_media(5, 5).await;
    patient.until_media(5, 5).await;

    assert!(fleet.take(0).drain().await);
    drop(patient);
    let (heard, watched) = clinician.received();
    let fled = Browser::join(&fleet, 2, &resume(&early)).await;
    fled.until_media(20, 20).await;
    clinician.until_media(heard + 20, watched + 20).await;
    drop((fled, clinician));
    fleet.stop().await;
}
