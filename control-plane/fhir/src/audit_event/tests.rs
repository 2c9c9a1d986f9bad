//! What BALP's profiles ask of an event, checked as their text says.

use medmesh_clinic::audit::Action;
use serde_json::Value;
use time::OffsetDateTime;

use super::*;

const SOURCE: Source<'_> = Source {
    site: "Riverside",
    url: "https://clinic.example",
};

fn event(action: &str) -> Event {
    Event {
        clinic_id: Uuid::from_u128(1),
        id: Uuid::from_u128(2),
        at: OffsetDateTime::UNIX_EPOCH,
        actor_kind: "person".into(),
        actor_id: Some(Uuid::from_u128(3)),
        session_id: Some(Uuid::from_u128(4)),
        action: action.into(),
        object_kind: "visit".into(),
        object_id: Some(Uuid::from_u128(5)),
        patient_id: Some(Uuid::from_u128(6)),
        purpose: "treatment".into(),
        request_id: Uuid::from_u128(7),
        break_glass_id: None,
        denied_action: None,
        denied_reason: None,
        roles: None,
    }
}

fn mapped(event: &Event) -> Value {
    let person = Person {
        name: "Clara Clinician",
        roles: Roles::only(Role::Clinician),
    };
    serde_json::to_value(audit_event(event, Some(person), &SOURCE)).unwrap()
}

/// Those of a list whose coding has this code.
fn with_code<'a>(list: &'a Value, code: &str) -> Vec<&'a Value> {
    let has = |item: &&Value| {
        let coding = item["type"]["coding"].get(0).unwrap_or(&item["type"]);
        coding["code"] == code
    };
    list.as_array().unwrap().iter().filter(has).collect()
}

/// BALP Read, Create and Update, and the Patient form of each.
#[test]
fn what_claims_a_profile_keeps_it() {
    for (action, name, code, client, server, user) in [
        ("visit_read", "Read", "R", "110152", "110153", "IRCP"),
        ("appointment_create", "Create", "C", "110153", "110152", "AUT"),
        ("appointment_update", "Update", "U", "110153", "110152", "AUT"),
    ] {
        for has_patient in [true, false] {
            let mut event = event(action);
            event.patient_id = event.patient_id.filter(|_| has_patient);
            let json = mapped(&event);
            let patient = if has_patient { "Patient" } else { "" };
            assert_eq!(json["meta"]["profile"][0], format!("{BALP}{patient}{name}"));
            assert_eq!(
                (&json["type"]["code"], &json["action"]),
                (&"rest".into(), &code.into())
            );
            assert_eq!(json["subtype"][0]["system"], INTERACTION);
            assert_eq!(json["outcome"], "0");
            for machine in [client, server] {
                let agents = with_code(&json["agent"], machine);
                assert_eq!(agents.len(), 1, "{machine}");
                assert!(agents[0]["who"].is_object() && agents[0]["network"].is_object());
                assert_eq!(agents[0]["requestor"], false);
            }
            let users = with_code(&json["agent"], user);
            assert_eq!(users.len(), 1);
            assert_eq!(users[0]["requestor"], true);
            assert!(users[0].get("network").is_none(), "users are not network devices");
            assert_eq!(users[0]["purposeOfUse"][0]["coding"][0]["code"], "TREAT");
            assert_eq!(with_code(&json["entity"], "2").len(), 1, "data");
            let request = with_code(&json["entity"], "XrequestId");
            assert!(request[0]["what"]["identifier"]["value"].is_string());
            let patients = with_code(&json["entity"], "1");
            assert_eq!(patients.len(), usize::from(has_patient));
            for patient in patients {
                assert_eq!(patient["role"]["code"], "1");
                assert!(
                    patient["what"]["reference"]
                        .as_str()
                        .unwrap()
                        .starts_with("Patient/")
                );
                assert!(patient["what"].get("display").is_none(), "patients are not named");
            }
        }
    }
}

/// Every act there is, of everybody and of nobody: what it claims, it keeps.
#[test]
fn every_act_keeps_the_profile_it_claims() {
    let mut claimed = std::collections::BTreeSet::new();
    for action in Action::ALL {
        for members in 0..16 {
            let has = |bit: u8| members >> bit & 1 == 1;
            let mut event = event(action.as_str());
            event.patient_id = event.patient_id.filter(|_| has(0));
            event.object_id = event.object_id.filter(|_| has(1));
            event.actor_id = event.actor_id.filter(|_| has(2));
            event.session_id = event.session_id.filter(|_| has(3));
            let json = mapped(&event);
            assert_eq!(balp::broken(&json), Vec::<String>::new(), "{json:#}");
            let profile = json["meta"]["profile"][0].as_str();
            claimed.extend(profile.map(|profile| profile.trim_start_matches(BALP).to_owned()));
        }
    }
    let all = [
        "Create",
        "Delete",
        "PatientCreate",
        "PatientDelete",
        "PatientRead",
        "PatientUpdate",
        "Read",
        "Update",
    ];
    assert!(claimed.iter().eq(all.iter()), "{claimed:?}");
}

