//! A clinic's visits stay in the regions it names, however near another edge is.

use medmesh_api_types::clinic::ClinicUpdate;
use medmesh_api_types::signaling::{EdgeProbe, SessionRequest};
use medmesh_base::{EdgeId, ProblemCode, Region, VisitId};
use medmesh_clinic::{OVERRUN_MAX, audit::Action};
use medmesh_tests::edge::{EdgeNode, operator};
use sqlx::Connection as _;

use super::eventually;
use crate::clinic::visit::{join, key};
use crate::clinic::{World, refused};

fn regions(names: &[&str]) -> ClinicUpdate {
    let regions = names.iter().map(|name| name.parse().unwrap());
    ClinicUpdate {
        media_regions: Some(regions.collect()),
        ..ClinicUpdate::default()
    }
}

/// Somebody much nearer to `near` than to `far`.
pub(super) fn near(visit: VisitId, near: EdgeId, far: EdgeId) -> SessionRequest {
    let probe = |edge_id, rtt_ms| EdgeProbe { edge_id, rtt_ms };
    SessionRequest {
        probes: vec![probe(near, 3.0), probe(far, 140.0)],
        ..join(visit, key())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_visit_stays_where_the_clinic_wants_it() {
    let world = World::new().await;
    let fra = EdgeNode::start(&world.node, "fra-1", "eu-central").await;
    let nyc = EdgeNode::start(&world.node, "nyc-1", "us-east").await;
    let (clinician, admin) = (world.signed_in("clinician").await, world.signed_in("admin").await);
    let booked = world.booked_now().await;
    let visit = booked.visit_id;
    let anywhere = eventually("two edges to choose from", async || {
        let edges = clinician.signaling_candidates(visit).await.ok()?.edges;
        (edges.len() == 2).then_some(edges)
    })
    .await;
    assert!(anywhere.iter().any(|edge| edge.id == nyc.id()));

    let before = admin.clinic_get().await.unwrap();
    assert!(before.media_regions.is_empty(), "no clinic is confined by itself");
    let confined = admin
        .clinic_update(before.version, &regions(&["eu-central", "eu-west"]))
        .await
        .unwrap();
    assert_eq!(confined.media_regions.len(), 2);

    let offered = clinician.signaling_candidates(visit).await.unwrap().edges;
    assert_eq!(offered.len(), 1, "nobody times an edge they cannot have");
    assert_eq!(offered[0].id, fra.id());
    let request = near(visit, nyc.id(), fra.id());
    let session = clinician.signaling_session(&request).await.unwrap();
    let placed: Vec<EdgeId> = session.edges.iter().map(|edge| edge.id).collect();
    assert_eq!(
        placed,
        [fra.id()],
        "neither as home nor as fall-back, though New York is nearer"
    );

    // Tokens, and after a moment's grace the room, end with the visit's window.
    let closes_at = booked.ends_at + OVERRUN_MAX;
    assert_eq!(
        session.resume_expires_at.unix_timestamp(),
        closes_at.unix_timestamp()
    );
    let sessions = operator(&world.node).sessions(None).await.unwrap();
    let room = &sessions.rooms[0];
    assert_eq!(room.id, session.room_id);
    let grace = room.expires_at - closes_at;
    assert!(
        grace > time::Duration::minutes(1) && grace <= time::Duration::minutes(10),
        "{grace}"
    );

    // A visit of a clinic whose regions hold no edge has nowhere to be, and says so.
    let version = confined.version;
    admin
        .clinic_update(version, &regions(&["ap-south"]))
        .await
        .unwrap();
    let colleague = world.signed_in("colleague").await;
    let booking = world.booking("second", "colleague", 1);
    let fresh = medmesh_api_client::IdempotencyKey::fresh();
    let second = colleague.appointment_create(&fresh, &booking).await.unwrap();
    let nowhere = colleague
        .signaling_session(&near(second.visit_id, nyc.id(), fra.id()))
        .await;
    assert_eq!(refused(nowhere), ProblemCode::OutsideResidency);
    assert!(
        colleague
            .signaling_candidates(second.visit_id)
            .await
            .unwrap()
            .edges
            .is_empty()
    );
    // Whoever is in a visit already stays in it.
    let again = clinician.signaling_session(&request).await.unwrap();
    assert_eq!(again.edges[0].id, fra.id());
    fra.stop().await;
    nyc.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn admins_alone_say_where_and_each_change_is_to_what_was_seen() {
    let world = World::new().await;
    let admin = world.signed_in("admin").await;
    for login in ["clinician", "patient"] {
        let other = world.signed_in(login).await;
        assert_eq!(
            refused(other.clinic_get().await),
            ProblemCode::Forbidden,
            "{login}"
        );
        let changed = other.clinic_update(1, &regions(&["eu-central"])).await;
        assert_eq!(refused(changed), ProblemCode::Forbidden, "{login}");
    }
    let before = admin.clinic_get().await.unwrap();
    let many: Vec<Region> = (0..17).map(|n| format!("region-{n}").parse().unwrap()).collect();
    let many = ClinicUpdate {
        media_regions: Some(many),
        ..ClinicUpdate::default()
    };
    assert_eq!(
        refused(admin.clinic_update(before.version, &many).await),
        ProblemCode::InvalidRequest
    );
    let after = admin
        .clinic_update(before.version, &regions(&["eu-central"]))
        .await
        .unwrap();
    assert!(after.version > before.version);
    assert_eq!(admin.clinic_get().await.unwrap(), after);
    assert_eq!(
        refused(admin.clinic_update(before.version, &regions(&[])).await),
        ProblemCode::VersionMismatch
    );
    assert_eq!(
        admin.clinic_get().await.unwrap(),
        after,
        "what was refused changed nothing"
    );
    let unchanged = admin
        .clinic_update(after.version, &ClinicUpdate::default())
        .await
        .unwrap();
    assert_eq!(
        unchanged.media_regions, after.media_regions,
        "what is absent stays"
    );

    let mut owner = sqlx::PgConnection::connect(&world.scratch.admin_url)
        .await
        .unwrap();
    let leaves: i64 = sqlx::query_scalar("SELECT count(*) FROM audit WHERE action = $1 AND object_id = $2")
        .bind(Action::ClinicUpdate.as_str())
        .bind(world.clinic.id.as_uuid())
        .fetch_one(&mut owner)
        .await
        .unwrap();
    assert_eq!(leaves, 2, "one leaf for each change, none for a refusal");
}
