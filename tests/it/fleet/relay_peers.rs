//! Whom a standalone relay may reach, taken from the running fleet: the real `medmesh-turn` reads what
//! `medmesh relay peers` writes.

use std::fs;

use medmesh_api_types::Secret;
use medmesh_api_types::signaling::IceServer;
use medmesh_tests::control::{ControlNode, Wishes};
use medmesh_tests::edge::EdgeNode;
use medmesh_tests::participant::Participant;
use medmesh_tests::postgres::Scratch;
use medmesh_tests::relayed::Relayed;
use medmesh_tests::turn::TurnProcess;
use medmesh_turn::secrets_file;
use nix::sys::signal::Signal;

use super::eventually;
use super::relays::{entry, open_visit, talk, told_of};
use super::verbs::{medmesh, told};
use crate::clinic::World;

const ALLOWED: &str = "medmesh_turn_peer_rules{list=\"allow\"}";
const FAILURES: &str = "medmesh_turn_reload_failures_total{file=\"peers\"}";
const DENIED: &str = "medmesh_turn_dropped_packets_total{reason=\"peer_denied\"}";

/// What an operator's timer does.
async fn refresh(node: &ControlNode, relay: &TurnProcess, more: &str) -> anyhow::Result<String> {
    let file = relay.peers_file();
    medmesh(node, &format!("relay peers --file {} {more}", file.display())).await
}

/// The relay has taken so many rules for edges.
async fn takes(relay: &TurnProcess, edges: f64) {
    relay.signal(Signal::SIGHUP);
    eventually("the relay takes the file", async || {
        let now = relay.sample(ALLOWED).await?;
        ((now - edges).abs() < 0.5).then_some(())
    })
    .await;
}

