//! Who cares for a patient, what they agreed to, and what they want corrected.

use medmesh_base::PersonId;
use medmesh_clinic::audit::Purpose;
use medmesh_clinic::{
    CareTeamMember, Consent, ConsentDecision, Correction, CorrectionPhase, Referral, SignedBy,
};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Entry, coded, entry, instant, own, period, somebody, subject, urn};

const ACT_REASON: &str = "http://terminology.hl7.org/CodeSystem/v3-ActReason";

/// A place on the care team.
#[must_use]
pub fn care_team_member(member: &CareTeamMember) -> Entry {
    let team = json!({
        "subject": subject(member.patient_id),
        "period": period(member.from_at, member.until_at),
        "participant": [{
            "role": [own("role", member.role.as_str())],
            "member": somebody(&member.person),
            "period": period(member.from_at, member.until_at),
        }],
    });
    entry(member.id.as_uuid(), "CareTeam", team)
}

/// A referral.
#[must_use]
pub fn referral(referral: &Referral) -> Entry {
    let request = json!({
        "status": "active",
        "intent": "order",
        "category": [coded("http://snomed.info/sct", "3457005")],
        "subject": subject(referral.patient_id),
        "authoredOn": instant(referral.created_at),
        "occurrencePeriod": period(referral.created_at, Some(referral.until_at)),
        "requester": somebody(&referral.from),
        "performer": [somebody(&referral.to)],
        "reasonCode": referral.reason.as_ref().map(|reason| json!([{"text": reason.expose()}])),
    });
    entry(referral.id.as_uuid(), "ServiceRequest", request)
}

/// One version of a consent, and what proves it.
#[must_use]
pub fn consent(consent: &Consent, patient: PersonId) -> Vec<Entry> {
    let purpose = match consent.purpose {
        Purpose::Treatment => "TREAT",
        Purpose::Payment => "HPAYMT",
        _ => "HOPERAT",
    };
    let is_granted = consent.decision == ConsentDecision::Granted;
    let said = json!({
        "status": if is_granted { "active" } else { "inactive" },
        "scope": coded("http://terminology.hl7.org/CodeSystem/consentscope", "patient-privacy"),
        "category": [coded("http://loinc.org", "59284-0")],
        "patient": subject(patient),
        "dateTime": instant(consent.recorded_at),
        "performer": [somebody(&consent.recorded_by)],
        "policyRule": {"text": consent.signature.document},
        "provision": {
            "type": if is_granted { "permit" } else { "deny" },
            "purpose": [{"system": ACT_REASON, "code": purpose}],
            "securityLabel": [{"system": "https://medmesh.dev/fhir/CodeSystem/segment",
                "code": consent.segment.as_str()}],
        },
    });
    let id = consent.id.as_uuid();
    vec![entry(id, "Consent", said), signature(consent, patient)]
}

/// How a consent was signed: by whom, over which text, with what proof.
fn signature(consent: &Consent, patient: PersonId) -> Entry {
    let signature = &consent.signature;
    let digest = |name: &str, digest: Option<[u8; 32]>| {
        digest.map(|bytes| {
            json!({"what": {"identifier": {
            "system": format!("https://medmesh.dev/fhir/sid/{name}-sha256"), "value": hex(&bytes)}},
            "role": "source"})
        })
    };
    let signer = match signature.by {
        SignedBy::Session => subject(patient),
        SignedBy::Paper | SignedBy::Witness => somebody(&consent.recorded_by),
    };
    let proved = json!({
        "target": [{"reference": urn(consent.id.as_uuid())}],
        "recorded": instant(consent.recorded_at),
        "activity": own("signed-by", signature.by.as_str()),
        "agent": [{"type": coded("http://terminology.hl7.org/CodeSystem/provenance-participant-type", "attester"),
            "who": signer}],
        "entity": [digest("text", signature.text_sha256), digest("proof", signature.proof_sha256)],
    });
    // The proof of a consent has no id of its own: the consent's, in a name space apart.
    entry(apart(consent.id.as_uuid()), "Provenance", proved)
}

/// Another id, the same for the same one.
fn apart(id: Uuid) -> Uuid {
    let mut bytes = *id.as_bytes();
    bytes[15] ^= 0xff;
    Uuid::from_bytes(bytes)
}

fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A wish for a correction.
#[must_use]
pub fn correction(correction: &Correction) -> Entry {
    let note = |text: &str, at| json!({"text": text, "time": instant(at)});
    let (status, decided, reason, notes) = match &correction.phase {
        CorrectionPhase::Open => ("requested", None, None, Vec::new()),
        CorrectionPhase::Accepted(decided) => ("accepted", Some(decided), None, Vec::new()),
        CorrectionPhase::Declined {
            decided,
            reason,
            disagreement,
        } => {
            let said = disagreement
                .iter()
                .map(|said| note(said.statement.expose(), said.at));
            ("rejected", Some(decided), Some(reason), said.collect())
        }
    };
    let mut notes: Vec<Value> = notes;
    notes.insert(0, note(correction.why.expose(), correction.requested_at));
    let task = json!({
        "status": status,
        "statusReason": reason.map(|reason| json!({"text": reason.expose()})),
        "intent": "proposal",
        "code": own("task", "correction"),
        "description": correction.what.expose(),
        "for": subject(correction.patient.id),
        "requester": subject(correction.patient.id),
        "owner": decided.map(|decided| somebody(&decided.by)),
        "authoredOn": instant(correction.requested_at),
        "lastModified": decided.map(|decided| instant(decided.at)),
        "restriction": {"period": {"end": instant(correction.due_at)}},
        "note": notes,
    });
    entry(correction.id.as_uuid(), "Task", task)
}
