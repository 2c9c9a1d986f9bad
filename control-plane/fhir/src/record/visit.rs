//! Appointments, visits, messages.

use medmesh_base::Phi;
use medmesh_clinic::{Appointment, AppointmentStatus, Message, ParticipantRole, Phase, Visit, VisitState};
use serde_json::{Value, json};

use super::{Entry, coded, entry, instant, own, period, somebody, subject, urn};

const ACT_CODE: &str = "http://terminology.hl7.org/CodeSystem/v3-ActCode";

/// An appointment with its visit and what was written there.
#[must_use]
pub fn appointment(
    appointment: &Appointment,
    visit: &Visit,
    messages: &[Message],
    cancelled_because: Option<&Phi<String>>,
) -> Vec<Entry> {
    let patient = appointment.patient.id;
    let status = match appointment.status {
        AppointmentStatus::Booked => "booked",
        AppointmentStatus::Cancelled => "cancelled",
        AppointmentStatus::Completed => "fulfilled",
    };
    let reason = appointment
        .reason
        .as_ref()
        .map(|reason| json!([{"text": reason.expose()}]));
    let security = appointment
        .segment
        .map(|segment| own("segment", segment.as_str()));
    let tags = security.map(|security| json!({"security": security["coding"]}));
    let participants = json!([
        {"actor": subject(patient), "status": "accepted"},
        {"actor": somebody(&appointment.clinician), "status": "accepted"},
    ]);
    let booked = json!({
        "meta": tags,
        "status": status,
        "reasonCode": reason,
        "cancelationReason": cancelled_because.map(|reason| json!({"text": reason.expose()})),
        "start": instant(appointment.slot.starts_at()),
        "end": instant(appointment.slot.ends_at()),
        "participant": participants,
    });
    let mut entries = vec![
        entry(appointment.id.as_uuid(), "Appointment", booked),
        encounter(appointment, visit, &tags),
    ];
    let sent = messages
        .iter()
        .map(|message| communication(appointment, visit, message));
    entries.extend(sent);
    entries
}

fn encounter(appointment: &Appointment, visit: &Visit, tags: &Option<Value>) -> Entry {
    let status = match (appointment.status, visit.phase.state()) {
        (AppointmentStatus::Cancelled, _) => "cancelled",
        (_, VisitState::Scheduled) => "planned",
        (_, VisitState::Waiting) => "arrived",
        (_, VisitState::Open) => "in-progress",
        (_, VisitState::Ended) => "finished",
    };
    let taken = match &visit.phase {
        Phase::Scheduled | Phase::Waiting => None,
        Phase::Open { opened_at } => Some(period(*opened_at, None)),
        Phase::Ended { opened_at, ended_at } => opened_at.map(|opened| period(opened, Some(*ended_at))),
    };
    let others = visit
        .participants
        .iter()
        .filter(|part| part.role != ParticipantRole::Patient);
    let participants: Vec<Value> = others
        .map(|part| json!({"type": [own("participant-role", part.role.as_str())], "individual": somebody(&part.person)}))
        .collect();
    let held = json!({
        "meta": tags,
        "status": status,
        "class": {"system": ACT_CODE, "code": "VR", "display": "virtual"},
        "subject": subject(appointment.patient.id),
        "participant": participants,
        "appointment": [{"reference": urn(appointment.id.as_uuid())}],
        "period": taken,
    });
    entry(visit.id.as_uuid(), "Encounter", held)
}

fn communication(appointment: &Appointment, visit: &Visit, message: &Message) -> Entry {
    let sender = visit
        .participant(message.participant_id)
        .map(|part| match part.role {
            ParticipantRole::Patient => subject(part.person.id),
            ParticipantRole::Clinician | ParticipantRole::Guest => somebody(&part.person),
        });
    let sent = json!({
        "status": "completed",
        "category": [coded("http://terminology.hl7.org/CodeSystem/communication-category", "notification")],
        "subject": subject(appointment.patient.id),
        "encounter": {"reference": urn(visit.id.as_uuid())},
        "sent": instant(message.sent_at),
        "sender": sender,
        "payload": [{"contentString": message.body.expose()}],
    });
    entry(message.id.as_uuid(), "Communication", sent)
}
