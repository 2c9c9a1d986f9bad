//! A patient's record goes, through the whole stack: asked for, done by a job, gone everywhere, and
//! the audit log still stands.

use std::time::Duration;

use medmesh_api_client::Operator;
use medmesh_api_types::person::{PatientSearch, PersonQuery};
use medmesh_api_types::rights::RecordRightsSet;
use medmesh_base::{Phi, ProblemCode};
use medmesh_tests::control::PASSWORD;

use super::{World, plain_http, refused};

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

/// Found by name: how many, in an emergency or not.
async fn found(world: &World, login: &str, is_emergency: bool) -> usize {
    let (cookie, csrf) = world.credentials(login).await;
    let url = format!("{}/v1/patients/search", world.node.url());
    let mut request = plain_http()
        .post(url)
        .header("cookie", cookie)
        .header("x-csrf-token", csrf)
        .json(&serde_json::json!({"q": "Paula Patient"}));
    if is_emergency {
        request = request.header("x-purpose-of-use", "emergency");
    }
    let answer = request.send().await.unwrap();
    assert!(
        answer.status().is_success(),
        "{login}: {}",
        answer.text().await.unwrap()
    );
    let people: serde_json::Value = answer.json().await.unwrap();
    people["items"].as_array().unwrap().len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whose_record_rests_is_in_no_list_but_theirs_who_meet_them() {
    let world = World::new().await;
    let patient = world.clinic.person("patient");
    world.booked_now().await;
    let admin = world.signed_in("admin").await;
    let listed = async |client: &medmesh_api_client::Clinic| {
        let people = client.person_list(&PersonQuery::default()).await.unwrap();
        people.items.iter().any(|person| person.id == patient)
    };
    let colleague = world.signed_in("colleague").await;
    assert!(listed(&admin).await && listed(&colleague).await);
    assert_eq!(found(&world, "colleague", false).await, 1);
    let rests = RecordRightsSet {
        restricted: true,
        erasure: false,
    };
    let own = world.signed_in("patient").await;
    own.record_rights_set(patient, 0, rests).await.unwrap();
    assert!(!listed(&admin).await && !listed(&colleague).await);
    assert_eq!(found(&world, "admin", false).await, 0);
    assert_eq!(found(&world, "colleague", false).await, 0);
    // Who meets them does, and so does an emergency, which the patient can see.
    assert!(listed(&world.signed_in("clinician").await).await);
    assert_eq!(found(&world, "clinician", false).await, 1);
    assert_eq!(found(&world, "colleague", true).await, 1);
    let seen: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM audit WHERE patient_id = $1 AND action = 'person_read' AND purpose = 'emergency'",
    )
    .bind(patient.as_uuid())
    .fetch_one(&mut world.admin().await)
    .await
    .unwrap();
    assert_eq!(seen, 1);
    // Whoever looks after privacy knows of it, and lifting it brings it back.
    admin
        .privacy_officer_set(world.clinic.person("admin"), 0)
        .await
        .unwrap();
    assert!(listed(&admin).await);
    let as_usual = RecordRightsSet {
        restricted: false,
        erasure: false,
    };
    own.record_rights_set(patient, 1, as_usual).await.unwrap();
    assert!(listed(&colleague).await);
}
