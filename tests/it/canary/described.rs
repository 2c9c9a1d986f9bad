//! Every place the descriptions of the API let somebody write text into, and a request that writes
//! there: read from the committed documents, so that a new field is found by itself.

use std::path::Path;

use http::Method;
use serde_json::{Map, Value, json};

/// Stands for the canary in a request.
const HOLE: &str = "\u{1}hole";
/// Deeper than any body is nested.
const DEPTH_MAX: usize = 12;

/// A place for text, and the request around it.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// `operation body.member`, `operation query.name`, `operation header.name`, `operation path.name`.
    pub(super) name: String,
    pub(super) method: Method,
    /// With its parameters in braces.
    pub(super) path: String,
    pub(super) place: In,
    /// Whether any text is meant to go there, not an id, an instant or a word from a list.
    pub(super) is_free: bool,
    body: Option<Body>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum In {
    Body,
    Query(String),
    Header(String),
    Path(String),
}

#[derive(Clone, Debug)]
struct Body {
    media_type: String,
    value: Value,
}

/// A place inside a schema: its name, and an instance with the hole there.
struct Hole {
    path: String,
    is_free: bool,
    value: Value,
}

/// One of the committed documents.
pub(super) struct Description {
    document: Value,
}

impl Description {
    pub(super) fn read(name: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../api/openapi");
        let text = std::fs::read_to_string(path.join(name)).unwrap();
        Self {
            document: serde_json::from_str(&text).unwrap(),
        }
    }

    /// Every place, by name.
    pub(super) fn places(&self) -> Vec<Place> {
        let mut places = Vec::new();
        for (path, item) in self.document["paths"].as_object().unwrap() {
            assert!(
                item.get("parameters").is_none(),
                "parameters of a path are not read here"
            );
            for (method, operation) in item.as_object().unwrap() {
                self.of_operation(path, method, operation, &mut places);
            }
        }
        // The two media types of a body hold the same; so do the forms of a proof.
        places.sort_by(|a, b| a.name.cmp(&b.name));
        places.dedup_by(|a, b| a.name == b.name);
        places
    }

    fn of_operation(&self, path: &str, method: &str, operation: &Value, places: &mut Vec<Place>) {
        let id = operation["operationId"].as_str().unwrap();
        let body = self.body_of(operation);
        let mut add = |at: String, place: In, is_free: bool, body: Option<Body>| {
            places.push(Place {
                name: format!("{id} {at}"),
                method: method.to_uppercase().parse().unwrap(),
                path: path.to_owned(),
                place,
                is_free,
                body,
            });
        };
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            let name = parameter["name"].as_str().unwrap();
            let is_free = self
                .holes(&parameter["schema"], 0)
                .iter()
                .any(|hole| hole.is_free);
            let place = match parameter["in"].as_str().unwrap() {
                "query" => In::Query(name.to_owned()),
                "header" => In::Header(name.to_owned()),
                "path" => In::Path(name.to_owned()),
                other => panic!("parameters in {other} are not read here"),
            };
            let at = parameter["in"].as_str().unwrap();
            let sample = body.as_ref().map(|(media_type, schema)| Body {
                media_type: media_type.clone(),
                value: self.sample(schema, 0),
            });
            add(format!("{at}.{name}"), place, is_free, sample);
        }
        if let Some((media_type, schema)) = &body {
            for hole in self.holes(schema, 0) {
                let body = Body {
                    media_type: media_type.clone(),
                    value: hole.value,
                };
                add(format!("body{}", hole.path), In::Body, hole.is_free, Some(body));
            }
        }
    }

    fn body_of(&self, operation: &Value) -> Option<(String, Value)> {
        let content = operation["requestBody"]["content"].as_object()?;
        let plain = ["application/json", "application/x-www-form-urlencoded"];
        let media_type = plain.iter().find(|name| content.contains_key(**name));
        let media_type = media_type.unwrap_or_else(|| panic!("a body of another type: {content:?}"));
        Some(((*media_type).to_owned(), content[*media_type]["schema"].clone()))
    }

    fn resolved<'a>(&'a self, schema: &'a Value) -> &'a Value {
        match schema["$ref"].as_str() {
            Some(reference) => {
                let pointer = reference.strip_prefix('#').unwrap();
                self.resolved(self.document.pointer(pointer).unwrap())
            }
            None => schema,
        }
    }

    /// The alternatives a schema leaves, without `null`.
    fn alternatives<'a>(&'a self, schema: &'a Value) -> Option<Vec<&'a Value>> {
        assert!(schema.get("allOf").is_none(), "not read here: {schema}");
        let each = schema.get("oneOf").or_else(|| schema.get("anyOf"))?.as_array()?;
        let each = each.iter().map(|schema| self.resolved(schema));
        Some(each.filter(|schema| schema["type"] != "null").collect())
    }

    /// Something the schema allows, with every member there may be.
    fn sample(&self, schema: &Value, depth: usize) -> Value {
        let schema = self.resolved(schema);
        if let Some(each) = self.alternatives(schema) {
            return self.sample(each[0], depth);
        }
        if let Some(words) = schema["enum"].as_array() {
            return words[0].clone();
        }
        match kind_of(schema) {
            "object" if depth < DEPTH_MAX => {
                let members = schema["properties"].as_object().into_iter().flatten();
                let members = members.map(|(name, schema)| (name.clone(), self.sample(schema, depth + 1)));
                Value::Object(members.collect())
            }
            "array" => json!([self.sample(&schema["items"], depth + 1)]),
            "integer" | "number" => schema.get("minimum").cloned().unwrap_or_else(|| json!(1)),
            "boolean" => json!(false),
            _ => match schema["format"].as_str() {
                Some("uuid") => json!("00000000-0000-4000-8000-000000000001"),
                Some("date-time") => json!("2030-01-01T10:00:00Z"),
                Some("date") => json!("2030-01-01"),
                _ => json!("some words here that are long enough for a password"),
            },
        }
    }

    fn holes(&self, schema: &Value, depth: usize) -> Vec<Hole> {
        let schema = self.resolved(schema);
        if let Some(each) = self.alternatives(schema) {
            return each
                .into_iter()
                .flat_map(|schema| self.holes(schema, depth))
                .collect();
        }
        match kind_of(schema) {
            "object" => {
                assert!(depth < DEPTH_MAX, "nested without end");
                self.holes_of_object(schema, depth)
            }
            "array" => self
                .holes(&schema["items"], depth + 1)
                .into_iter()
                .map(|hole| Hole {
                    path: format!("[]{}", hole.path),
                    value: json!([hole.value]),
                    ..hole
                })
                .collect(),
            "string" => {
                let format = schema["format"].as_str();
                let has_form = ["uuid", "date-time", "date"].map(Some).contains(&format);
                vec![Hole {
                    path: String::new(),
                    is_free: !has_form && schema.get("enum").is_none(),
                    value: json!(HOLE),
                }]
            }
            "integer" | "number" | "boolean" | "null" => Vec::new(),
            other => panic!("a schema of type {other:?}: {schema}"),
        }
    }

    fn holes_of_object(&self, schema: &Value, depth: usize) -> Vec<Hole> {
        let none = Map::new();
        let members = schema["properties"].as_object().unwrap_or(&none);
        if members.is_empty() {
            // Whatever somebody puts into it: by name and by value.
            return vec![Hole {
                path: ".*".to_owned(),
                is_free: true,
                value: json!({HOLE: HOLE, "kid": HOLE}),
            }];
        }
        let mut holes = Vec::new();
        for (name, member) in members {
            for hole in self.holes(member, depth + 1) {
                let mut value = self.sample(schema, depth);
                value[name.as_str()] = hole.value;
                holes.push(Hole {
                    path: format!(".{name}{}", hole.path),
                    is_free: hole.is_free,
                    value,
                });
            }
        }
        holes
    }
}

