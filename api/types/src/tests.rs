use garde::Validate as _;
use medmesh_base::{ProblemCode, RequestId};
use serde_json::json;

use crate::appointment::{AppointmentCreate, AppointmentUpdate};
use crate::message::MessageCreate;
use crate::person::PersonCreate;
use crate::problem::Problem;
use crate::session::LoginRequest;
use crate::signaling::SessionRequest;

fn person(password: &str, email: &str) -> PersonCreate {
    serde_json::from_value(json!({
        "display_name": "Grace Hopper", "email": email, "password": password, "roles": ["clinician"]
    }))
    .unwrap()
}

#[test]
fn requests_print_nothing_about_people() {
    let person = person("correct horse battery", "grace@example.org");
    let text = format!("{person:?}");
    for secret in ["Grace", "grace@", "horse"] {
        assert!(!text.contains(secret), "{text}");
    }
    let login: LoginRequest =
        serde_json::from_value(json!({"email": "grace@example.org", "password": "pw"})).unwrap();
    assert!(!format!("{login:?}").contains("grace"));
}

#[test]
fn unknown_fields_are_refused_so_that_a_typo_is_not_silence() {
    let typo = json!({"email": "a@b", "password": "x", "roles": ["admin"]});
    assert!(serde_json::from_value::<LoginRequest>(typo).is_err());
    assert!(serde_json::from_value::<AppointmentUpdate>(json!({"start_at": null})).is_err());
}

#[test]
fn new_passwords_have_15_to_128_characters_counted_not_as_bytes() {
    assert!(person(&"p".repeat(15), "a@b").validate().is_ok());
    assert!(person(&"é".repeat(128), "a@b").validate().is_ok());
    assert!(person(&"é".repeat(14), "a@b").validate().is_err());
    assert!(person(&"p".repeat(129), "a@b").validate().is_err());
}

#[test]
fn addresses_have_two_sides_and_no_blanks() {
    for bad in [
        "",
        "a",
        "a@",
        "@b",
        "a b@c",
        "a@b\r\nBcc: c@d",
        &format!("{}@b", "a".repeat(254)),
    ] {
        assert!(person(&"p".repeat(15), bad).validate().is_err(), "{bad}");
    }
}

#[test]
fn messages_say_something_and_hide_nothing() {
    let check = |body: &str| {
        serde_json::from_value::<MessageCreate>(json!({ "body": body }))
            .unwrap()
            .validate()
    };
    assert!(check("Guten Tag\nund willkommen").is_ok());
    for bad in ["", "  \n", "\u{1b}[2J", &"x".repeat(4001)] {
        assert!(check(bad).is_err());
    }
}

#[test]
fn a_session_request_takes_a_browsers_jwk_and_bounds_its_probes() {
    let request = |probes: usize, rtt: f64| {
        serde_json::from_value::<SessionRequest>(json!({
            "visit_id": medmesh_base::VisitId::generate(),
            "probes": vec![json!({"edge_id": medmesh_base::EdgeId::generate(), "rtt_ms": rtt}); probes],
            "key": {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "ext": true, "key_ops": ["verify"]}
        }))
        .unwrap()
        .validate()
    };
    assert!(request(8, 12.5).is_ok());
    assert!(request(9, 12.5).is_err());
    let report = request(1, -1.0).unwrap_err().to_string();
    assert!(report.contains("probes[0].rtt_ms"), "{report}");
}

#[test]
fn instants_keep_their_offset_out_of_the_contract() {
    let body = json!({
        "patient_id": medmesh_base::PersonId::generate(), "clinician_id": medmesh_base::PersonId::generate(),
        "starts_at": "2026-11-22T10:00:00+01:00", "ends_at": "2026-11-22T09:30:00Z"
    });
    let booking: AppointmentCreate = serde_json::from_value(body).unwrap();
    assert_eq!((booking.ends_at - booking.starts_at).whole_minutes(), 30);
}

#[test]
fn a_problem_carries_its_code_status_and_request() {
    let id = RequestId::generate();
    let json = serde_json::to_value(Problem::new(ProblemCode::SlotTaken, id)).unwrap();
    assert_eq!(json["type"], "urn:medmesh:problem:slot_taken");
    assert_eq!(json["status"], 409);
    assert_eq!(json["details"], json!({}));
    assert_eq!(json["request_id"], id.to_string());
}
