//! A patient's record goes, through the whole stack: asked for, done by a job, gone everywhere, and
//! the audit log still stands.

use std::time::Duration;

use medmesh_api_client::Operator;
use medmesh_api_types::person::PatientSearch;
use medmesh_api_types::rights::RecordRightsSet;
use medmesh_base::{Phi, ProblemCode};
use medmesh_tests::control::PASSWORD;

use super::{World, refused};

const GOES: RecordRightsSet = RecordRightsSet {
    restricted: false,
    erasure: true,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_goes_at_the_patients_word_and_the_log_still_stands() {
    let world = World::new().await;
    let second = world.clinic.person("second");
    let own = world.signed_in("second").await;
    let admin = world.signed_in("admin").await;
    let search = PatientSearch {
        q: Phi::new("Serge Second".into()),
        limit: None,
    };
    assert_eq!(admin.patient_search(&search).await.unwrap().items.len(), 1);
    let nothing = own.record_rights_get(second).await.unwrap();
    assert_eq!((nothing.version, nothing.erasure), (0, None));
    assert_eq!(
        refused(admin.record_rights_get(second).await),
        ProblemCode::Forbidden
    );
    assert_eq!(
        refused(admin.record_rights_set(second, 0, GOES).await),
        ProblemCode::Forbidden
    );
    let stranger = world.signed_in("third").await;
    assert_eq!(
        refused(stranger.record_rights_get(second).await),
        ProblemCode::NotFound
    );
    assert_eq!(
        refused(own.record_rights_set(second, 5, GOES).await),
        ProblemCode::VersionMismatch
    );
    // Never treated: the law keeps nothing, and the job does it at once.
    let asked = own.record_rights_set(second, 0, GOES).await.unwrap();
    assert!(asked.restricted_at.is_some() && asked.erasure.is_some());
    let gone = "SELECT EXISTS (SELECT FROM person WHERE erased_at IS NOT NULL)
        AND NOT EXISTS (SELECT FROM job WHERE kind = 'record_erase')";
    let mut database = world.admin().await;
    let waiting = async {
        while !sqlx::query_scalar::<_, bool>(gone)
            .fetch_one(&mut database)
            .await
            .unwrap()
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting)
        .await
        .expect("the job is done");
    assert_eq!(refused(own.session().await), ProblemCode::Unauthenticated);
    let again = world
        .node
        .client()
        .login(&world.clinic.email("second"), PASSWORD)
        .await;
    assert_eq!(refused(again), ProblemCode::LoginFailed);
    assert!(admin.patient_search(&search).await.unwrap().items.is_empty());
    let operator = Operator::new(&world.node.url(), world.node.site().operator_token().trim(), None).unwrap();
    let sound = async {
        loop {
            let verdict = operator.audit_verify(world.clinic.id).await;
            if verdict
                .as_ref()
                .is_ok_and(|verdict| verdict.is_sound && verdict.leaves_checked > 0)
            {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), sound)
        .await
        .expect("the log is sound");
}
