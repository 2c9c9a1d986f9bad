//! A certificate that has ended: nobody takes the edge any more, and a new join token brings it back.

use medmesh_api_types::fleet::EdgeHealth;
use medmesh_base::EdgeId;
use medmesh_tests::control::{ControlNode, Wishes};
use medmesh_tests::edge::{EdgeNode, operator};

use super::{eventually, linked, sample};
use crate::clinic::World;

/// Renewed after two thirds of it, while somebody renews.
const LIFE_SECONDS: u64 = 6;

const EXPIRY: &str = "medmesh_link_certificate_expiry_seconds";
const ATTACHED: &str = "medmesh_edge_control_attached";
const TURNED_AWAY: &str = "medmesh_edge_control_refusals_total{reason=\"expired\"}";
const REFUSED: &str = "medmesh_link_sessions_refused_total{reason=\"expired\"}";
const FOUND: &str = "medmesh_link_dials_total{result=\"expired\"}";

fn wishes() -> Wishes {
    Wishes {
        certificate_lifetime_seconds: Some(LIFE_SECONDS),
        ..Wishes::default()
    }
}

async fn health(node: &ControlNode, edge: EdgeId) -> Option<EdgeHealth> {
    let nodes = operator(node).nodes().await.ok()?;
    let found = nodes.edges.iter().find(|known| known.id == edge)?;
    Some(found.health)
}

async fn becomes(node: &ControlNode, edge: &EdgeNode, wanted: EdgeHealth) {
    eventually("the fleet knows how it is", async || {
        (health(node, edge.id()).await? == wanted).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edge_whose_certificate_has_ended_is_refused_and_comes_back_with_a_new_token() {
    let world = World::with(&wishes()).await;
    let fra = EdgeNode::start(&world.node, "fra-1", "eu-central").await;
    let nyc = EdgeNode::start(&world.node, "nyc-1", "us-east").await;
    let ids = (fra.id(), nyc.id());
    for edge in [&fra, &nyc] {
        becomes(&world.node, edge, EdgeHealth::Healthy).await;
    }
    linked(&operator(&world.node)).await;

    // Nobody renews for longer than certificates live.
    let World { scratch, node, .. } = world;
    let site = node.site().clone();
    node.stop().await;
    for edge in [&fra, &nyc] {
        eventually("its certificate ends", async || {
            let now = time::OffsetDateTime::now_utc().unix_timestamp() as f64;
            (sample(edge.admin_url(), EXPIRY).await? < now).then_some(())
        })
        .await;
    }
    let node = ControlNode::start_in(&site, 1, &scratch, &wishes()).await;

    // Control nodes refuse both, which both sides count.
    for edge in [&fra, &nyc] {
        eventually("it hears why", async || {
            (sample(edge.admin_url(), TURNED_AWAY).await? >= 1.0).then_some(())
        })
        .await;
        assert_eq!(sample(edge.admin_url(), ATTACHED).await, Some(0.0));
        becomes(&node, edge, EdgeHealth::Down).await;
    }
    assert!(sample(&node.admin_url(), REFUSED).await.unwrap() >= 2.0);

    // A spent token, or none, is no way back; it says so, and stays who it is.
    let files = fra.stop_keeping_files().await;
    let identity = files.identity();
    let (said, files) = files.start().await.err().expect("a spent token opens nothing");
    assert!(
        said.contains("certificate has ended, and the join token in") && said.contains("spent"),
        "{said}"
    );
    files.take_token();
    let (said, files) = files.start().await.err().expect("nothing to enrol with");
    assert!(
        said.contains("has ended: enrol again with a new join token"),
        "{said}"
    );
    assert_eq!(files.identity(), identity);
    files.put_token(&node).await;
    let started = files.start().await.map_err(|(error, _)| error);
    let fra = started.expect("a new token brings it back");
    assert_eq!(fra.id(), ids.0, "the same edge");
    becomes(&node, &fra, EdgeHealth::Healthy).await;

    // Its sibling, which still has the old one, is refused by it, whoever of them dials.
    eventually("no link with an ended certificate", async || {
        let refused = sample(fra.admin_url(), REFUSED).await.unwrap_or_default();
        let found = sample(fra.admin_url(), FOUND).await.unwrap_or_default();
        (refused + found >= 1.0).then_some(())
    })
    .await;
    assert_eq!(health(&node, ids.1).await, Some(EdgeHealth::Down));

    let files = nyc.stop_keeping_files().await;
    files.put_token(&node).await;
    let started = files.start().await.map_err(|(error, _)| error);
    let nyc = started.expect("a new token brings it back");
    assert_eq!(nyc.id(), ids.1);
    becomes(&node, &nyc, EdgeHealth::Healthy).await;
    linked(&operator(&node)).await;
    fra.stop().await;
    nyc.stop().await;
    node.stop().await;
}