/// Where an edge's media goes, as operators see it.
async fn media(node: &ControlNode, name: &str) -> String {
    eventually("the edge says where its media goes", async || {
        let nodes = told(node, "nodes").await.ok()?;
        let edges = nodes["edges"].as_array()?.clone();
        let edge = edges.into_iter().find(|edge| edge["name"] == name)?;
        edge["report"]["media"][0].as_str().map(str::to_owned)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_edge_is_relayed_to_after_a_refresh_and_a_broken_file_changes_nothing() {
    let relay = TurnProcess::start_with_peers_file(false).await;
    let world = World::with(&told_of(&relay)).await;
    let node = &world.node;
    let fra_1 = EdgeNode::start(node, "fra-1", "eu-central").await;
    let first = media(node, "fra-1").await;
    let refused = refresh(node, &relay, "").await.unwrap_err().to_string();
    assert!(
        refused.contains("portal.test") && refused.contains("nothing was written"),
        "{refused}"
    );
    assert_eq!(fs::read_to_string(relay.peers_file()).unwrap(), "end\n");
    let said = refresh(node, &relay, "--skip-unresolved").await.unwrap();
    assert!(said.starts_with("written: "), "{said}");
    let text = fs::read_to_string(relay.peers_file()).unwrap();
    let link = node.site().link(1);
    for line in [
        format!("allow {first}  # edge fra-1\n"),
        format!("deny {link}  # control node 1\n"),
        "# portal.test means nothing here: not denied\n".to_owned(),
    ] {
        assert!(text.contains(&line), "{line}\n{text}");
    }
    let said = refresh(node, &relay, "--skip-unresolved").await.unwrap();
    assert!(said.starts_with("unchanged: "), "{said}");
    takes(&relay, 1.0).await;
    let (clinician, patient, visit) = open_visit(&world).await;
    let (session, server) = eventually("a session with the relay", async || {
        entry(&patient, visit, &relay).await
    })
    .await;
    let one = Participant::join_relayed(&session, &server).await.unwrap();
    eventually("connected", async || one.is_connected().then_some(())).await;

    // An edge joins. Its host is known, its sockets are not: nothing is relayed to them.
    let fra_2 = EdgeNode::start(node, "fra-2", "eu-central").await;
    let second = media(node, "fra-2").await;
    let socket = second.rsplit_once('-').unwrap().0.parse().unwrap();
    let stranger = Relayed::allocate(&server).await.unwrap();
    assert_eq!(stranger.permit(socket).await, 0, "a permission is for an address");
    eventually("what is sent to it is dropped", async || {
        stranger.send(socket, b"hello").await;
        (relay.sample(DENIED).await? >= 1.0).then_some(())
    })
    .await;
    refresh(node, &relay, "--skip-unresolved").await.unwrap();
    takes(&relay, 2.0).await;
    let dropped = relay.sample(DENIED).await;
    medmesh(node, "edge cordon fra-1").await.unwrap();
    let (session, server) = eventually("a session on the new edge", async || {
        let (session, server) = entry(&clinician, visit, &relay).await?;
        (session.edges.first()?.name == "fra-2").then_some((session, server))
    })
    .await;
    let other = Participant::join_relayed(&session, &server).await.unwrap();
    talk("both hear each other, each over their edge", [&one, &other]).await;
    assert_eq!(relay.sample(DENIED).await, dropped);

    // A file that is wrong, or was copied in half, changes nothing, and is said with its line.
    for (index, (broken, line)) in [
        (
            format!("allow {first}\nallow everything\nend\n"),
            "line 2: not an address",
        ),
        (format!("allow {first}\n"), "line 1: it stops here"),
    ]
    .into_iter()
    .enumerate()
    {
        fs::write(relay.peers_file(), broken).unwrap();
        relay.signal(Signal::SIGHUP);
        let failures = index as f64 + 1.0;
        eventually("the complaint", async || {
            (relay.sample(FAILURES).await? >= failures).then_some(())
        })
        .await;
        let log = relay.log();
        assert!(log.contains(line) && log.contains("the old ones stay"), "{log}");
        assert_eq!(relay.sample(ALLOWED).await, Some(2.0));
    }
    talk("nothing is heard of it", [&one, &other]).await;

    // An edge leaves for good: whoever is on it is not relayed to it any more.
    drop(other);
    refresh(node, &relay, "--skip-unresolved").await.unwrap();
    medmesh(node, "edge remove fra-2 --force").await.unwrap();
    refresh(node, &relay, "--skip-unresolved").await.unwrap();
    takes(&relay, 1.0).await;
    let text = fs::read_to_string(relay.peers_file()).unwrap();
    assert!(text.contains(&first) && !text.contains(&second), "{text}");
    drop(one);
    fra_1.stop().await;
    fra_2.stop().await;
    world.node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_control_node_is_out_of_reach_of_a_relay_that_reaches_everybody() {
    // Addresses that are somebody's: permissions for them are asked for, nothing is sent there.
    let (control, elsewhere) = ("9.9.9.9:443", "9.9.9.10:443");
    let relay = TurnProcess::start_with_peers_file(true).await;
    let scratch = Scratch::database().await.unwrap();
    let wishes = Wishes {
        public_url: Some(format!("https://{control}")),
        ..Wishes::default()
    };
    let node = ControlNode::start(&scratch, &wishes).await;
    let edge = EdgeNode::start(&node, "fra-1", "eu-central").await;
    media(&node, "fra-1").await;
    let secrets = secrets_file::read(&relay.secrets_file()).unwrap();
    let username = format!("{}:somebody", u32::MAX);
    let server = IceServer {
        urls: relay.urls().into(),
        credential: Secret::new(secrets.iter().next().unwrap().password(&username)),
        username,
    };
    let allocated = Relayed::allocate(&server).await.unwrap();
    let permit = async |address: &str| allocated.permit(address.parse().unwrap()).await;
    assert_eq!((permit(control).await, permit(elsewhere).await), (0, 0));
    eventually("the node has introduced itself", async || {
        refresh(&node, &relay, "").await.ok()?;
        let text = fs::read_to_string(relay.peers_file()).ok()?;
        text.contains("deny 9.9.9.9  # control node 1\n").then_some(())
    })
    .await;
    takes(&relay, 1.0).await;
    assert_eq!((permit(control).await, permit(elsewhere).await), (403, 0));
    drop(allocated);
    edge.stop().await;
    node.stop().await;
}
