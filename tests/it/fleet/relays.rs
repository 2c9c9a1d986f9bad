//! A visit through a relay that stands by itself: the real `medmesh-turn`, told of in the control node's
//! file, and participants who have no other way.

use medmesh_api_client::Clinic;
use medmesh_api_types::clinic::ClinicUpdate;
use medmesh_api_types::signaling::{IceServer, SignalingSession};
use medmesh_base::VisitId;
use medmesh_tests::control::Wishes;
use medmesh_tests::edge::{EdgeNode, operator};
use medmesh_tests::participant::Participant;
use medmesh_tests::relayed::Relayed;
use medmesh_tests::turn::{TurnProcess, call};
use nix::sys::signal::Signal;

use super::residency::near;
use super::{eventually, linked, sample};
use crate::clinic::World;
use crate::clinic::visit::{join, key};

/// Where the media sockets of test edges are: the kernel chooses, below what relays give out.
const MEDIA: &str = "127.0.0.1:1024-60999";

/// What a control node is told of a relay, to be asked after every second.
pub(super) fn told_of(relay: &TurnProcess) -> Wishes {
    told_of_all(&[("hospital", "eu-central", relay)])
}

/// The same of several, each with its name and the region it stands in.
fn told_of_all(relays: &[(&str, &str, &TurnProcess)]) -> Wishes {
    let entry = |(name, region, relay): &(&str, &str, &TurnProcess)| {
        let [udp, tcp] = relay.urls();
        format!(
            "\n[[turn.external]]\nname = {name:?}\nregion = {region:?}\nurls = [{udp:?}, {tcp:?}]\nsecrets_file = {:?}",
            relay.secrets_file()
        )
    };
    let entries: String = relays.iter().map(entry).collect();
    Wishes {
        turn: Some(format!("probe_seconds = 1{entries}")),
        ..Wishes::default()
    }
}

/// The relay's entry in a fresh session.
pub(super) async fn entry(
    client: &Clinic,
    visit: VisitId,
    relay: &TurnProcess,
) -> Option<(SignalingSession, IceServer)> {
    let session = client.signaling_session(&join(visit, key())).await.ok()?;
    let [udp, _] = relay.urls();
    let mut servers = session.ice_servers.iter();
    let server = servers.find(|server| server.urls.contains(&udp))?.clone();
    Some((session, server))
}

/// A clinician and a patient of a visit that is open to both.
pub(super) async fn open_visit(world: &World) -> (Clinic, Clinic, VisitId) {
    let (clinician, patient) = (
        world.signed_in("clinician").await,
        world.signed_in("patient").await,
    );
    let visit = world.booked_now().await.visit_id;
    patient.visit_check_in(visit).await.unwrap();
    clinician.visit_open(visit).await.unwrap();
    let you = patient.visit_get(visit).await.unwrap().you;
    clinician.visit_admit(visit, you.unwrap()).await.unwrap();
    (clinician, patient, visit)
}

/// Both hear more of each other, through the relay.
pub(super) async fn talk(what: &str, people: [&Participant; 2]) {
    let before = people.map(Participant::heard);
    eventually(what, async || {
        let now = people.map(Participant::heard);
        (now[0] > before[0] + 30 && now[1] > before[1] + 30).then_some(())
    })
    .await;
}

async fn verb(relay: &TurnProcess, verb: &str) {
    let file = relay.secrets_file();
    let (went, said) = call(&["secrets", verb, "--file", file.to_str().unwrap()]);
    assert!(went && said.starts_with("epochs "), "{said}");
    relay.signal(Signal::SIGHUP);
}

