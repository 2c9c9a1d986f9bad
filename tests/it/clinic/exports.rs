//! A patient takes a copy of everything their record holds: made by a job, signed so that anybody can
//! verify it with the published keys alone, sealed while it lies about, gone after a week.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use medmesh_api_client::{Clinic, IdempotencyKey};
use medmesh_api_types::appointment::AppointmentCancel;
use medmesh_api_types::correction::CorrectionCreate;
use medmesh_api_types::record_export::{ExportForm, ExportState, RecordExport};
use medmesh_base::{PersonId, Phi, ProblemCode, RecordExportId};
use serde_json::Value;

use super::{World, eventually, refused};

fn key() -> IdempotencyKey {
    IdempotencyKey::fresh()
}

/// A copy, once it is ready.
pub(super) async fn ready(client: &Clinic, patient: PersonId, id: RecordExportId) -> RecordExport {
    let mut found = None;
    eventually(async || {
        let export = client.record_export_get(patient, id).await.unwrap();
        let is_ready = export.state == ExportState::Ready;
        found = Some(export);
        is_ready
    })
    .await;
    found.unwrap()
}

/// A record with something of most kinds in it.
pub(super) async fn lived(world: &World) -> PersonId {
    let patient = world.clinic.person("patient");
    let (own, clinician) = (
        world.signed_in("patient").await,
        world.signed_in("clinician").await,
    );
    let booked = world.booked_now().await;
    own.visit_check_in(booked.visit_id).await.unwrap();
    own.message_create(&key(), booked.visit_id, "it began on a Monday in Tangier")
        .await
        .unwrap();
    let later = clinician
        .appointment_create(&key(), &world.booking("patient", "clinician", 120))
        .await
        .unwrap();
    let why = AppointmentCancel {
        reason: Some(Phi::new("feeling better".into())),
    };
    clinician
        .appointment_cancel(later.id, later.version, &why)
        .await
        .unwrap();
    let wrong = CorrectionCreate {
        what: Phi::new("the left knee".into()),
        why: Phi::new("it is the right one".into()),
    };
    own.correction_create(&key(), patient, &wrong).await.unwrap();
    patient
}

/// As somebody else verifies it, with nothing but RFC 7515, RFC 7797 and the published keys.
fn is_signed(keys: &[Value], signature: &str, bytes: &[u8]) -> bool {
    let decode = |text: &str| BASE64_URL_SAFE_NO_PAD.decode(text).unwrap();
    let (header, signature) = signature.split_once("..").unwrap();
    let said: Value = serde_json::from_slice(&decode(header)).unwrap();
    assert_eq!(
        (&said["alg"], &said["b64"], &said["crit"][0]),
        (&"ES256".into(), &false.into(), &"b64".into())
    );
    let key = keys.iter().find(|key| key["kid"] == said["kid"]).unwrap();
    let coordinate = |name: &str| decode(key[name].as_str().unwrap());
    let point = [vec![4], coordinate("x"), coordinate("y")].concat();
    let signed = [header.as_bytes(), b".", bytes].concat();
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
        .verify(&signed, &decode(signature))
        .is_ok()
}

fn objects(world: &World) -> Vec<PathBuf> {
    fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                walk(&path, found);
            } else {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&world.node.site().dir().join("objects/exports"), &mut found);
    found
}

