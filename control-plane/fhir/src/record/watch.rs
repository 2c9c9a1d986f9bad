//! Who saw a record, and to whom it was given.

use medmesh_base::PersonId;
use medmesh_clinic::audit::Event;
use medmesh_clinic::{BreakGlass, Disclosure};
use serde_json::{Value, json};

use super::{Entry, coded, entry, instant, own, period, somebody, subject, urn};
use crate::{Person, Source, audit_event};

const LIFECYCLE: &str = "http://terminology.hl7.org/CodeSystem/iso-21089-lifecycle";
const ACT_REASON: &str = "http://terminology.hl7.org/CodeSystem/v3-ActReason";

/// An entry of the audit log.
#[must_use]
pub fn access(event: &Event, actor: Option<Person<'_>>, source: &Source<'_>) -> Entry {
    let resource = serde_json::to_value(audit_event(event, actor, source));
    Entry {
        full_url: urn(event.id),
        resource: resource.expect("a resource is plain JSON"),
    }
}

/// A record that was opened because it was urgent.
#[must_use]
pub fn break_glass(glass: &BreakGlass, source: &Source<'_>) -> Entry {
    let review = glass
        .review
        .as_ref()
        .map(|review| own("finding", review.finding.as_str()));
    let event = json!({
        "type": {"system": "http://terminology.hl7.org/CodeSystem/audit-event-type", "code": "rest"},
        "subtype": [own("audit-action", "break_glass_open")["coding"][0], review.map(|review| review["coding"][0].clone())],
        "action": "E",
        "period": period(glass.opened_at, Some(glass.until_at)),
        "recorded": instant(glass.opened_at),
        "outcome": "0",
        "purposeOfEvent": [coded(ACT_REASON, "BTG")],
        "agent": [{"who": somebody(&glass.person), "requestor": true}],
        "source": observer(source),
        "entity": [{"what": subject(glass.patient.id), "description": glass.reason.expose()}],
    });
    entry(glass.id.as_uuid(), "AuditEvent", event)
}

/// Something that was given to somebody outside.
#[must_use]
pub fn disclosure(disclosure: &Disclosure, patient: PersonId, source: &Source<'_>) -> Entry {
    let recipient = json!({
        "display": disclosure.recipient.expose(),
        "identifier": disclosure.address.as_ref().map(|address| json!({"value": address.expose()})),
    });
    let event = json!({
        "type": {"system": LIFECYCLE, "code": "disclose"},
        "subtype": [own("disclosure-basis", disclosure.basis.as_str())["coding"][0]],
        "action": "R",
        "period": period(disclosure.disclosed_at, None),
        "recorded": instant(disclosure.recorded_at),
        "outcome": "0",
        "outcomeDesc": disclosure.purpose.expose(),
        "agent": [{
            "type": coded("http://dicom.nema.org/resources/ontology/DCM", "110152"),
            "who": recipient,
            "requestor": false,
        }],
        "source": observer(source),
        "entity": [{"what": subject(patient), "description": disclosure.description.expose()}],
    });
    entry(disclosure.id.as_uuid(), "AuditEvent", event)
}

fn observer(source: &Source<'_>) -> Value {
    json!({"site": source.site, "observer": {
        "identifier": {"system": "urn:ietf:rfc:3986", "value": source.url}, "display": source.site}})
}
