//! What is given out as FHIR is FHIR to somebody else: the copy of the audit log, and the copy of a record.

use std::path::{Path, PathBuf};

use medmesh_api_client::IdempotencyKey;
use medmesh_api_types::audit_view::{AuditFormat, AuditQuery};
use medmesh_api_types::break_glass::BreakGlassOpen;
use medmesh_api_types::care::{CareRole, CareTeamAdd, ReferralCreate};
use medmesh_api_types::consent::{ConsentDecision, ConsentPurpose, ConsentRecord, SignedBy};
use medmesh_api_types::disclosure::{DisclosureBasis, DisclosureCreate};
use medmesh_api_types::record_export::ExportForm;
use medmesh_base::{PersonId, Phi};
use medmesh_clinic::audit::{Action, Event, RolesHeld};
use medmesh_clinic::{Role, Roles};
use medmesh_fhir::{Person, Source, audit_event, bundle};
use medmesh_tests::fhir::faults;
use serde_json::Value;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::exports::{lived, ready};
use super::{World, eventually};

fn key() -> IdempotencyKey {
    IdempotencyKey::fresh()
}

fn written(dir: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let file = dir.join(name);
    std::fs::write(&file, bytes).unwrap();
    file
}

fn kinds(bundle: &[u8]) -> std::collections::BTreeSet<String> {
    let bundle: Value = serde_json::from_slice(bundle).unwrap();
    let entries = bundle["entry"].as_array().unwrap();
    let kinds = entries
        .iter()
        .map(|entry| entry["resource"]["resourceType"].as_str().unwrap().to_owned());
    kinds.collect()
}

