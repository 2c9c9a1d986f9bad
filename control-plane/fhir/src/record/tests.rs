use medmesh_base::{
    AppointmentId, ClinicId, ConsentId, CorrectionId, DisclosureId, MessageId, ParticipantId, PersonId, Phi,
    RecordExportId, RoomId, VisitId,
};
use medmesh_clinic::audit::Purpose;
use medmesh_clinic::{
    Appointment, AppointmentStatus, Consent, ConsentDecision, Correction, CorrectionPhase, Decided,
    Disagreement, Disclosure, DisclosureBasis, Locale, Message, Participant, ParticipantRole,
    ParticipantState, Person, PersonRef, Phase, Role, Roles, Segment, Signature, SignedBy, Slot, Version,
    Visit,
};
use time::Duration;

use super::*;

fn somebody_called(name: &str) -> PersonRef {
    PersonRef {
        id: PersonId::generate(),
        display_name: Phi::new(name.into()),
    }
}

fn at(hours: i64) -> OffsetDateTime {
    OffsetDateTime::UNIX_EPOCH + Duration::hours(hours)
}

/// No resource holds what FHIR forbids: null, and empty strings, lists or objects.
fn assert_full(value: &Value, path: &str) {
    assert!(!is_empty(value), "{path} is empty");
    match value {
        Value::Object(members) => members
            .iter()
            .for_each(|(name, member)| assert_full(member, &format!("{path}.{name}"))),
        Value::Array(items) => items.iter().for_each(|item| assert_full(item, path)),
        _ => {}
    }
}

fn checked(entry: &Entry, kind: &str) -> Value {
    let resource = entry.resource().clone();
    assert_full(&resource, kind);
    assert_eq!(resource["resourceType"], kind);
    assert_eq!(
        entry.full_url,
        format!("urn:uuid:{}", resource["id"].as_str().unwrap())
    );
    resource
}

#[test]
fn a_patient_is_of_their_clinic_which_made_the_bundle() {
    let person = Person {
        id: PersonId::generate(),
        display_name: Phi::new("Paula Patient".into()),
        email: Some(Phi::new("paula@riverside.test".into())),
        roles: Roles::only(Role::Patient),
        locale: Locale::Es,
        active: true,
        version: Version(1),
    };
    let (clinic, export) = (ClinicId::generate(), RecordExportId::generate());
    let entries = patient(&person, clinic, "Riverside", at(1), export);
    let own = checked(&entries[0], "Patient");
    assert_eq!(own["name"][0]["text"], "Paula Patient");
    assert_eq!(own["telecom"][0]["value"], "paula@riverside.test");
    assert_eq!(own["communication"][0]["language"]["coding"][0]["code"], "es");
    assert_eq!(
        own["managingOrganization"]["reference"],
        format!("urn:uuid:{clinic}")
    );
    assert_eq!(checked(&entries[1], "Organization")["name"], "Riverside");
    let made = checked(&entries[2], "Provenance");
    assert_eq!(made["target"][0]["reference"], format!("urn:uuid:{}", person.id));
    assert_eq!(made["recorded"], "1970-01-01T01:00:00Z");
    let head = serde_json::to_value(head(export, at(1))).unwrap();
    assert_eq!(
        (&head["resourceType"], &head["type"]),
        (&json!("Bundle"), &json!("collection"))
    );
}