async fn sql(world: &World, statement: &'static str) {
    sqlx::raw_sql(statement)
        .execute(&mut world.admin().await)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_patient_takes_everything_and_anybody_can_tell_that_it_is_whole() {
    let world = World::new().await;
    let patient = lived(&world).await;
    let own = world.signed_in("patient").await;
    let once = key();
    let asked = own.record_export_create(&once, patient).await.unwrap();
    let again = own.record_export_create(&once, patient).await.unwrap();
    assert_eq!((asked.id, asked.state), (again.id, ExportState::Queued));
    let export = ready(&own, patient, asked.id).await;
    let json = own
        .record_export_download(patient, export.id, ExportForm::Json)
        .await
        .unwrap();
    let fhir = own
        .record_export_download(patient, export.id, ExportForm::Fhir)
        .await
        .unwrap();

    // What was published is all that is needed, and every bit counts.
    let keys = world.node.client().jwks_get().await.unwrap().keys;
    for (bytes, copy) in [(&json, export.json.unwrap()), (&fhir, export.fhir.unwrap())] {
        assert_eq!(copy.size_bytes, bytes.len() as u64);
        assert!(is_signed(&keys, &copy.signature, bytes));
        let mut other = bytes.clone();
        let middle = other.len() / 2;
        other[middle] ^= 1;
        assert!(!is_signed(&keys, &copy.signature, &other));
        assert!(!is_signed(&keys, &copy.signature, &bytes[..bytes.len() - 1]));
    }
    assert_whole_json(&serde_json::from_slice(&json).unwrap());
    assert_whole_bundle(&serde_json::from_slice(&fhir).unwrap());

    // Nothing of it is plain where it lies.
    let stored = objects(&world);
    assert_eq!(stored.len(), 2, "{stored:?}");
    for path in stored {
        let bytes = std::fs::read(&path).unwrap();
        for word in ["Paula", "Tangier", "cough", "left knee", "resourceType"] {
            let is_there = bytes.windows(word.len()).any(|part| part == word.as_bytes());
            assert!(!is_there, "{word} in {}", path.display());
        }
    }
    let leaves: Vec<(String, String, i64)> = sqlx::query_as(
        "SELECT action, actor_kind, count(*) FROM audit WHERE patient_id = $1
             AND (actor_kind = 'export' OR action LIKE 'record_export%' AND action <> 'record_export_read') GROUP BY action, actor_kind ORDER BY action",
    )
    .bind(patient.as_uuid())
    .fetch_all(&mut world.admin().await)
    .await
    .unwrap();
    let leaf = |action: &str, who: &str, count| (action.to_owned(), who.to_owned(), count);
    assert_eq!(
        leaves,
        [
            leaf("record_export", "person", 2),
            leaf("record_export_build", "export", 1),
            leaf("record_export_create", "person", 1),
        ],
        "one leaf stands for all that was read to make it"
    );
}

fn assert_whole_json(record: &Value) {
    assert_eq!(record["format"], "medmesh.record/1");
    assert_eq!(record["person"]["display_name"], "Paula Patient");
    assert_eq!(record["person"]["roles"][0], "patient");
    assert!(
        record["devices"]
            .as_array()
            .is_some_and(|devices| !devices.is_empty())
    );
    let appointments = record["appointments"].as_array().unwrap();
    assert_eq!(appointments.len(), 2);
    assert_eq!(appointments[0]["reason"], "a persistent cough");
    assert_eq!(
        appointments[0]["messages"][0]["body"],
        "it began on a Monday in Tangier"
    );
    assert_eq!(
        appointments[0]["visit"]["participants"].as_array().unwrap().len(),
        2
    );
    assert_eq!(appointments[1]["cancel_reason"], "feeling better");
    assert_eq!(record["corrections"][0]["what"], "the left knee");
    assert!(record["accesses"].as_array().unwrap().len() > 5);
    assert_eq!(record["notes"], serde_json::json!([]));
    for list in [
        "care_team",
        "referrals",
        "consents",
        "break_glass",
        "disclosures",
        "exports",
    ] {
        assert!(record[list].is_array(), "{list}");
    }
    let text = record.to_string();
    for secret in ["token", "secret", "csrf", "phc"] {
        assert!(!text.contains(secret), "{secret}");
    }
}

fn assert_whole_bundle(bundle: &Value) {
    assert_eq!(
        (&bundle["resourceType"], &bundle["type"]),
        (&"Bundle".into(), &"collection".into())
    );
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    let mut urls = std::collections::BTreeSet::new();
    for entry in bundle["entry"].as_array().unwrap() {
        *kinds
            .entry(entry["resource"]["resourceType"].as_str().unwrap())
            .or_default() += 1;
        assert!(urls.insert(entry["fullUrl"].as_str().unwrap()), "{entry}");
    }
    for (kind, count) in [
        ("Patient", 1),
        ("Organization", 1),
        ("Appointment", 2),
        ("Encounter", 2),
        ("Communication", 1),
        ("Task", 1),
        ("Provenance", 1),
    ] {
        assert_eq!(kinds.get(kind), Some(&count), "{kind}: {kinds:?}");
    }
    assert!(kinds["AuditEvent"] > 5, "{kinds:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_is_its_patients_alone_and_for_a_week() {
    let world = World::new().await;
    let patient = world.clinic.person("patient");
    let own = world.signed_in("patient").await;
    let id = own.record_export_create(&key(), patient).await.unwrap().id;
    ready(&own, patient, id).await;
    for (who, told) in [
        ("second", ProblemCode::NotFound),
        ("admin", ProblemCode::Forbidden),
        ("clinician", ProblemCode::Forbidden),
    ] {
        let other = world.signed_in(who).await;
        assert_eq!(
            refused(other.record_export_create(&key(), patient).await),
            told,
            "{who}"
        );
        assert_eq!(refused(other.record_export_get(patient, id).await), told, "{who}");
        let taken = other.record_export_download(patient, id, ExportForm::Json).await;
        assert_eq!(refused(taken), told, "{who}");
    }
    // Under one's own record there is no such copy of another's.
    let second = world.signed_in("second").await;
    let theirs = world.clinic.person("second");
    let taken = second.record_export_download(theirs, id, ExportForm::Fhir).await;
    assert_eq!(refused(taken), ProblemCode::NotFound);
    // Asking and taking need a fresh proof, looking does not.
    sql(
        &world,
        "UPDATE session SET authenticated_at = authenticated_at - interval '1 hour'",
    )
    .await;
    let stale = own.record_export_download(patient, id, ExportForm::Json).await;
    assert_eq!(refused(stale), ProblemCode::StepUpRequired);
    assert_eq!(
        refused(own.record_export_create(&key(), patient).await),
        ProblemCode::StepUpRequired
    );
    own.record_export_get(patient, id).await.unwrap();
    // There are never more than five to be taken.
    let own = world.signed_in("patient").await;
    for _ in 0..4 {
        own.record_export_create(&key(), patient).await.unwrap();
    }
    assert_eq!(
        refused(own.record_export_create(&key(), patient).await),
        ProblemCode::StateConflict
    );
    // Its time is over: at once for whoever asks, and its objects go with the next turn of the job.
    sql(
        &world,
        "UPDATE record_export SET ready_at = ready_at - interval '8 days', expires_at = expires_at - interval '8 days'
             WHERE state = 'ready';
         UPDATE job SET due_at = due_at - interval '8 days' WHERE kind = 'record_export_remove'",
    )
    .await;
    assert_eq!(
        own.record_export_get(patient, id).await.unwrap().state,
        ExportState::Gone
    );
    let late = own.record_export_download(patient, id, ExportForm::Json).await;
    assert_eq!(refused(late), ProblemCode::NotFound);
    let folder = id.to_string();
    eventually(async || {
        !objects(&world)
            .iter()
            .any(|path| path.to_string_lossy().contains(&folder))
    })
    .await;
}