/// That the rules are rules: an event with any one thing changed breaks one.
#[test]
fn what_does_not_keep_its_profile_is_told() {
    for (action, code) in [("visit_read", "R"), ("record_erase", "D")] {
        let sound = mapped(&event(action));
        assert!(balp::broken(&sound).is_empty() && sound["action"] == code);
        for (path, value) in [
            (
                "/meta/profile/0",
                "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit.Look".into(),
            ),
            ("/type/code", "reset".into()),
            ("/subtype/0/code", "look".into()),
            ("/action", "E".into()),
            ("/recorded", Value::Null),
            ("/outcome", "4".into()),
            ("/agent/0/type/coding/0/code", "110151".into()),
            ("/agent/0/network", Value::Null),
            ("/agent/1/type/coding/0/system", "urn:other".into()),
            ("/agent/1/who", Value::Null),
            ("/agent/2/requestor", false.into()),
            ("/entity/0/role/code", "1".into()),
            ("/entity/0/type/code", "1".into()),
            ("/entity/1/what/identifier/value", Value::Null),
            ("/entity/2/role/code", "4".into()),
            ("/entity/2/what/reference", "Person/1".into()),
        ] {
            let mut bent = sound.clone();
            *bent.pointer_mut(path).unwrap() = value;
            assert!(!balp::broken(&bent).is_empty(), "{action} {path}");
        }
    }
}

#[test]
fn a_refusal_claims_no_profile_and_says_what_was_missing() {
    let mut event = event("denied");
    event.denied_action = Some("message_list".into());
    event.denied_reason = Some("consent".into());
    let json = mapped(&event);
    assert!(
        json.get("meta").is_none(),
        "BALP's profiles are for what succeeded"
    );
    assert_eq!((&json["outcome"], &json["action"]), (&"4".into(), &"R".into()));
    assert_eq!(json["outcomeDesc"], "denied: consent");
    assert_eq!(mapped(&self::event("login_refused"))["outcome"], "4");
}

#[test]
fn broken_glass_is_an_emergency_that_says_so() {
    let mut event = event("visit_read");
    event.purpose = "emergency".into();
    event.break_glass_id = Some(Uuid::from_u128(9));
    let json = mapped(&event);
    let codes: Vec<&str> = json["purposeOfEvent"]
        .as_array()
        .unwrap()
        .iter()
        .map(|purpose| purpose["coding"][0]["code"].as_str().unwrap())
        .collect();
    assert_eq!(codes, ["ETREAT", "BTG"]);
}

#[test]
fn a_change_of_roles_says_which() {
    let mut event = event("person_roles_change");
    event.object_kind = "person".into();
    let details = |event: &Event| {
        let json = mapped(event);
        let mut entities = json["entity"].as_array().unwrap().clone();
        assert!(entities[1..].iter().all(|entity| entity.get("detail").is_none()));
        entities.swap_remove(0).get("detail").cloned()
    };
    assert_eq!(details(&event), None);
    event.roles = Some(medmesh_clinic::audit::RolesHeld::new(
        Roles::only(Role::Nurse),
        Roles::of(&[Role::Nurse, Role::Admin]),
    ));
    let words: Vec<&str> = Roles::of(&[Role::Nurse, Role::Admin])
        .iter()
        .map(Role::as_str)
        .collect();
    let expected = serde_json::json!([
        {"type": "roles-before", "valueString": "nurse"},
        {"type": "roles-after", "valueString": words.join(" ")},
    ]);
    assert_eq!(details(&event), Some(expected));
    // A string of FHIR is never empty.
    event.roles = Some(medmesh_clinic::audit::RolesHeld::new(
        Roles::default(),
        Roles::only(Role::Nurse),
    ));
    let expected = serde_json::json!([{"type": "roles-after", "valueString": "nurse"}]);
    assert_eq!(details(&event), Some(expected));
}

/// Elements that R4 has at least once are there for every act there is, known to the mapping or not.
#[test]
fn every_act_is_an_event() {
    let acts = Action::ALL.iter().map(|action| action.as_str());
    for action in acts.chain(["an_act_of_tomorrow"]) {
        for has_object in [true, false] {
            let mut event = event(action);
            event.object_id = event.object_id.filter(|_| has_object);
            event.actor_id = event.actor_id.filter(|_| has_object);
            let json = mapped(&event);
            assert_eq!(json["resourceType"], "AuditEvent");
            for required in ["type", "recorded", "agent", "source"] {
                assert!(!json[required].is_null(), "{action} {required}");
            }
            assert!(!json["agent"].as_array().unwrap().is_empty());
            assert!(json["source"]["observer"].is_object());
            let words = json["subtype"].as_array().unwrap();
            assert!(words.iter().any(|word| word["code"] == action), "{action}");
        }
    }
}

#[test]
fn a_bundle_says_where_the_rest_is() {
    let one = audit_event(&event("visit_read"), None, &SOURCE);
    let json = serde_json::to_value(bundle(vec![one], Some("https://next".into()))).unwrap();
    assert_eq!(json["link"][0]["relation"], "next");
    let id = json["entry"][0]["resource"]["id"].as_str().unwrap();
    assert_eq!(json["entry"][0]["fullUrl"], format!("urn:uuid:{id}"));
    let empty = serde_json::to_value(bundle(Vec::new(), None)).unwrap();
    assert!(empty.get("entry").is_none(), "an empty array is no JSON of FHIR");
}