#[test]
fn an_appointment_leads_to_an_encounter_and_what_was_written_there() {
    let (paula, carla) = (somebody_called("Paula"), somebody_called("Carla"));
    let part = |person: &PersonRef, role| Participant {
        id: ParticipantId::generate(),
        person: person.clone(),
        role,
        state: ParticipantState::Left,
    };
    let slot = Slot::new(at(1), at(2)).unwrap();
    let visit = Visit {
        id: VisitId::generate(),
        appointment_id: AppointmentId::generate(),
        room_id: RoomId::generate(),
        slot,
        phase: Phase::Ended {
            opened_at: Some(at(1)),
            ended_at: at(2),
        },
        participants: vec![
            part(&paula, ParticipantRole::Patient),
            part(&carla, ParticipantRole::Clinician),
        ],
        version: Version(3),
    };
    let booked = Appointment {
        id: visit.appointment_id,
        visit_id: visit.id,
        patient: paula.clone(),
        clinician: carla,
        slot,
        status: AppointmentStatus::Completed,
        reason: Some(Phi::new("a cough".into())),
        segment: Some(Segment::MentalHealth),
        version: Version(2),
    };
    let message = |from: &Participant| Message {
        id: MessageId::generate(),
        visit_id: visit.id,
        sequence: 1,
        participant_id: from.id,
        body: Phi::new("it began on Monday".into()),
        sent_at: at(1),
    };
    let messages = [message(&visit.participants[0]), message(&visit.participants[1])];
    let entries = appointment(&booked, &visit, &messages, None);
    let planned = checked(&entries[0], "Appointment");
    assert_eq!(planned["status"], "fulfilled");
    assert_eq!(planned["reasonCode"][0]["text"], "a cough");
    assert_eq!(planned["meta"]["security"][0]["code"], "mental_health");
    let held = checked(&entries[1], "Encounter");
    assert_eq!(
        (&held["status"], &held["class"]["code"]),
        (&json!("finished"), &json!("VR"))
    );
    assert_eq!(held["period"]["end"], "1970-01-01T02:00:00Z");
    assert_eq!(
        held["appointment"][0]["reference"],
        format!("urn:uuid:{}", booked.id)
    );
    let sent = checked(&entries[2], "Communication");
    assert_eq!(sent["payload"][0]["contentString"], "it began on Monday");
    assert_eq!(sent["sender"]["reference"], format!("urn:uuid:{}", paula.id));
    assert_eq!(
        checked(&entries[3], "Communication")["sender"]["display"],
        "Carla"
    );
    let cancelled = Appointment {
        status: AppointmentStatus::Cancelled,
        ..booked
    };
    let why = Phi::new("better".to_owned());
    let entries = appointment(&cancelled, &visit, &[], Some(&why));
    assert_eq!(
        checked(&entries[0], "Appointment")["cancelationReason"]["text"],
        "better"
    );
    assert_eq!(checked(&entries[1], "Encounter")["status"], "cancelled");
}

#[test]
fn a_consent_comes_with_what_proves_it() {
    let patient = PersonId::generate();
    let said = Consent {
        id: ConsentId::generate(),
        purpose: Purpose::Treatment,
        segment: Segment::Part2,
        version: 2,
        decision: ConsentDecision::Withdrawn,
        signature: Signature {
            by: SignedBy::Session,
            document: "treatment/1".into(),
            text_sha256: Some([0xab; 32]),
            proof_sha256: None,
        },
        recorded_by: somebody_called("Paula"),
        recorded_at: at(3),
        session_id: None,
        proved_at: None,
    };
    let entries = consent(&said, patient);
    let no = checked(&entries[0], "Consent");
    assert_eq!(
        (&no["status"], &no["provision"]["type"]),
        (&json!("inactive"), &json!("deny"))
    );
    let proof = checked(&entries[1], "Provenance");
    assert_ne!(proof["id"], no["id"]);
    assert_eq!(proof["target"][0]["reference"], format!("urn:uuid:{}", said.id));
    assert_eq!(proof["entity"][0]["what"]["identifier"]["value"], "ab".repeat(32));
}

#[test]
fn a_declined_correction_carries_both_sides() {
    let declined = Correction {
        id: CorrectionId::generate(),
        patient: somebody_called("Paula"),
        what: Phi::new("the left knee".into()),
        why: Phi::new("it is the right one".into()),
        requested_at: at(1),
        due_at: at(1) + Duration::days(60),
        phase: CorrectionPhase::Declined {
            decided: Decided {
                by: somebody_called("Carla"),
                at: at(2),
            },
            reason: Phi::new("it was the left one".into()),
            disagreement: Some(Disagreement {
                statement: Phi::new("it was not".into()),
                at: at(3),
            }),
        },
        version: Version(3),
    };
    let task = checked(&correction(&declined), "Task");
    assert_eq!(task["status"], "rejected");
    assert_eq!(task["statusReason"]["text"], "it was the left one");
    assert_eq!(task["note"][1]["text"], "it was not");
    assert_eq!(task["restriction"]["period"]["end"], "1970-03-02T01:00:00Z");
}

#[test]
fn a_disclosure_says_to_whom_what_and_why() {
    let given = Disclosure {
        id: DisclosureId::generate(),
        disclosed_at: at(1),
        recipient: Phi::new("County health office".into()),
        address: None,
        description: Phi::new("a laboratory report".into()),
        purpose: Phi::new("a notifiable disease".into()),
        basis: DisclosureBasis::PublicHealth,
        recorded_at: at(2),
    };
    let source = Source {
        site: "Riverside",
        url: "https://riverside.test",
    };
    let event = checked(&disclosure(&given, PersonId::generate(), &source), "AuditEvent");
    assert_eq!(event["agent"][0]["who"]["display"], "County health office");
    assert_eq!(event["entity"][0]["description"], "a laboratory report");
    assert_eq!(event["subtype"][0]["code"], "public_health");
}
