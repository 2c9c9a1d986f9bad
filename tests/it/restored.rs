//! A database that was put back under nodes that do not know it yet: nothing of who was erased is shown,
//! not even for a moment.

use std::path::Path;

use medmesh_api_client::Clinic;
use medmesh_api_types::person::PersonQuery;
use medmesh_api_types::rights::RecordRightsSet;
use medmesh_base::ProblemCode;
use medmesh_tests::control::{ControlNode, Site, TestClinic, Wishes};
use medmesh_tests::postgres::Scratch;
use medmesh_tests::s3::S3;
use serde_json::Value;
use sqlx::{Connection as _, PgConnection};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::clinic::{eventually, plain_http, ready, refused};

/// The way to the object storage, which can be shut.
struct Gate {
    url: String,
    is_open: watch::Sender<bool>,
}

impl Gate {
    /// Open.
    async fn to(url: &str) -> Self {
        let to = url.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (is_open, seen) = watch::channel(true);
        tokio::spawn(async move {
            while let Ok((mut from, _)) = listener.accept().await {
                let (to, mut seen) = (to.clone(), seen.clone());
                tokio::spawn(async move {
                    let mut to = TcpStream::connect(to).await.unwrap();
                    // Either end means the same: whoever asked gets no answer.
                    tokio::select! {
                        _ = seen.wait_for(|is_open| !is_open) => {}
                        _ = tokio::io::copy_bidirectional(&mut from, &mut to) => {}
                    }
                });
            }
        });
        Self { url, is_open }
    }
}

/// What a node says of its readiness.
async fn readiness(node: &ControlNode) -> (u16, Value) {
    let answer = plain_http().get(format!("{}/readyz", node.admin_url())).send();
    let answer = answer.await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

/// The names an admin sees.
async fn names(admin: &Clinic) -> Vec<String> {
    let people = admin.person_list(&PersonQuery::default()).await.unwrap().items;
    let names = people.iter().map(|person| person.display_name.expose().clone());
    names.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fresh_node_opens_nobodys_record_before_it_knows_who_is_erased() {
    let mut s3 = S3::start(Path::new(env!("CARGO_TARGET_TMPDIR")), "audit");
    s3.tell("plain everything");
    let gate = Gate::to(&s3.url).await;
    let (scratch, dir) = (Scratch::database().await.unwrap(), tempfile::tempdir().unwrap());
    let clinic = TestClinic::open(&scratch, "riverside").await;
    let objects = s3.objects_in("everything", dir.path(), None);
    let wishes = Wishes {
        objects: Some(objects.replace(&s3.url, &gate.url)),
        ..Wishes::default()
    };
    let site = Site::new(1);
    let node = ControlNode::start_in(&site, 1, &scratch, &wishes).await;
    ready(&node).await;
    let mut database = PgConnection::connect(&scratch.admin_url).await.unwrap();
    let backup = "CREATE TABLE kept_person AS SELECT * FROM person; CREATE TABLE kept_key AS SELECT * FROM patient_key";
    sqlx::raw_sql(backup).execute(&mut database).await.unwrap();
    let goes = RecordRightsSet {
        restricted: false,
        erasure: true,
    };
    let own = node.signed_in_as(&clinic, "second").await;
    own.record_rights_set(clinic.person("second"), 0, goes)
        .await
        .unwrap();
    let entry = format!("count everything:erasures/{}", clinic.id);
    eventually(async || s3.tell(&entry)["objects"] == 1).await;
    node.stop().await;

    // Everything stands still, the backup is put back, and the storage with the register is away.
    sqlx::raw_sql(
        "DELETE FROM record_rights; DELETE FROM job;
         UPDATE person p SET display_name = k.display_name, email = k.email, seal_version = k.seal_version,
             active = true, erased_at = NULL FROM kept_person k WHERE k.id = p.id AND p.erased_at IS NOT NULL;
         INSERT INTO patient_key SELECT * FROM kept_key ON CONFLICT DO NOTHING",
    )
    .execute(&mut database)
    .await
    .unwrap();
    gate.is_open.send_replace(false);
    let node = ControlNode::start_in(&site, 1, &scratch, &wishes).await;
    eventually(async || {
        let (status, said) = readiness(&node).await;
        assert!(status == 503 && said["erasures"] == false, "{said}");
        said["database"] == true && said["joined"] == true
    })
    .await;
    let admin = node.signed_in_as(&clinic, "admin").await;
    let shown = admin.person_list(&PersonQuery::default()).await;
    assert_eq!(refused(shown), ProblemCode::Unavailable);
    let staff = admin.clinic_get().await;
    assert!(staff.is_ok(), "what is nobody's record is there: {staff:?}");

    gate.is_open.send_replace(true);
    ready(&node).await;
    assert_eq!(readiness(&node).await.1["erasures"], true);
    let shown = names(&admin).await;
    assert!(shown.iter().any(|name| name == "Paula Patient"), "{shown:?}");
    assert!(!shown.iter().any(|name| name == "Serge Second"), "{shown:?}");
    // The storage may go away again: who runs knows what there is to know.
    gate.is_open.send_replace(false);
    assert_eq!(readiness(&node).await.0, 200);
    assert!(names(&admin).await.len() > 3);
    gate.is_open.send_replace(true);
    node.stop().await;
}
