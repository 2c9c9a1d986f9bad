//! One participant, two edges: the older connection goes when the newer one is up.

use std::net::SocketAddr;
use std::time::Duration;

use super::client::Client;
use super::world::World;
use crate::LeaveReason;

const SECOND: Duration = Duration::from_secs(1);

/// Three linked edges: a patient on the first, a clinician on the third.
fn visit() -> (World, usize, usize) {
    let mut world = World::new(3);
    let (patient, clinician) = (world.join(0), world.join(2));
    for (a, b) in [(0, 1), (0, 2), (1, 2)] {
        world.link(a, b);
    }
    world.settle();
    for client in [patient, clinician] {
        world.clients[client].mic = true;
        world.clients[client].camera = [true; 3];
    }
    world.run(2 * SECOND);
    (world, patient, clinician)
}

fn sessions(world: &World, node: usize) -> usize {
    world.nodes[node].sfu.sessions().count()
}

fn roster(world: &World, client: usize) -> usize {
    let said = world.clients[client].said("roster").unwrap();
    said["participants"].as_array().unwrap().len()
}

#[test]
fn who_moved_is_let_go_of_where_they_were_and_seen_once() {
    let (mut world, patient, clinician) = visit();
    let who = world.clients[patient].participant;
    let (moved, joined) = world.try_join(1, 1, |join| join.participant = who);
    joined.unwrap();
    world.clients[moved].mic = true;
    world.clients[moved].camera = [true; 3];
    world.run(SECOND);
    assert_eq!(sessions(&world, 0), 0, "no ghost is left behind");
    assert_eq!(world.nodes[0].sfu.stats().left[&LeaveReason::Replaced], 1);
    assert_eq!(
        world.clients[patient].said("ended").unwrap()["reason"],
        "replaced"
    );
    assert_eq!(sessions(&world, 1), 1, "the one in use stays");
    assert_eq!(roster(&world, clinician), 2, "and is one person to the others");
    let tag = world.clients[moved].tag;
    let watching = &world.clients[clinician];
    let before = watching.got(watching.video_slot(0)).len();
    world.run(2 * SECOND);
    let watching = &world.clients[clinician];
    let after = &watching.got(watching.video_slot(0))[before..];
    assert!(after.len() > 30 && after.iter().all(|packet| packet.sender() == tag));

    // And back again, as somebody with a bad network does.
    let (back, joined) = world.try_join(0, 1, |join| join.participant = who);
    joined.unwrap();
    world.run(SECOND);
    assert_eq!((sessions(&world, 0), sessions(&world, 1)), (1, 0));
    assert!(world.clients[back].said("ended").is_none());
    assert_eq!(roster(&world, clinician), 2);
}

#[test]
fn nobody_is_let_go_of_before_the_new_connection_is_up() {
    let (mut world, patient, clinician) = visit();
    let who = world.clients[patient].participant;
    // An offer that was answered, by a browser whose packets never arrive.
    let (silent, offer) = Client::new(world.now, 9, SocketAddr::from(([10, 0, 0, 99], 5_000)));
    let mut join = world.join_of(&silent, offer, 1);
    join.participant = who;
    let now = world.now;
    world.nodes[1].sfu.handle_join(now, join).unwrap();
    world.drain(1);
    world.run(2 * SECOND);
    assert_eq!((sessions(&world, 0), sessions(&world, 1)), (1, 1));
    assert!(world.clients[patient].said("ended").is_none());
    assert_eq!(roster(&world, clinician), 2);
    let tag = world.clients[patient].tag;
    let watching = &world.clients[clinician];
    let latest = watching.got(watching.video_slot(0)).last().unwrap();
    assert_eq!(latest.sender(), tag, "the picture goes on meanwhile");
}

#[test]
fn who_is_sent_away_and_moves_at_once_leaves_no_ghost() {
    let mut world = World::new(2);
    let patient = world.join(0);
    world.link(0, 1);
    world.settle();
    world.run(Duration::from_millis(100));
    let who = world.clients[patient].participant;
    let now = world.now;
    world.nodes[0].sfu.handle_migrate(now, None, "drain");
    world.drain(0);
    let (_, joined) = world.try_join(1, 1, |join| join.participant = who);
    joined.unwrap();
    world.run(SECOND);
    assert_eq!((sessions(&world, 0), sessions(&world, 1)), (0, 1));
}
