//! A whole record as a FHIR R4 `Bundle` of type `collection`.
//!
//! | Of the record | Resource |
//! |---|---|
//! | the person and their clinic | `Patient`, `Organization` |
//! | appointments, their visits, what was written there | `Appointment`, `Encounter`, `Communication` |
//! | who cares for them, where they were referred | `CareTeam` (one per place), `ServiceRequest` |
//! | what they agreed to, and how that is proved | `Consent`, `Provenance` |
//! | what they want corrected | `Task` |
//! | who saw the record, broken glass, disclosures | `AuditEvent` |
//! | that this bundle was made, of what, by whom | `Provenance` |
//!
//! Devices, second factors and identities elsewhere have no resource that means them; they are in the
//! JSON form. People who are no patients are named where they act and have no resource of their own:
//! what the clinic holds about its staff is not the patient's record.

mod care;
mod visit;
mod watch;

use medmesh_base::{ClinicId, PersonId, RecordExportId};
use medmesh_clinic::{Person, PersonRef};
use serde::Serialize;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

pub use crate::Source;
pub use care::{care_team_member, consent, correction, referral};
pub use visit::appointment;
pub use watch::{access, break_glass, disclosure};

const RECORD_SYSTEM: &str = "https://medmesh.dev/fhir/CodeSystem/";

/// One entry of the bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    full_url: String,
    resource: Value,
}

impl Entry {
    /// The resource.
    #[must_use]
    pub const fn resource(&self) -> &Value {
        &self.resource
    }
}

/// How the bundle begins: everything but its `entry`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Head {
    resource_type: &'static str,
    id: RecordExportId,
    r#type: &'static str,
    timestamp: String,
}

/// The head of the bundle of one copy.
#[must_use]
pub fn head(export: RecordExportId, made_at: OffsetDateTime) -> Head {
    Head {
        resource_type: "Bundle",
        id: export,
        r#type: "collection",
        timestamp: instant(made_at),
    }
}

/// The patient, their clinic, and that the clinic made this bundle.
#[must_use]
pub fn patient(
    person: &Person,
    clinic: ClinicId,
    clinic_name: &str,
    made_at: OffsetDateTime,
    export: RecordExportId,
) -> Vec<Entry> {
    let mut telecom = Vec::new();
    if let Some(email) = &person.email {
        telecom.push(json!({"system": "email", "value": email.expose()}));
    }
    let id = person.id.as_uuid();
    let organisation = json!({"reference": urn(clinic.as_uuid()), "display": clinic_name});
    vec![
        entry(
            id,
            "Patient",
            json!({
                "active": person.active,
                "name": [{"use": "usual", "text": person.display_name.expose()}],
                "telecom": telecom,
                "communication": [{"language": {"coding": [{
                    "system": "urn:ietf:bcp:47", "code": person.locale.as_str()}]}, "preferred": true}],
                "managingOrganization": organisation,
            }),
        ),
        entry(
            clinic.as_uuid(),
            "Organization",
            json!({"active": true, "name": clinic_name}),
        ),
        entry(
            export.as_uuid(),
            "Provenance",
            json!({
                "target": [{"reference": urn(id)}],
                "recorded": instant(made_at),
                "activity": coded("http://terminology.hl7.org/CodeSystem/iso-21089-lifecycle", "extract"),
                "agent": [{"type": coded("http://terminology.hl7.org/CodeSystem/provenance-participant-type",
                    "assembler"), "who": organisation}],
            }),
        ),
    ]
}

/// One resource with its id. Members that are null or empty are left out: FHIR has neither.
fn entry(id: Uuid, kind: &str, mut resource: Value) -> Entry {
    prune(&mut resource);
    resource["resourceType"] = json!(kind);
    resource["id"] = json!(id);
    Entry {
        full_url: urn(id),
        resource,
    }
}

fn prune(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.values_mut().for_each(prune);
            members.retain(|_, member| !is_empty(member));
        }
        Value::Array(items) => {
            items.iter_mut().for_each(prune);
            items.retain(|item| !is_empty(item));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        Value::String(text) => text.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

fn urn(id: Uuid) -> String {
    format!("urn:uuid:{id}")
}

/// The patient, as others' resources name them.
fn subject(patient: PersonId) -> Value {
    json!({"reference": urn(patient.as_uuid())})
}

/// Somebody who has no resource of their own.
fn somebody(person: &PersonRef) -> Value {
    json!({
        "identifier": {"system": "urn:ietf:rfc:3986", "value": urn(person.id.as_uuid())},
        "display": person.display_name.expose(),
    })
}

fn coded(system: &str, code: &str) -> Value {
    json!({"coding": [{"system": system, "code": code}]})
}

/// One of our own words.
fn own(list: &str, code: &str) -> Value {
    coded(&format!("{RECORD_SYSTEM}{list}"), code)
}

fn instant(at: OffsetDateTime) -> String {
    at.format(&Rfc3339).unwrap_or_default()
}

fn period(from: OffsetDateTime, to: Option<OffsetDateTime>) -> Value {
    json!({"start": instant(from), "end": to.map(instant)})
}

#[cfg(test)]
mod tests;
