//! A session that is ended is without effect everywhere within a second.

use std::time::Duration;

use medmesh_base::ProblemCode;
use medmesh_tests::control::Wishes;
use tokio::time::Instant;

use super::live::{PATIENCE, next_visit};
use super::{World, refused};

/// How long an ended session may be of any effect.
const EFFECTIVE_WITHIN: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_device_that_is_signed_out_is_out_on_every_node_and_its_stream_is_cut() {
    // Without Redis, so that nobody tells the other node.
    let (world, second) = World::of_two(&Wishes::default()).await;
    let visit = world.booked_now().await.visit_id;
    let here = world.signed_in("patient").await;
    let there = second.signed_in_as(&world.clinic, "patient").await;
    let mut stream = there.visit_events(visit, None).await.unwrap();
    next_visit(&mut stream, PATIENCE).await;
    let devices = here.session_list().await.unwrap().items;
    assert_eq!(devices.len(), 2);
    let other = devices.iter().find(|device| !device.is_present).unwrap();

    here.session_revoke(other.id).await.unwrap();
    let ended = Instant::now();
    assert_eq!(refused(there.session().await), ProblemCode::Unauthenticated);
    let end = async { while stream.next().await.unwrap().is_some() {} };
    tokio::time::timeout_at(ended + EFFECTIVE_WITHIN, end)
        .await
        .expect("the stream ends");
    assert_eq!(here.session_list().await.unwrap().items.len(), 1);
    assert_eq!(
        refused(here.session_revoke(medmesh_base::SessionId::generate()).await),
        ProblemCode::NotFound
    );
}

#[tokio::test]
async fn all_other_devices_go_at_once_and_this_one_stays() {
    let world = World::new().await;
    let here = world.signed_in("patient").await;
    let others = [world.signed_in("patient").await, world.signed_in("patient").await];
    let somebody = world.signed_in("second").await;
    here.session_revoke_others().await.unwrap();
    for other in &others {
        assert_eq!(refused(other.session().await), ProblemCode::Unauthenticated);
    }
    here.session().await.unwrap();
    somebody.session().await.unwrap();
}
