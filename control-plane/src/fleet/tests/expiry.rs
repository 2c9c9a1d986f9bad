use std::time::Duration;

use medmesh_wire::fleet::edge_command::Command as Down;
use time::OffsetDateTime;

use super::node::{Control, eventually, soon};
use super::service::{home, wish};
use super::*;
use crate::media::{Placer as _, ROOM_GRACE};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_ends_with_its_visit_and_lasts_longer_when_the_visit_is_moved() {
    let control = Control::start().await;
    let fleet = &control.fleet;
    let edge = control.enrol("fra-1", "eu").await;
    let (mut side, reports) = edge.keep_reporting().await;
    eventually(async || (!fleet.candidates(&[]).await.ok()?.is_empty()).then_some(())).await;

    let later = OffsetDateTime::now_utc() + time::Duration::hours(2);
    let mut moved = wish(1, 1, &[(&edge, 10)]);
    let first = fleet.place(&moved).await.unwrap();
    let ends_at = |number| fleet.state().rooms[&room(number)].expires_at;
    let unix_ms = |at: OffsetDateTime| u64::try_from(at.unix_timestamp_nanos() / 1_000_000).unwrap();
    assert_eq!(ends_at(1), unix_ms(moved.until + ROOM_GRACE));
    moved.until = later;
    let again = fleet.place(&moved).await.unwrap();
    assert_eq!(home(&again), home(&first), "who comes back stays where they are");
    assert_eq!(
        ends_at(1),
        unix_ms(later + ROOM_GRACE),
        "and the room lasts as long as the visit"
    );

    let mut over = wish(2, 2, &[(&edge, 10)]);
    over.until = OffsetDateTime::now_utc() - ROOM_GRACE - time::Duration::seconds(1);
    fleet
        .place(&over)
        .await
        .expect_err("a visit whose time is up gets no room");
    assert!(!fleet.state().rooms.contains_key(&room(2)));

    over.until = OffsetDateTime::now_utc() - ROOM_GRACE + time::Duration::milliseconds(1_500);
    fleet.place(&over).await.unwrap();
    let closed = soon(async {
        loop {
            if let Some(Down::CloseRoom(close)) = side.next().await {
                return close;
            }
        }
    })
    .await;
    assert_eq!(
        (closed.room_id, closed.reason.as_str()),
        (room(2).to_vec(), "expired")
    );
    assert!(fleet.state().rooms.contains_key(&room(1)), "and the others go on");
    reports.finish(Duration::from_secs(5)).await;
    edge.stop().await;
    control.stop().await;
}
