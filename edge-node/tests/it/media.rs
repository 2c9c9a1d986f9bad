//! Media flows: on one edge, and over the mesh.

use medmesh_base::RoomId;
use medmesh_base::media_token::MediaClaims;

use crate::browser::{Browser, Path};
use crate::fleet::Fleet;
use crate::relayed::Relayed;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_people_on_one_edge_see_and_hear_each_other() {
    let fleet = Fleet::start(1, false).await;
    let room = RoomId::generate();
    let patient = Browser::join(&fleet, 0, &fleet.claims(room, 0)).await;
    let clinician = Browser::join(&fleet, 0, &fleet.claims(room, 0)).await;
    patient.until_media(20, 20).await;
    clinician.until_media(20, 20).await;
    assert!(patient.was_told("welcome") && patient.was_told("roster") && patient.was_told("slots"));
    fleet.metric_reaches(0, "medmesh_edge_participants", 2.0).await;
    fleet.metric_reaches(0, "medmesh_edge_rooms", 1.0).await;
    assert_eq!(
        fleet
            .metric(0, "medmesh_edge_joins_total{outcome=\"joined\"}")
            .await,
        2.0
    );
    assert_eq!(fleet.metric(0, "medmesh_edge_mesh_sent_packets_total").await, 0.0);

    let left = fleet
        .http
        .delete(&patient.location)
        .bearer_auth(&patient.token)
        .send()
        .await
        .unwrap();
    assert_eq!(left.status(), 200);
    fleet
        .metric_reaches(0, "medmesh_edge_left_total{reason=\"left\"}", 1.0)
        .await;
    drop((patient, clinician));
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_visit_spans_two_edges() {
    let fleet = Fleet::start(2, false).await;
    let room = RoomId::generate();
    let patient = Browser::join(&fleet, 0, &fleet.claims(room, 0)).await;
    let clinician = Browser::join(&fleet, 1, &fleet.claims(room, 1)).await;
    patient.until_media(20, 20).await;
    clinician.until_media(20, 20).await;
    for index in 0..2 {
        let peer = fleet.edge(1 - index).id();
        for family in [
            "sent_packets",
            "received_packets",
            "sent_messages",
            "received_messages",
        ] {
            let sample = format!("medmesh_edge_link_{family}_total{{edge=\"{peer}\"}}");
            fleet.metric_reaches(index, &sample, 1.0).await;
        }
        fleet
            .metric_reaches(index, "medmesh_edge_mesh_sent_packets_total", 40.0)
            .await;
        fleet
            .metric_reaches(index, "medmesh_edge_mesh_received_packets_total", 40.0)
            .await;
        fleet
            .metric_reaches(index, "medmesh_edge_participants", 1.0)
            .await;
        let rtt = format!("medmesh_edge_link_rtt_seconds{{edge=\"{peer}\"}}");
        fleet.metric_reaches(index, &rtt, 1e-6).await;
    }
    drop((patient, clinician));
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_earlier_placed_participant_may_come_after_a_later_one() {
    let fleet = Fleet::start(1, false).await;
    let room = RoomId::generate();
    let early = fleet.claims(room, 0);
    let late = MediaClaims {
        epoch: early.epoch + 1,
        ..fleet.claims(room, 0)
    };
    let clinician = Browser::join(&fleet, 0, &late).await;
    let patient = Browser::join(&fleet, 0, &early).await;
    patient.until_media(5, 5).await;
    clinician.until_media(5, 5).await;
    drop((patient, clinician));
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_visit_works_through_the_relays_alone() {
    let fleet = Fleet::start(2, true).await;
    let room = RoomId::generate();
    let mut people = Vec::new();
    for index in 0..2 {
        let addresses = fleet.edge(index).addresses();
        let relayed = Relayed::allocate(addresses.turn.unwrap(), &addresses.media).await;
        let path = Path::Relayed(Box::new(relayed));
        people.push(Browser::join_by(&fleet, index, &fleet.claims(room, index), path).await);
    }
    for person in &people {
        person.until_media(20, 20).await;
    }
    for index in 0..2 {
        fleet
            .metric_reaches(index, "medmesh_edge_mesh_sent_packets_total", 40.0)
            .await;
        assert!(fleet.metric_sum(index, "medmesh_turn_allocations").await >= 1.0);
    }
    drop(people);
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edges_relay_reaches_its_media_sockets_and_nothing_else() {
    let fleet = Fleet::start(1, true).await;
    let addresses = fleet.edge(0).addresses().clone();
    let relay = addresses.turn.unwrap();
    let mut relayed = Relayed::allocate(relay, &addresses.media).await;
    // Public, private, the metadata of a cloud: asked for only.
    for elsewhere in [
        "9.9.9.9:443",
        "10.0.0.7:5432",
        "169.254.169.254:80",
        "127.0.0.2:9",
    ] {
        assert!(!relayed.permit(elsewhere.parse().unwrap()).await, "{elsewhere}");
    }
    // The permission is for the address; of its ports the media's only are reached.
    let denied = "medmesh_turn_dropped_packets_total{reason=\"peer_denied\"}";
    let stranger = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let beside = [addresses.link, relay, stranger.local_addr().unwrap()];
    for (count, beside) in (1_u8..).zip(beside) {
        relayed.send(beside, b"let me in").await;
        fleet.metric_reaches(0, denied, f64::from(count)).await;
    }
    relayed.send(addresses.media[0], b"nobody you know").await;
    let unknown = "medmesh_turn_packets_total{direction=\"to_peer\"}";
    fleet.metric_reaches(0, unknown, 1.0).await;
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_edges_of_a_fleet_are_linked_before_anybody_comes() {
    let fleet = Fleet::start_linked().await;
    for index in 0..2 {
        let peer = fleet.edge(1 - index).id();
        let rtt = format!("medmesh_edge_link_rtt_seconds{{edge=\"{peer}\"}}");
        fleet.metric_reaches(index, &rtt, 1e-6).await;
    }
    let room = RoomId::generate();
    let patient = Browser::join(&fleet, 0, &fleet.claims(room, 0)).await;
    let clinician = Browser::join(&fleet, 1, &fleet.claims(room, 1)).await;
    patient.until_media(5, 5).await;
    clinician.until_media(5, 5).await;
    for index in 0..2 {
        let peer = fleet.edge(1 - index).id();
        let sessions = format!("medmesh_edge_link_sessions_total{{edge=\"{peer}\"}}");
        assert_eq!(fleet.metric(index, &sessions).await, 1.0);
    }
    drop((patient, clinician));
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_placed_before_the_other_edge_and_comes_after_it_is_found() {
    let fleet = Fleet::start(2, false).await;
    let room = RoomId::generate();
    let mut early = fleet.claims(room, 0);
    early.mesh.retain(|edge| edge.id == fleet.edge(0).id());
    let late = MediaClaims {
        epoch: early.epoch + 1,
        ..fleet.claims(room, 1)
    };
    let clinician = Browser::join(&fleet, 1, &late).await;
    // The patient's edge has heard of the room, and has nobody in it yet.
    let unknown = "medmesh_edge_dropped_total{reason=\"mesh_unknown_room\"}";
    fleet.metric_reaches(0, unknown, 1.0).await;
    // Nothing changes at the clinician's any more that would be said again.
    clinician
        .until("settled", |browser| {
            browser
                .seen
                .lock()
                .control
                .iter()
                .filter(|m| m["type"] == "quality")
                .count()
                > 1
        })
        .await;
    let patient = Browser::join(&fleet, 0, &early).await;
    patient.until_media(20, 20).await;
    clinician.until_media(20, 20).await;
    drop((patient, clinician));
    fleet.stop().await;
}
