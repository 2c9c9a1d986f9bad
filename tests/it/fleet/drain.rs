//! An edge is emptied and taken out while a visit goes on.

use medmesh_api_types::signaling::{EdgeProbe, SessionRequest};
use medmesh_base::{EdgeId, ProblemCode};
use medmesh_tests::edge::{EdgeNode, operator};
use medmesh_tests::participant::Participant;

use super::{eventually, linked};
use crate::clinic::visit::{join, key};
use crate::clinic::{World, refused};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drained_edge_tells_people_to_move_and_a_removed_one_is_locked_out() {
    let world = World::new().await;
    let fra = EdgeNode::start(&world.node, "fra-1", "eu-central").await;
    let nyc = EdgeNode::start(&world.node, "nyc-1", "us-east").await;
    let operator = operator(&world.node);
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
    linked(&operator).await;
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

    let wish = near(fra.id(), nyc.id());
    let session = patient.signaling_session(&wish).await.unwrap();
    assert_eq!(session.edges[0].id, fra.id());
    let before = Participant::join(&session).await;
    let session = clinician
        .signaling_session(&near(nyc.id(), fra.id()))
        .await
        .unwrap();
    assert_eq!(session.edges[0].id, nyc.id());
    let other = Participant::join(&session).await;
    eventually("both hear each other", async || {
        (before.heard() > 20 && other.heard() > 20).then_some(())
    })
    .await;
    assert_eq!(
        refused(operator.edge_remove(fra.id(), false).await),
        ProblemCode::StateConflict,
        "an edge that carries somebody is not removed"
    );

    operator.edge_drain(fra.id()).await.unwrap();
    eventually("told to move", async || before.said("migrate")).await;
    assert!(
        before.said("ended").is_none(),
        "the old connection stays until the new one is up"
    );
    let session = patient.signaling_session(&wish).await.unwrap();
    assert_eq!(session.edges[0].id, nyc.id(), "the drained edge is not offered");
    let after = Participant::join(&session).await;
    eventually("heard on the new edge", async || {
        (after.heard() > 20).then_some(())
    })
    .await;
    // Nobody said goodbye to the old edge: it hears from the new one that they have moved.
    let ended = eventually("the older connection is let go of", async || before.said("ended")).await;
    assert_eq!(ended["reason"], "replaced");
    eventually("one person to the other", async || {
        let roster = other.said("roster")?;
        (roster["participants"].as_array()?.len() == 2).then_some(())
    })
    .await;
    eventually("empty", async || {
        let edge = operator.edge(fra.id()).await.ok()?;
        (edge.draining && edge.report?.participants == 0 && edge.placed_participants == 0).then_some(())
    })
    .await;

    let heard = (after.heard(), other.heard());
    operator.edge_remove(fra.id(), false).await.unwrap();
    eventually("the removed edge knows no control node", async || {
        let text = reqwest::get(format!("{}/metrics", fra.admin_url()))
            .await
            .ok()?
            .text()
            .await
            .ok()?;
        text.contains("medmesh_edge_control_attached 0\n").then_some(())
    })
    .await;
    let nodes = operator.nodes().await.unwrap();
    assert_eq!(nodes.edges.len(), 1);
    eventually("the visit goes on", async || {
        (after.heard() > heard.0 + 50 && other.heard() > heard.1 + 50).then_some(())
    })
    .await;

    clinician.visit_end(visit).await.unwrap();
    for participant in [&after, &other] {
        let ended = eventually("the visit's end is said", async || participant.said("ended")).await;
        assert_eq!(ended["reason"], "ended");
    }
    drop((before, after, other));
    fra.stop().await;
    nyc.stop().await;
}
