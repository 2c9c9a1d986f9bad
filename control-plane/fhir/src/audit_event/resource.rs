//! The elements of FHIR R4 `AuditEvent` and `Bundle` that are written here, named as FHIR names them.

use serde::Serialize;
use time::OffsetDateTime;
use uuid::Uuid;

/// FHIR R4 `AuditEvent`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditEvent {
    pub(super) resource_type: &'static str,
    pub(super) id: Uuid,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) meta: Option<Meta>,
    pub(super) r#type: Coding,
    pub(super) subtype: Vec<Coding>,
    pub(super) action: &'static str,
    #[serde(with = "time::serde::rfc3339")]
    pub(super) recorded: OffsetDateTime,
    pub(super) outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) outcome_desc: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) purpose_of_event: Vec<Concept>,
    pub(super) agent: Vec<Agent>,
    pub(super) source: SourceElement,
    pub(super) entity: Vec<Entity>,
}

/// FHIR R4 `Bundle` of events.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Bundle {
    pub(super) resource_type: &'static str,
    pub(super) r#type: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) link: Vec<Link>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) entry: Vec<Entry>,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct Link {
    pub(super) relation: &'static str,
    pub(super) url: String,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Entry {
    pub(super) full_url: String,
    pub(super) resource: AuditEvent,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct Meta {
    pub(super) profile: [String; 1],
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct Coding {
    pub(super) system: &'static str,
    pub(super) code: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) display: Option<&'static str>,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct Concept {
    pub(super) coding: Vec<Coding>,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct Identifier {
    pub(super) system: &'static str,
    pub(super) value: String,
}

#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Reference {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reference: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) identifier: Option<Identifier>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) display: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Agent {
    pub(super) r#type: Concept,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) role: Vec<Concept>,
    pub(super) who: Reference,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<String>,
    pub(super) requestor: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) network: Option<Network>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) purpose_of_use: Vec<Concept>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Network {
    Known { address: String, r#type: &'static str },
    Unknown { extension: [Absent; 1] },
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Absent {
    pub(super) url: &'static str,
    pub(super) value_code: &'static str,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct SourceElement {
    pub(super) site: String,
    pub(super) observer: Reference,
    pub(super) r#type: [Coding; 1],
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct Entity {
    pub(super) what: Reference,
    pub(super) r#type: Coding,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) role: Option<Coding>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) detail: Vec<Detail>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Detail {
    pub(super) r#type: &'static str,
    pub(super) value_string: String,
}