/// Everything else a record can hold.
async fn filled(world: &World, patient: PersonId) {
    let (clinician, colleague) = (
        world.signed_in("clinician").await,
        world.signed_in("colleague").await,
    );
    let admin = world.signed_in("admin").await;
    admin
        .privacy_officer_set(world.clinic.person("admin"), 0)
        .await
        .unwrap();
    let other = world.clinic.person("colleague");
    let emergency = BreakGlassOpen {
        reason: Phi::new("found unconscious".into()),
        minutes: None,
    };
    colleague
        .break_glass_open(&key(), patient, &emergency)
        .await
        .unwrap();
    let member = CareTeamAdd {
        person_id: other,
        role: CareRole::Clinician,
        until_at: None,
    };
    clinician.care_team_add(&key(), patient, &member).await.unwrap();
    let referral = ReferralCreate {
        to_id: other,
        reason: Some(Phi::new("a second opinion".into())),
        until_at: None,
    };
    clinician
        .referral_create(&key(), patient, &referral)
        .await
        .unwrap();
    for decision in [ConsentDecision::Granted, ConsentDecision::Withdrawn] {
        let said = ConsentRecord {
            purpose: ConsentPurpose::Treatment,
            segment: medmesh_api_types::appointment::Segment::General,
            decision,
            signed_by: SignedBy::Witness,
            document: "treatment/1".into(),
            text_sha256: None,
            proof_sha256: None,
        };
        clinician.consent_record(&key(), patient, &said).await.unwrap();
    }
    let given = DisclosureCreate {
        disclosed_at: OffsetDateTime::now_utc() - Duration::DAY,
        recipient: Phi::new("County court".into()),
        address: Some(Phi::new("1 Main Street".into())),
        description: Phi::new("the visit's summary".into()),
        purpose: Phi::new("a subpoena".into()),
        basis: DisclosureBasis::Judicial,
    };
    admin.disclosure_create(&key(), patient, &given).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_clinic_and_a_patient_take_away_is_fhir_to_others() {
    let world = World::new().await;
    let patient = lived(&world).await;
    filled(&world, patient).await;
    let dir = tempfile::tempdir().unwrap();
    let own = world.signed_in("patient").await;
    let asked = own.record_export_create(&key(), patient).await.unwrap();
    let export = ready(&own, patient, asked.id).await;
    let record = own
        .record_export_download(patient, export.id, ExportForm::Fhir)
        .await
        .unwrap();
    for kind in [
        "Appointment",
        "AuditEvent",
        "CareTeam",
        "Communication",
        "Consent",
        "Encounter",
        "Organization",
        "Patient",
        "Provenance",
        "ServiceRequest",
        "Task",
    ] {
        assert!(kinds(&record).contains(kind), "{kind}: {:?}", kinds(&record));
    }
    let admin = world.signed_in("admin").await;
    let stranger = world.signed_in("second").await;
    // Something that was denied is in it, too.
    assert!(stranger.record_rights_get(patient).await.is_err());
    let mut log = Vec::new();
    eventually(async || {
        let copy = admin
            .audit_export(AuditFormat::Fhir, &AuditQuery::default())
            .await;
        log = copy.unwrap().bytes;
        String::from_utf8_lossy(&log).contains("denied: ")
    })
    .await;
    let files = [
        written(dir.path(), "record.json", &record),
        written(dir.path(), "log.json", &log),
    ];
    assert_eq!(faults(&files).await, Vec::<String>::new());
}

fn event(action: &str, n: u128) -> Event {
    Event {
        clinic_id: Uuid::from_u128(1),
        id: Uuid::from_u128(1000 + n),
        at: OffsetDateTime::UNIX_EPOCH + Duration::days(20_000),
        actor_kind: "person".into(),
        actor_id: Some(Uuid::from_u128(3)),
        session_id: Some(Uuid::from_u128(4)),
        action: action.into(),
        object_kind: "person".into(),
        object_id: Some(Uuid::from_u128(5)),
        patient_id: Some(Uuid::from_u128(6)),
        purpose: "emergency".into(),
        request_id: Uuid::from_u128(7),
        break_glass_id: Some(Uuid::from_u128(8)),
        denied_action: None,
        denied_reason: None,
        roles: Some(RolesHeld::new(Roles::default(), Roles::only(Role::Nurse))),
    }
}

/// Every act there is, with everything an event can have and with nothing of it.
#[tokio::test]
async fn every_act_is_an_audit_event_to_others_and_what_is_none_is_refused() {
    let source = Source {
        site: "Riverside",
        url: "https://clinic.example",
    };
    let person = Person {
        name: "Clara Clinician",
        roles: Roles::only(Role::Clinician),
    };
    let mut events = Vec::new();
    for (n, action) in (0_u128..).zip(Action::ALL) {
        let full = event(action.as_str(), 2 * n);
        let bare = Event {
            actor_kind: "upkeep".into(),
            actor_id: None,
            session_id: None,
            object_id: None,
            patient_id: None,
            break_glass_id: None,
            roles: None,
            id: Uuid::from_u128(1001 + 2 * n),
            ..full.clone()
        };
        events.push(audit_event(&full, Some(person), &source));
        events.push(audit_event(&bare, None, &source));
    }
    let denied = Event {
        denied_action: Some("visit_get".into()),
        denied_reason: Some("relation".into()),
        ..event("denied", 1_000)
    };
    events.push(audit_event(&denied, Some(person), &source));
    let all = bundle(events, Some("https://clinic.example/next".into()));
    let text = serde_json::to_string(&all).unwrap();
    let none = serde_json::to_string(&bundle(Vec::new(), None)).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let files = [
        written(dir.path(), "all.json", text.as_bytes()),
        written(dir.path(), "none.json", none.as_bytes()),
    ];
    assert_eq!(faults(&files).await, Vec::<String>::new());
    // It is not one that takes everything.
    for (from, to) in [
        ("\"recorded\":", "\"recordedAt\":"),
        ("\"requestor\":true", "\"requestor\":\"yes\""),
        ("\"observer\":", "\"viewer\":"),
        (
            "\"resourceType\":\"AuditEvent\"",
            "\"resourceType\":\"AuditNote\"",
        ),
    ] {
        assert!(text.contains(from), "{from}");
        let broken = written(dir.path(), "broken.json", text.replacen(from, to, 1).as_bytes());
        assert!(!faults(&[broken]).await.is_empty(), "{to}");
    }
}
