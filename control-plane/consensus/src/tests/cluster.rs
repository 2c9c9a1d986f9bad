//! Three nodes and more, over real links.

use std::fs;

use medmesh_base::ControlId;
use medmesh_ledger::{Command, Event, Refused, Response};

use super::harness::{Cluster, checkpoint, eventually};
use crate::{MembershipError, Role, SnapshotEvery};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_commits_and_everybody_sees_it() {
    let cluster = Cluster::three().await;
    let follower = cluster.follower().await;
    let mut changes = follower.changes();
    let answer = follower.propose(checkpoint("a")).await.unwrap();
    assert_eq!(answer.response, Response::Done);
    assert!(
        follower.read().checkpoints.contains_key("a"),
        "a follower reads its own writes"
    );
    let change = changes.next().await.unwrap();
    assert_eq!(
        (change.index, change.events.as_ref()),
        (answer.index, &[Event::CheckpointChanged("a".into())][..])
    );
    let refused = follower
        .propose(Command::TurnSecretRotate { expected: 7, now: 1 })
        .await
        .unwrap();
    assert_eq!(
        refused.response,
        Response::Refused(Refused::StaleEpoch { current: 0 })
    );
    assert!(cluster.converge().await.checkpoints.contains_key("a"));
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_proposals_share_entries_and_each_gets_its_own_answer() {
    let cluster = Cluster::three().await;
    let node = cluster.follower().await;
    let before = node.status().last_index;
    let proposals = (0..200).map(|i| node.propose(checkpoint(&format!("n{i}"))));
    let batch = node.propose(Command::Batch(vec![
        checkpoint("in-a-batch"),
        Command::TurnSecretRotate { expected: 9, now: 1 },
    ]));
    let (answers, batch) = futures::join!(futures::future::join_all(proposals), batch);
    assert!(
        answers
            .into_iter()
            .all(|answer| answer.unwrap().response == Response::Done)
    );
    let expected = vec![
        Response::Done,
        Response::Refused(Refused::StaleEpoch { current: 0 }),
    ];
    assert_eq!(batch.unwrap().response, Response::Batch(expected));
    let state = cluster.converge().await;
    assert_eq!(state.checkpoints.len(), 201);
    assert!(
        node.status().last_index - before < 100,
        "200 commands took fewer than 100 entries"
    );
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_follower_comes_back_from_disk_and_catches_up() {
    let mut cluster = Cluster::three().await;
    let leader = cluster.leader().await;
    let victim = if leader.0 == 1 { 2 } else { 1 };
    cluster.node(victim).propose(checkpoint("before")).await.unwrap();
    cluster.kill(victim).await;
    cluster
        .node(leader.0)
        .propose(checkpoint("while-away"))
        .await
        .unwrap();
    cluster.start(victim).await.unwrap();
    eventually("catching up", || async {
        let state = cluster.node(victim).read();
        (state.checkpoints.contains_key("before") && state.checkpoints.contains_key("while-away"))
            .then_some(())
    })
    .await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_others_elect_a_leader_when_it_is_killed_and_nothing_acknowledged_is_lost() {
    let mut cluster = Cluster::three().await;
    for round in 0..3 {
        let leader = cluster.leader().await;
        let name = format!("round-{round}");
        cluster.follower().await.propose(checkpoint(&name)).await.unwrap();
        cluster.kill(leader.0).await;
        let next = cluster.leader().await;
        assert_ne!(next, leader);
        // Proposed before or after the new leader is ready: it waits for one.
        cluster
            .follower()
            .await
            .propose(checkpoint(&format!("{name}-after")))
            .await
            .unwrap();
        cluster.start(leader.0).await.unwrap();
        let state = cluster.converge().await;
        assert!(state.checkpoints.contains_key(&name));
        assert!(state.checkpoints.contains_key(&format!("{name}-after")));
    }
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_whole_cluster_comes_back_from_disk() {
    let mut cluster = Cluster::three().await;
    cluster.node(1).propose(checkpoint("kept")).await.unwrap();
    let before = cluster.converge().await;
    let term = cluster.node(1).status().term;
    for id in 1..=3 {
        cluster.kill(id).await;
    }
    for id in 1..=3 {
        cluster.start(id).await.unwrap();
    }
    cluster.leader().await;
    assert_eq!(cluster.converge().await, before);
    assert!(cluster.node(1).status().term >= term, "terms never go back");
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_whose_addresses_all_changed_comes_back() {
    let mut cluster = Cluster::three().await;
    cluster.node(1).propose(checkpoint("kept")).await.unwrap();
    let before = cluster.converge().await;
    let ids = [1, 2, 3];
    for id in ids {
        cluster.kill(id).await;
    }
    // The old ports are taken, the new ones are whatever the system gives.
    let taken = ids.map(|id| std::net::UdpSocket::bind(cluster.address(id)).unwrap());
    cluster.forget_addresses();
    cluster.found(&ids).await;
    assert_eq!(cluster.converge().await, before);
    drop(taken);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_stops_in_order_hands_over_first() {
    let mut cluster = Cluster::three().await;
    let leader = cluster.leader().await;
    cluster.shut_down(leader.0).await;
    // Handed over, not timed out: the others know a new leader as soon as the old one is gone.
    let others: Vec<_> = cluster
        .nodes
        .values()
        .map(|node| node.consensus.leader())
        .collect();
    assert!(
        others
            .iter()
            .any(|known| known.is_some_and(|known| known != leader)),
        "{others:?}"
    );
    cluster
        .follower()
        .await
        .propose(checkpoint("after"))
        .await
        .unwrap();
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_join_as_learners_are_promoted_and_removed() {
    let mut cluster = Cluster::new();
    cluster.found(&[1]).await;
    cluster.node(1).propose(checkpoint("first")).await.unwrap();
    for id in [2, 3] {
        cluster.start(id).await.unwrap();
        let address = cluster.address(id).to_owned();
        cluster
            .node(1)
            .add_learner(ControlId(id), &address)
            .await
            .unwrap();
        eventually("promotion", || async {
            cluster.node(1).promote(ControlId(id)).await.ok()
        })
        .await;
    }
    let status = eventually("three voters", || async {
        let status = cluster.node(1).status();
        (status.members.iter().filter(|member| member.voter).count() == 3).then_some(status)
    })
    .await;
    assert_eq!(status.role, Role::Leader);
    assert!(status.members.iter().all(|member| member.matched_index.is_some()));
    assert_eq!(
        cluster.node(1).promote(ControlId(9)).await,
        Err(MembershipError::UnknownNode(ControlId(9)))
    );
    // From a follower, and the leader itself.
    cluster.node(2).remove(ControlId(1)).await.unwrap();
    eventually("another leader", || async {
        cluster.node(2).leader().filter(|leader| *leader != ControlId(1))
    })
    .await;
    cluster.kill(1).await;
    cluster.node(3).propose(checkpoint("without-1")).await.unwrap();
    let members: Vec<_> = cluster
        .node(3)
        .status()
        .members
        .iter()
        .map(|member| member.node)
        .collect();
    assert_eq!(members, [ControlId(2), ControlId(3)]);
    cluster.end().await;
}

/// What an operator may type by mistake: whatever is asked, the group goes on agreeing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_change_of_members_takes_the_majority_away() {
    let mut cluster = Cluster::three().await;
    let leader = cluster.leader().await.0;
    let others: Vec<u64> = (1..=3).filter(|id| *id != leader).collect();
    // Nobody is there, and nobody ever was.
    let nobody = ControlId(9);
    cluster
        .node(leader)
        .add_learner(nobody, "127.0.0.1:9")
        .await
        .unwrap();
    for from in [leader, others[0]] {
        let refused = cluster.node(from).promote(nobody).await.unwrap_err();
        assert!(
            refused.to_string().contains("node 9 does not answer"),
            "{refused}"
        );
    }
    cluster.node(leader).remove(nobody).await.unwrap();
    // One of three is away: the other two are needed.
    cluster.kill(others[0]).await;
    eventually("silence", || async {
        let status = cluster.node(leader).status();
        let gone = status.members.iter().find(|member| member.node.0 == others[0])?;
        gone.silent_ms.is_none_or(|silent| silent > 5_000).then_some(())
    })
    .await;
    let refused = cluster.node(leader).remove(ControlId(others[1])).await;
    assert_eq!(refused, Err(MembershipError::NoMajority { heard: 1, voters: 2 }));
    // The one that is away can go.
    cluster.node(leader).remove(ControlId(others[0])).await.unwrap();
    cluster.node(others[1]).propose(checkpoint("on")).await.unwrap();
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fresh_node_is_filled_by_a_snapshot() {
    let mut cluster = Cluster::new();
    cluster.snapshots = SnapshotEvery {
        entries: 20,
        log_bytes: usize::MAX,
        keep_entries: 1,
    };
    cluster.found(&[1]).await;
    for count in 0..60 {
        cluster
            .node(1)
            .propose(checkpoint(&format!("c{count}")))
            .await
            .unwrap();
    }
    eventually("a purged log", || async {
        (cluster.node(1).status().purged_index > 0).then_some(())
    })
    .await;
    cluster.start(2).await.unwrap();
    let mut changes = cluster.node(2).changes();
    let address = cluster.address(2).to_owned();
    cluster.node(1).add_learner(ControlId(2), &address).await.unwrap();
    eventually("an equal state", || async {
        (cluster.node(2).read() == cluster.node(1).read()).then_some(())
    })
    .await;
    assert_eq!(changes.next().await.unwrap().events.as_ref(), [Event::Replaced]);
    assert!(cluster.node(2).status().snapshot_index > 0);
    // What was installed is on disk.
    let before = cluster.node(2).read();
    cluster.kill(2).await;
    cluster.start(2).await.unwrap();
    eventually("the same state", || async {
        (cluster.node(2).read() == before).then_some(())
    })
    .await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_entries_lead_to_a_snapshot_by_size() {
    let mut cluster = Cluster::new();
    cluster.snapshots = SnapshotEvery {
        entries: 1_000_000,
        log_bytes: 64 * 1024,
        keep_entries: 1,
    };
    cluster.found(&[1]).await;
    for _ in 0..40 {
        let command = Command::CheckpointPut {
            name: "big".to_owned(),
            bytes: vec![7; 4096],
            now: 1,
        };
        cluster.node(1).propose(command).await.unwrap();
    }
    eventually("a snapshot", || async {
        (cluster.node(1).status().snapshot_index > 0).then_some(())
    })
    .await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_voter_that_lost_its_disk_is_not_counted_on() {
    let mut cluster = Cluster::three().await;
    let leader = cluster.leader().await;
    let victim = if leader.0 == 3 { 2 } else { 3 };
    cluster.node(1).propose(checkpoint("kept")).await.unwrap();
    cluster.converge().await;
    cluster.kill(victim).await;
    fs::remove_dir_all(cluster.directory(victim)).unwrap();
    cluster.start(victim).await.unwrap();
    // The others go on; the emptied node gets nothing, since it may have forgotten a vote.
    cluster.node(leader.0).propose(checkpoint("after")).await.unwrap();
    let lost = eventually("silence towards it", || async {
        let status = cluster.node(leader.0).status();
        let member = status
            .members
            .into_iter()
            .find(|member| member.node.0 == victim)?;
        (member.silent_ms? > 1_000).then_some(())
    });
    lost.await;
    // The leader is unharmed: openraft takes a follower whose log went back for a broken promise.
    cluster
        .node(leader.0)
        .propose(checkpoint("much-later"))
        .await
        .unwrap();
    let status = cluster.node(leader.0).status();
    assert_eq!((status.role, status.fault), (Role::Leader, None));
    assert!(cluster.node(victim).read().checkpoints.is_empty());
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lone_survivor_answers_that_there_is_no_leader() {
    let mut cluster = Cluster::three().await;
    let leader = cluster.leader().await;
    let others: Vec<u64> = (1..=3).filter(|id| *id != leader.0).collect();
    cluster.kill(leader.0).await;
    cluster.kill(others[0]).await;
    let error = cluster
        .node(others[1])
        .propose(checkpoint("nobody"))
        .await
        .unwrap_err();
    assert!(
        matches!(
            error,
            crate::ProposeError::NoLeader { .. } | crate::ProposeError::Ambiguous { .. }
        ),
        "{error:?}"
    );
    assert!(cluster.node(others[1]).read_linearizable().await.is_err());
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_operator_sees_metrics_by_their_names() {
    let cluster = Cluster::three().await;
    let leader = cluster.leader().await;
    cluster.node(leader.0).propose(checkpoint("a")).await.unwrap();
    eventually("metrics", || async {
        let (text, _) = medmesh_base::telemetry::render(&cluster.nodes[&leader].registry);
        let expected = [
            "medmesh_raft_is_leader 1",
            "medmesh_raft_members{kind=\"voter\"} 3",
            "medmesh_raft_proposals_total{outcome=\"committed\"} 1",
            "medmesh_raft_log_fsync_seconds_count",
            "medmesh_raft_follower_lag_entries{node=",
        ];
        expected.iter().all(|line| text.contains(line)).then_some(())
    })
    .await;
    cluster.end().await;
}