async fn epoch_becomes(world: &World, epoch: f64) {
    let name = "medmesh_external_relay_secret_epoch{relay=\"hospital\"}";
    eventually("credentials under that epoch", async || {
        let now = sample(&world.node.admin_url(), name).await?;
        ((now - epoch).abs() < 0.5).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_visit_goes_through_a_standalone_relay_and_over_a_rotation_of_its_secret() {
    let relay = TurnProcess::start(&[MEDIA.to_owned()]).await;
    let world = World::with(&told_of(&relay)).await;
    let edge = EdgeNode::start(&world.node, "fra-1", "eu-central").await;
    let (clinician, patient, visit) = open_visit(&world).await;
    let (session, server) = eventually("a session with the relay", async || {
        entry(&patient, visit, &relay).await
    })
    .await;
    assert_eq!(server.urls, relay.urls());
    let opaque = server.username.split_once(':').unwrap().1;
    assert_eq!(opaque, session.participant_id.to_string(), "no person is named");
    let one = Participant::join_relayed(&session, &server).await.unwrap();
    let (session, other_server) = entry(&clinician, visit, &relay).await.unwrap();
    let other = Participant::join_relayed(&session, &other_server).await.unwrap();
    talk("both hear each other through the relay", [&one, &other]).await;
    assert_eq!(relay.sample("medmesh_turn_allocations").await, Some(2.0));
    assert_eq!(relay.sample("medmesh_turn_permissions").await, Some(2.0));
    let carried = relay
        .sample("medmesh_turn_packets_total{direction=\"to_client\"}")
        .await
        .unwrap();
    assert!(carried >= 60.0, "{carried} packets came through it");

    // The runbook, while they talk: a second secret, and later the first away.
    verb(&relay, "rotate").await;
    epoch_becomes(&world, 2.0).await;
    let (_, fresh) = entry(&patient, visit, &relay).await.unwrap();
    let of_epoch_1 = server.credential.expose();
    assert_eq!(fresh.username, server.username, "good for as long as the visit");
    assert_ne!(fresh.credential.expose(), of_epoch_1, "made with the new secret");
    talk("nothing is heard of the rotation", [&one, &other]).await;
    verb(&relay, "retire").await;
    eventually("credentials of the first secret are refused", async || {
        let refused = Relayed::allocate(&server).await.err()?;
        (refused == 401).then_some(())
    })
    .await;
    // They were made with it, and live on: refreshed, and still heard.
    for person in [&one, &other] {
        person.refresh();
        eventually("a refresh is answered", async || {
            person.refreshed().first().copied()
        })
        .await;
        assert_eq!(person.refreshed(), [0]);
    }
    talk("nor of its end", [&one, &other]).await;
    let (_, fresh) = entry(&patient, visit, &relay).await.unwrap();
    let late = Relayed::allocate(&fresh).await;
    assert!(late.is_ok(), "who comes now has credentials that are good");
    let alive = relay.sample("medmesh_turn_allocations").await.unwrap();
    assert!(alive >= 3.0, "none was lost: {alive}");
    let text = relay.log();
    assert!(!text.contains(opaque) && !text.contains(of_epoch_1), "{text}");
    drop((one, other));
    edge.stop().await;
    world.node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_died_or_drains_or_stands_elsewhere_is_not_handed_out() {
    let mut relay = TurnProcess::start(&[MEDIA.to_owned()]).await;
    let world = World::with(&told_of(&relay)).await;
    let edge = EdgeNode::start(&world.node, "fra-1", "eu-central").await;
    let (clinician, patient, visit) = open_visit(&world).await;
    let there = async |what: &str, wanted: bool| {
        eventually(what, async || {
            let session = patient.signaling_session(&join(visit, key())).await.ok()?;
            (session.ice_servers.is_empty() != wanted).then_some(())
        })
        .await;
    };
    there("the relay is handed out", true).await;
    relay.kill();
    there("a dead one is not", false).await;
    let down = "medmesh_external_relay_probes_total{relay=\"hospital\",result=\"unreachable\"}";
    assert!(sample(&world.node.admin_url(), down).await.unwrap() >= 2.0);
    relay.restart().await;
    there("it is back", true).await;

    // A visit that must stay elsewhere gets no relay here, even where its edge was chosen before.
    let admin = world.signed_in("admin").await;
    let before = admin.clinic_get().await.unwrap();
    let confine = |version, region: &str| {
        let update = ClinicUpdate {
            media_regions: Some([region.parse().unwrap()].into()),
            ..ClinicUpdate::default()
        };
        let admin = &admin;
        async move { admin.clinic_update(version, &update).await.unwrap() }
    };
    let elsewhere = confine(before.version, "eu-west").await;
    there("one outside of the clinic's regions is not", false).await;
    confine(elsewhere.version, "eu-central").await;
    there("where it may be, it is", true).await;

    // Draining: whoever is on it stays, nobody else is sent there.
    let (session, server) = entry(&clinician, visit, &relay).await.unwrap();
    let here = Participant::join_relayed(&session, &server).await.unwrap();
    eventually("connected", async || here.is_connected().then_some(())).await;
    relay.signal(Signal::SIGTERM);
    there("a draining one is not handed out", false).await;
    assert_eq!(relay.sample("medmesh_turn_allocations").await, Some(1.0));
    drop(here);
    edge.stop().await;
    world.node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_be_reached_is_taken_again_while_people_talk() {
    // Another edge's sockets only: nobody gets to ours.
    let relay = TurnProcess::start(&["192.0.2.9:10000-10007".to_owned()]).await;
    let world = World::with(&told_of(&relay)).await;
    let edge = EdgeNode::start(&world.node, "fra-1", "eu-central").await;
    let (_, patient, visit) = open_visit(&world).await;
    let (session, server) = eventually("a session with the relay", async || {
        entry(&patient, visit, &relay).await
    })
    .await;
    let allocated = Relayed::allocate(&server).await.unwrap();
    let media = "127.0.0.1:20000".parse().unwrap();
    assert_eq!(allocated.permit(media).await, 403);
    let file = relay.config_file();
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("192.0.2.9:10000-10007", MEDIA)).unwrap();
    relay.signal(Signal::SIGHUP);
    eventually("the edge is let in", async || {
        (allocated.permit(media).await == 0).then_some(())
    })
    .await;
    let person = Participant::join_relayed(&session, &server).await.unwrap();
    eventually("connected", async || person.is_connected().then_some(())).await;
    // A file that is wrong changes nothing.
    std::fs::write(&file, "[peers]\nmode = \"everything\"\n").unwrap();
    relay.signal(Signal::SIGHUP);
    eventually("the complaint", async || {
        relay.log().contains("the old ones stay").then_some(())
    })
    .await;
    assert_eq!(allocated.permit(media).await, 0);
    drop(person);
    edge.stop().await;
    world.node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_is_told_first_of_the_relay_beside_their_own_edge() {
    let media = [MEDIA.to_owned()];
    let (here, there) = (TurnProcess::start(&media).await, TurnProcess::start(&media).await);
    let world = World::with(&told_of_all(&[
        ("here", "eu-central", &here),
        ("there", "us-east", &there),
    ]))
    .await;
    let fra = EdgeNode::start(&world.node, "fra-1", "eu-central").await;
    let nyc = EdgeNode::start(&world.node, "nyc-1", "us-east").await;
    let (clinician, patient, visit) = open_visit(&world).await;
    // Without a path between them nobody is placed at the second one.
    linked(&operator(&world.node)).await;
    // One visit, two people on two sides of an ocean: each has both relays, and theirs comes first.
    let ways = [
        (&patient, [(&fra, &here), (&nyc, &there)]),
        (&clinician, [(&nyc, &there), (&fra, &here)]),
    ];
    for (person, [(own, first), (other, second)]) in ways {
        eventually("both relays, the nearer one first", async || {
            let wish = near(visit, own.id(), other.id());
            let session = person.signaling_session(&wish).await.ok()?;
            let placed = (session.edges.len() == 2).then_some(&session.edges)?;
            assert_eq!(placed[0].id, own.id());
            let offered: Vec<_> = session.ice_servers.iter().map(|server| &server.urls[0]).collect();
            let [first, second] = [first, second].map(|relay| relay.urls()[0].clone());
            // Until it was seen to serve, a relay is not handed out.
            (offered.len() == 2).then(|| assert_eq!(offered, [&first, &second]))
        })
        .await;
    }
    fra.stop().await;
    nyc.stop().await;
    world.node.stop().await;
}