fn kind_of(schema: &Value) -> &str {
    match &schema["type"] {
        Value::String(kind) => kind,
        Value::Array(kinds) => {
            let mut kinds = kinds.iter().filter_map(Value::as_str);
            kinds.find(|kind| *kind != "null").unwrap_or("null")
        }
        _ if schema.get("properties").is_some() => "object",
        _ => "nothing",
    }
}

impl Place {
    /// Path and query, media type and body, and the header to add, with this text in the place.
    /// `ids` gives an id for a parameter of the path.
    pub(super) fn request(&self, text: &str, id: impl Fn(&str) -> String) -> Request {
        let mut path = String::new();
        for part in self.path.split('/').skip(1) {
            path.push('/');
            match part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
                Some(name) if self.place == In::Path(name.to_owned()) => path += text,
                Some(name) => path += &id(name),
                None => path += part,
            }
        }
        let mut header = None;
        match &self.place {
            In::Query(name) => path += &format!("?{name}={text}"),
            In::Header(name) => header = Some((name.to_lowercase(), text.to_owned())),
            In::Body | In::Path(_) => {}
        }
        let body = self.body.as_ref().map(|body| {
            let value = if body.media_type == "application/json" {
                body.value.to_string().replace("\\u0001hole", text)
            } else {
                let members = body.value.as_object().unwrap().iter();
                let pairs =
                    members.map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default()));
                let form = pairs.collect::<Vec<_>>().join("&");
                form.replace(HOLE, text).replace(' ', "+")
            };
            (body.media_type.clone(), value)
        });
        Request { path, header, body }
    }
}

/// What [`Place::request`] makes.
pub(super) struct Request {
    pub(super) path: String,
    pub(super) header: Option<(String, String)>,
    pub(super) body: Option<(String, String)>,
}

#[test]
fn places_are_found_however_deep_they_are() {
    let places = Description::read("clinic.json").places();
    let of = |name: &str| places.iter().find(|place| place.name == name).unwrap();
    for free in [
        "appointment_create body.reason",
        "step_up body.credential.response.userHandle",
        "signaling_session body.key.kty",
        "client_create body.jwks.keys[].*",
        "oidc_provider_set body.second_factor[]",
        "oauth_token body.scope",
        "audit_list query.action",
        "appointment_create header.Idempotency-Key",
    ] {
        assert!(of(free).is_free, "{free}");
    }
    for formed in [
        "appointment_create body.patient_id",
        "appointment_create body.starts_at",
        "person_create body.roles[]",
        "visit_events header.Last-Event-ID",
        "visit_get path.id",
    ] {
        assert!(!of(formed).is_free, "{formed}");
    }
    let place = of("message_create body.body");
    let request = place.request("said", |name| format!("the-{name}"));
    assert_eq!(request.path, "/v1/visits/the-id/messages");
    assert_eq!(request.body.unwrap().1, r#"{"body":"said"}"#);
}
