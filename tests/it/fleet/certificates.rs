//! Certificates that live for seconds: what happens in a day, in a test's time.

use medmesh_api_types::signaling::{EdgeProbe, SessionRequest};
use medmesh_base::EdgeId;
use medmesh_tests::control::Wishes;
use medmesh_tests::edge::{EdgeNode, operator};
use medmesh_tests::participant::Participant;

use super::{eventually, linked, sample};
use crate::clinic::World;
use crate::clinic::visit::{join, key};

/// Renewed after two thirds of it.
const LIFE_SECONDS: u64 = 9;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_are_renewed_before_they_end_and_a_visit_does_not_notice() {
    let world = World::with(&Wishes {
        certificate_lifetime_seconds: Some(LIFE_SECONDS),
        ..Wishes::default()
    })
    .await;
    let fra = EdgeNode::start(&world.node, "fra-1", "eu-central").await;
    let nyc = EdgeNode::start(&world.node, "nyc-1", "us-east").await;
    let (clinician, patient) = (
        world.signed_in("clinician").await,
        world.signed_in("patient").await,
    );
    let visit = world.booked_now().await.visit_id;
    eventually("two edges to choose from", async || {
        let edges = clinician.signaling_candidates(visit).await.ok()?.edges;
        (edges.len() == 2).then_some(())
    })
    .await;
    linked(&operator(&world.node)).await;
    patient.visit_check_in(visit).await.unwrap();
    clinician.visit_open(visit).await.unwrap();
    let you = patient.visit_get(visit).await.unwrap().you;
    clinician.visit_admit(visit, you.unwrap()).await.unwrap();
    let near = |near: EdgeId, far: EdgeId| SessionRequest {
        probes: [(near, 3.0), (far, 90.0)]
            .map(|(edge_id, rtt_ms)| EdgeProbe { edge_id, rtt_ms })
            .into(),
        ..join(visit, key())
    };
    let session = patient
        .signaling_session(&near(fra.id(), nyc.id()))
        .await
        .unwrap();
    assert_eq!(session.edges[0].id, fra.id());
    let one = Participant::join(&session).await;
    let session = clinician
        .signaling_session(&near(nyc.id(), fra.id()))
        .await
        .unwrap();
    assert_eq!(session.edges[0].id, nyc.id(), "their media crosses the mesh");
    let other = Participant::join(&session).await;
    eventually("both hear each other", async || {
        (one.heard() > 20 && other.heard() > 20).then_some(())
    })
    .await;

    const EXPIRY: &str = "medmesh_link_certificate_expiry_seconds";
    const RENEWED: &str = "medmesh_edge_certificate_renewals_total{result=\"ok\"}";
    const FAILED: &str = "medmesh_edge_certificate_renewals_total{result=\"failed\"}";
    let admins = [fra.admin_url(), nyc.admin_url()];
    let control = world.node.admin_url();
    let mut expiries = Vec::new();
    for admin in admins {
        expiries.push(sample(admin, EXPIRY).await.unwrap());
    }
    let first_end = expiries.iter().copied().fold(f64::MAX, f64::min);
    // Until well after the first certificates have ended, each edge twice over.
    for admin in admins {
        eventually("renewed twice", async || {
            (sample(admin, RENEWED).await? >= 2.0).then_some(())
        })
        .await;
    }
    let now = time::OffsetDateTime::now_utc().unix_timestamp() as f64;
    assert!(now > first_end, "the first certificates have ended by now");
    for (admin, before) in admins.into_iter().zip(expiries) {
        assert!(sample(admin, EXPIRY).await.unwrap() > before.max(now));
        assert_eq!(
            sample(admin, FAILED).await,
            None,
            "no renewal had to be tried again"
        );
    }
    assert!(
        sample(&control, EXPIRY).await.unwrap() > now,
        "the control node renews its own"
    );

    let (heard_one, heard_other) = (one.heard(), other.heard());
    eventually("the visit goes on", async || {
        (one.heard() > heard_one + 50 && other.heard() > heard_other + 50).then_some(())
    })
    .await;
    for participant in [&one, &other] {
        assert!(participant.said("ended").is_none() && participant.said("migrate").is_none());
    }
    // One link between the edges all along, and attachments on sessions of the new certificates.
    for (admin, peer) in [(fra.admin_url(), nyc.id()), (nyc.admin_url(), fra.id())] {
        let links = sample(
            admin,
            &format!("medmesh_edge_link_sessions_total{{edge=\"{peer}\"}}"),
        )
        .await;
        assert_eq!(links, Some(1.0), "media never changed its link");
    }
    let nodes = operator(&world.node).nodes().await.unwrap();
    for edge in &nodes.edges {
        assert_eq!(
            edge.health,
            medmesh_api_types::fleet::EdgeHealth::Healthy,
            "{}",
            edge.name
        );
    }
    drop((one, other));
    fra.stop().await;
    nyc.stop().await;
}
