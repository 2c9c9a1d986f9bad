//! A control node is replaced by the steps in the README, while the cluster works.

use medmesh_tests::control::{ControlNode, Site, Wishes};
use medmesh_tests::postgres::Scratch;
use serde_json::Value;

use super::eventually;
use super::verbs::{medmesh, told};

/// Members of the Raft group as one node sees them: number and part.
async fn members(node: &ControlNode) -> Option<Vec<(u64, String)>> {
    let raft = told(node, "raft").await.ok()?;
    let members = raft["members"].as_array()?.iter();
    members
        .map(|member| Some((member["id"].as_u64()?, member["role"].as_str()?.to_owned())))
        .collect()
}

/// Waits until a node sees a leader and these voters, and nobody else.
async fn voters(node: &ControlNode, wanted: &[u64]) {
    eventually("the members agree", async || {
        let members = members(node).await?;
        let leads = members.iter().filter(|(_, role)| role == "leader").count();
        let votes: Vec<u64> = members
            .iter()
            .filter(|(_, role)| role == "leader" || role == "voter")
            .map(|(id, _)| *id)
            .collect();
        (leads == 1 && votes == wanted && members.len() == wanted.len()).then_some(())
    })
    .await;
}

async fn readiness(node: &ControlNode) -> (u16, Value) {
    let answer = reqwest::get(format!("{}/readyz", node.admin_url()))
        .await
        .unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_control_node_is_replaced_while_the_others_decide() {
    let scratch = Scratch::database().await.unwrap();
    let (site, wishes) = (Site::with_later(3, 1), Wishes::default());
    let start = |id| ControlNode::start_in(&site, id, &scratch, &wishes);
    let (one, two, three) = tokio::join!(start(1), start(2), start(3));
    voters(&one, &[1, 2, 3]).await;

    // Who joins founds nothing of its own, and takes no requests until it is let in.
    let four = start(4).await;
    let (status, ready) = readiness(&four).await;
    assert_eq!(
        (status, &ready["joined"], &ready["leader"]),
        (503, &false.into(), &false.into())
    );
    let refused = medmesh(&one, "raft promote 4").await.unwrap_err();
    assert!(!format!("{refused:#}").is_empty());
    voters(&one, &[1, 2, 3]).await;

    // From a node that need not be the leader.
    let add = format!("raft add-learner 4 {}", site.link(4));
    let table = medmesh(&two, &add).await.unwrap();
    assert!(table.contains("learner"), "{table}");
    eventually("the learner has caught up", async || {
        medmesh(&two, "raft promote 4").await.ok()
    })
    .await;
    voters(&four, &[1, 2, 3, 4]).await;
    eventually("it is ready", async || {
        (readiness(&four).await.0 == 200).then_some(())
    })
    .await;

    medmesh(&four, "raft remove 3").await.unwrap();
    voters(&one, &[1, 2, 4]).await;
    three.stop().await;
    let token = medmesh(&four, "join-token").await.unwrap();
    assert!(!token.trim().is_empty());
    let unknown = medmesh(&four, "raft remove 9").await.unwrap_err();
    assert!(!format!("{unknown:#}").is_empty());

    // It has its place from disk, whatever its file still says of joining; with it there is a quorum of three
    // while another is away.
    four.stop().await;
    let four = start(4).await;
    one.stop().await;
    eventually("two of three decide", async || {
        medmesh(&four, "join-token").await.ok()
    })
    .await;
    voters(&two, &[1, 2, 4]).await;
    two.stop().await;
    four.stop().await;
}
