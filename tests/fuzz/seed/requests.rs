//! What a portal sends: bodies and queries as the API's descriptions have them, headers.

use medmesh_control::fuzz::{BODIES, QUERIES};
use serde_json::{Map, Value, json};

use crate::{join, write};

/// Stands for what somebody wrote; the targets see to it that no refusal repeats it.
const MARK: &str = "Zq7CANARY";

fn documents() -> Vec<Value> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../api/openapi");
    let read = |name: &str| {
        let text = std::fs::read_to_string(format!("{folder}/{name}")).expect("a description");
        serde_json::from_str(&text).expect("JSON")
    };
    vec![read("clinic.json"), read("fleet.json")]
}

/// A value as the schema has it; `deep` ends what refers to itself.
fn example(schema: &Value, schemas: &Value, deep: usize) -> Value {
    if let Some(name) = schema["$ref"].as_str().and_then(|name| name.rsplit('/').next()) {
        return example(&schemas[name], schemas, deep);
    }
    if let Some(first) = schema["enum"].as_array().and_then(|words| words.first()) {
        return first.clone();
    }
    for either in ["oneOf", "anyOf", "allOf"] {
        let kinds = schema[either].as_array().into_iter().flatten();
        if let Some(kind) = kinds.filter(|kind| kind["type"] != "null").last() {
            return example(kind, schemas, deep);
        }
    }
    let kind = schema["type"].as_str().or_else(|| schema["type"][0].as_str());
    match kind {
        Some("object") => object(schema, schemas, deep),
        Some("array") if deep > 0 => json!([example(&schema["items"], schemas, deep - 1)]),
        Some("array") => json!([]),
        Some("integer" | "number") => json!(1),
        Some("boolean") => json!(true),
        _ => match schema["format"].as_str() {
            Some("uuid") => json!("00000000-0000-7000-8000-000000000001"),
            Some("date-time") => json!("2030-01-02T03:04:05Z"),
            Some("date") => json!("2030-01-02"),
            Some("email") => json!(format!("{MARK}@example.org")),
            _ => json!(format!("{MARK} of fifteen letters")),
        },
    }
}

fn object(schema: &Value, schemas: &Value, deep: usize) -> Value {
    let members = schema["properties"].as_object().into_iter().flatten();
    let members =
        members.map(|(name, member)| (name.clone(), example(member, schemas, deep.saturating_sub(1))));
    Value::Object(members.collect::<Map<_, _>>())
}

/// `which type u8`, by name.
fn which(names: &[(&str, fn(&[u8]))], name: &str) -> u8 {
    let at = names.iter().position(|(known, _)| *known == name);
    u8::try_from(at.expect("a type that is read")).expect("fewer than 256 types")
}

pub(crate) fn bodies() {
    for document in documents() {
        let schemas = &document["components"]["schemas"];
        for (name, _) in BODIES {
            if schemas.get(name).is_none() {
                continue;
            }
            let body = example(&schemas[name], schemas, 4);
            let which = [which(BODIES, name)];
            write("http_bodies", name, join(&[&which, body.to_string().as_bytes()]));
        }
    }
    let login = [which(BODIES, "LoginRequest")];
    for (name, body) in [
        ("unknown_field", format!(r#"{{"{MARK}":1}}"#)),
        (
            "wrong_kind",
            format!(r#"{{"email":["{MARK}"],"password":{{"{MARK}":1}}}}"#),
        ),
        (
            "two_values",
            format!(r#"{{"email":"a@b.org","password":"x"}} {MARK}"#),
        ),
        (
            "deep",
            format!("{{\"email\":{}{}}}", "[".repeat(17), "]".repeat(17)),
        ),
        ("escaped", r#"{"email":"\"[[{\\","password":"x"}"#.to_owned()),
        ("list", format!(r#"["{MARK}","{MARK}"]"#)),
    ] {
        write("http_bodies", name, join(&[&login, body.as_bytes()]));
    }
}

pub(crate) fn queries() {
    let pairs = [
        (
            "AppointmentQuery",
            "from=2030-01-02T03:04:05Z&to=2030-02-02T03:04:05Z&limit=10",
        ),
        (
            "AuditQuery",
            "action=visit_read&limit=200&cursor=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        ),
        ("PersonQuery", "role=patient&limit=1"),
        ("MessageQuery", "after=00000000-0000-7000-8000-000000000001"),
        (
            "OidcCallbackQuery",
            "code=Zq7CANARY&state=Zq7CANARY&iss=https%3A%2F%2Flogin.example.org",
        ),
        (
            "TokenRequest",
            "grant_type=client_credentials&client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer&client_assertion=a.b.c&scope=system%2FAppointment.rs",
        ),
        ("ExportFormQuery", "form=fhir"),
        (
            "CandidateQuery",
            "appointment_id=00000000-0000-7000-8000-000000000001",
        ),
        ("PageQuery", "limit=Zq7CANARY&cursor=%FF%00"),
    ];
    for (name, query) in pairs {
        write(
            "http_queries",
            name,
            join(&[&[which(QUERIES, name)], query.as_bytes()]),
        );
    }
}

pub(crate) fn headers() {
    let token = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let lines = [
        format!("\u{0}application/vnd.medmesh.v1+json;q=0.9, */*;q=0.1"),
        format!("\u{1}Bearer mm_at_{token}"),
        format!("\u{2}a=b; __Host-medmesh_session={token}; medmesh_session={token}"),
        "\u{3}\"7\"".to_owned(),
        "\u{4}https://portal.test".to_owned(),
        "\u{5}0123456789abcdef-Zq7CANARY".to_owned(),
        "\u{6}192.0.2.1, 2001:db8::1".to_owned(),
        "\u{7}treatment".to_owned(),
        "\u{8}00000000-0000-7000-8000-000000000001".to_owned(),
    ];
    for (number, line) in lines.iter().enumerate() {
        write("http_headers", &format!("line_{number}"), line);
    }
    write("http_headers", "all", lines.join("\n"));
    write("http_tagged", "same", [0, 3, 0]);
    write("http_tagged", "altered", [0, 9, 1]);
    write("http_tagged", "long", join(&[&[0, 0, 0x80], &[7; 80]]));
}
