//! What an operator types, against real nodes.

use clap::Parser;
use medmesh_api_types::signaling::SessionRequest;
use medmesh_cli::operator::{Connection, Verb, run};
use medmesh_tests::control::ControlNode;
use medmesh_tests::edge::{EdgeNode, operator};
use medmesh_tests::participant::Participant;
use serde_json::Value;

use super::eventually;
use crate::clinic::World;
use crate::clinic::visit::{join, key};

#[derive(Parser)]
struct Typed {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    verb: Verb,
}

/// As `medmesh` with these words, asking this node.
pub(super) async fn medmesh(node: &ControlNode, words: &str) -> anyhow::Result<String> {
    let token_file = node.site().dir().join("operator.token");
    let before = ["medmesh", "--url", &node.url(), "--token-file"].map(str::to_owned);
    let words = before
        .into_iter()
        .chain([token_file.display().to_string()])
        .chain(words.split_whitespace().map(str::to_owned));
    let typed = Typed::try_parse_from(words)?;
    run(&typed.connection, typed.verb).await
}

/// The same, as programs read it.
pub(super) async fn told(node: &ControlNode, words: &str) -> anyhow::Result<Value> {
    Ok(serde_json::from_str(
        &medmesh(node, &format!("--json {words}")).await?,
    )?)
}

/// The first line that begins with this word, as words.
fn line(table: &str, first: &str) -> Vec<String> {
    let found = table
        .lines()
        .find(|line| line.split_whitespace().next() == Some(first));
    let found = found.unwrap_or_else(|| panic!("{first} is not in\n{table}"));
    found.split_whitespace().map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_sees_a_visit_and_why_it_is_where_it_is() {
    let world = World::new().await;
    let node = &world.node;
    let fra = EdgeNode::start(node, "fra-1", "eu-central").await;
    let (clinician, patient) = (
        world.signed_in("clinician").await,
        world.signed_in("patient").await,
    );
    let visit = world.booked_now().await.visit_id;
    eventually("an edge to choose", async || {
        let edges = clinician.signaling_candidates(visit).await.ok()?.edges;
        (edges.len() == 1).then_some(())
    })
    .await;
    let nobody = told(node, "sessions").await.unwrap();
    assert_eq!(nobody["rooms"].as_array().unwrap().len(), 0);
    patient.visit_check_in(visit).await.unwrap();
    clinician.visit_open(visit).await.unwrap();
    let you = patient.visit_get(visit).await.unwrap().you;
    clinician.visit_admit(visit, you.unwrap()).await.unwrap();
    let wish: SessionRequest = join(visit, key());
    let session = patient.signaling_session(&wish).await.unwrap();
    let here = Participant::join(&session).await;
    eventually("reported as connected", async || {
        let told = told(node, "sessions").await.ok()?;
        (told["participants_connected"] == 1).then_some(())
    })
    .await;

    let nodes = medmesh(node, "nodes").await.unwrap();
    assert_eq!(line(&nodes, "1")[1..3], ["(asked)", "leader"]);
    assert_eq!(
        line(&nodes, "fra-1")[..4],
        ["fra-1", "eu-central", "healthy", "1/20"]
    );
    let sessions = told(node, "sessions").await.unwrap();
    let room = sessions["rooms"][0]["id"].as_str().unwrap().to_owned();
    let placed = &sessions["rooms"][0]["participants"][0];
    assert_eq!(
        (placed["edge"].as_str(), placed["connected_to"].as_str()),
        (Some("fra-1"), Some("fra-1"))
    );
    let table = medmesh(node, "sessions --limit 1").await.unwrap();
    assert_eq!(line(&table, &room)[3..5], ["fra-1", "fra-1"]);
    assert!(
        table.contains("1 of 1 rooms; 1 participants placed, 1 connected"),
        "{table}"
    );
    let explained = medmesh(node, &format!("explain {room}")).await.unwrap();
    assert!(explained.contains("fra-1"), "{explained}");
    // Who is asked about a visit knows its id, and not the room's.
    let of_visit = medmesh(node, &format!("explain {visit}")).await.unwrap();
    assert_eq!(of_visit, explained);
    let raft = medmesh(node, "raft").await.unwrap();
    assert_eq!(line(&raft, "1")[1], "leader");
    let headroom = medmesh(node, "headroom").await.unwrap();
    line(&headroom, "eu-central");

    // One edge: closed to newcomers, opened, emptied, and not taken out while somebody is there.
    medmesh(node, "edge cordon fra-1").await.unwrap();
    let shown = told(node, "edge show fra-1").await.unwrap();
    assert_eq!(
        (&shown["cordoned"], &shown["draining"]),
        (&true.into(), &false.into())
    );
    medmesh(node, "edge uncordon fra-1").await.unwrap();
    let refused = medmesh(node, "edge remove fra-1").await.unwrap_err();
    assert!(format!("{refused:#}").contains("drain it first"), "{refused:#}");
    let unknown = medmesh(node, "edge drain fra-9").await.unwrap_err();
    assert!(format!("{unknown:#}").contains("there are: fra-1"), "{unknown:#}");
    clinician.visit_end(visit).await.unwrap();
    drop(here);
    medmesh(node, &format!("edge drain {} --timeout-seconds 30", fra.id()))
        .await
        .unwrap();
    medmesh(node, "edge remove fra-1").await.unwrap();
    assert_eq!(operator(node).nodes().await.unwrap().edges.len(), 0);

    // A token, alone on its line, lets an edge in.
    let token = medmesh(node, "join-token --life-seconds 60").await.unwrap();
    assert_eq!(token.lines().count(), 1);
    for wrong in [
        "join-token --life-seconds 0",
        "explain 00000000-0000-7000-8000-000000000000",
    ] {
        assert!(medmesh(node, wrong).await.is_err(), "{wrong}");
    }
    fra.stop().await;
}
