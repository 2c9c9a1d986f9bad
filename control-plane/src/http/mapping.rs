//! Between the domain's values and the API's types.

use medmesh_api_types::Secret;
use medmesh_api_types::appointment::{Appointment, AppointmentStatus, Segment};
use medmesh_api_types::disclosure::DisclosureBasis;
use medmesh_api_types::factor::{Device, FactorKind, Passkey, Standing, TotpFactor};
use medmesh_api_types::message::Message;
use medmesh_api_types::page::Page;
use medmesh_api_types::person::{Locale, Person, PersonRef, Role};
use medmesh_api_types::session::{Clinic, Session, SessionPerson};
use medmesh_api_types::visit::{Participant, ParticipantRole, ParticipantState, Visit, VisitState};
use medmesh_base::PersonId;
use medmesh_clinic as clinic;
use medmesh_clinic::credential::LICENSED;
use medmesh_clinic::identity;
use medmesh_store::{self as store, Cursor, PageRequest};

use super::error::ApiError;

/// The API's words and the domain's are kept apart so that either can change; today they agree.
macro_rules! words {
    ($($to_api:ident $to_domain:ident $name:ident { $($variant:ident),+ })+) => {$(
        pub(super) const fn $to_api(word: clinic::$name) -> $name {
            match word { $(clinic::$name::$variant => $name::$variant,)+ }
        }

        #[allow(dead_code, reason = "some words only leave")]
        pub(super) const fn $to_domain(word: $name) -> clinic::$name {
            match word { $($name::$variant => clinic::$name::$variant,)+ }
        }
    )+};
}

words! {
    role role_in Role {
        Patient, Clinician, Nurse, Scheduler, Pharmacist, CareCoordinator, Admin, Support, Auditor, Sre
    }
    segment segment_in Segment { General, Part2, MentalHealth, ReproductiveHealth, Hiv }
    locale locale_in Locale { En, Es, Fr }
    disclosure_basis disclosure_basis_in DisclosureBasis {
        RequiredByLaw, PublicHealth, Abuse, Oversight, Judicial, LawEnforcement, Decedent, Donation, Research,
        Threat, Government, WorkersCompensation, Breach
    }
    appointment_status appointment_status_in AppointmentStatus { Booked, Cancelled, Completed }
    visit_state visit_state_in VisitState { Scheduled, Waiting, Open, Ended }
    participant_role participant_role_in ParticipantRole { Patient, Clinician, Guest }
    participant_state participant_state_in ParticipantState { Expected, Waiting, Admitted, InCall, Left }
}

pub(super) fn session(session: &store::Session) -> Session {
    let enrolled = session.enrolled;
    let second_factors = [
        (enrolled.totp, FactorKind::Totp),
        (enrolled.passkeys > 0, FactorKind::Passkey),
        (enrolled.recovery_codes > 0, FactorKind::RecoveryCode),
    ];
    Session {
        person: SessionPerson {
            id: session.person.id,
            display_name: session.person.display_name.clone(),
            roles: session.person.roles.iter().map(role).collect(),
            awaiting_credentials: awaiting(session).map(role).collect(),
        },
        clinic: Clinic {
            id: session.clinic.id,
            name: session.clinic.name.clone(),
            time_zone: session.clinic.time_zone.as_str().to_owned(),
        },
        csrf_token: Secret::new(&session.csrf),
        idle_timeout_seconds: u32::try_from(store::SESSION_IDLE.whole_seconds()).unwrap_or(u32::MAX),
        locale: locale(session.person.locale),
        standing: match session.standing() {
            identity::Standing::Full => Standing::Full,
            identity::Standing::SecondFactorDue => Standing::MfaRequired,
            identity::Standing::EnrolmentDue => Standing::MfaEnrolmentRequired,
        },
        factors: session.proofs.iter().map(factor).collect(),
        second_factors: second_factors
            .into_iter()
            .filter_map(|(is_there, kind)| is_there.then_some(kind))
            .collect(),
        authenticated_at: session.authenticated_at,
    }
}

/// The roles of somebody signed in that are only words until a licence is verified.
fn awaiting(session: &store::Session) -> impl Iterator<Item = clinic::Role> {
    let waiting = LICENSED.without(session.licensed);
    session
        .person
        .roles
        .iter()
        .filter(move |role| waiting.contains(*role))
}

const fn factor(factor: identity::Factor) -> FactorKind {
    match factor {
        identity::Factor::Password => FactorKind::Password,
        identity::Factor::Totp => FactorKind::Totp,
        identity::Factor::Passkey => FactorKind::Passkey,
        identity::Factor::RecoveryCode => FactorKind::RecoveryCode,
        identity::Factor::Provider => FactorKind::Provider,
        identity::Factor::ProviderMultiFactor => FactorKind::ProviderMfa,
    }
}

pub(super) fn totp(app: store::TotpEntry) -> TotpFactor {
    TotpFactor {
        since: app.since,
        name: app.name,
        version: app.version.0,
    }
}

pub(super) fn passkey(passkey: store::PasskeyEntry) -> Passkey {
    Passkey {
        id: passkey.id,
        name: passkey.name,
        version: passkey.version.0,
        device: passkey.device_label,
        is_synced: passkey.backed_up,
        created_at: passkey.created_at,
        used_at: passkey.used_at,
    }
}

pub(super) fn device(session: store::SessionEntry) -> Device {
    Device {
        id: session.id,
        device: session.device_label,
        created_at: session.created_at,
        seen_at: session.seen_at,
        is_present: session.is_own,
    }
}

pub(super) fn person(person: clinic::Person) -> Person {
    Person {
        id: person.id,
        display_name: person.display_name,
        email: person.email,
        roles: person.roles.iter().map(role).collect(),
        active: person.active,
        version: person.version.0,
    }
}

pub(super) fn person_ref(person: clinic::PersonRef) -> PersonRef {
    PersonRef {
        id: person.id,
        display_name: person.display_name,
    }
}

pub(super) fn appointment(appointment: clinic::Appointment) -> Appointment {
    Appointment {
        id: appointment.id,
        visit_id: appointment.visit_id,
        patient: person_ref(appointment.patient),
        clinician: person_ref(appointment.clinician),
        starts_at: appointment.slot.starts_at(),
        ends_at: appointment.slot.ends_at(),
        status: appointment_status(appointment.status),
        reason: appointment.reason,
        segment: appointment.segment.map(segment),
        version: appointment.version.0,
    }
}

/// The visit as somebody sees it who takes part, or cares for the patient.
pub(super) fn visit(visit: clinic::Visit, viewer: PersonId) -> Visit {
    let you = visit.of_person(viewer).map(|part| part.id);
    Visit {
        id: visit.id,
        appointment_id: visit.appointment_id,
        starts_at: visit.slot.starts_at(),
        ends_at: visit.slot.ends_at(),
        state: visit_state(visit.phase.state()),
        participants: visit.participants.into_iter().map(participant).collect(),
        version: visit.version.0,
        you,
    }
}

fn participant(participant: clinic::Participant) -> Participant {
    Participant {
        participant_id: participant.id,
        person: person_ref(participant.person),
        role: participant_role(participant.role),
        state: participant_state(participant.state),
    }
}

pub(super) fn message(message: clinic::Message) -> Message {
    Message {
        id: message.id,
        participant_id: message.participant_id,
        body: message.body,
        sent_at: message.sent_at,
    }
}

/// The entity tag of a version.
pub(super) fn etag_of(version: i64) -> String {
    format!("\"{version}\"")
}

/// A reason as the domain wants it; a blank one is none.
pub(super) fn reason(text: Option<String>) -> Result<Option<clinic::Reason>, clinic::Invalid> {
    let text = text.filter(|text| !text.trim().is_empty());
    text.map(|text| text.parse()).transpose()
}

pub(super) fn page<A, B>(page: store::Page<A>, item: impl Fn(A) -> B) -> Page<B> {
    Page {
        items: page.items.into_iter().map(item).collect(),
        next_cursor: page.next_cursor.map(|cursor| cursor.to_string()),
    }
}

/// Which page a query asks for.
pub(super) fn page_request(cursor: Option<&str>, limit: Option<u32>) -> Result<PageRequest, ApiError> {
    if limit.is_some_and(|limit| !(1..=store::PAGE_MAX).contains(&limit)) {
        return Err(ApiError::field(
            "limit",
            format!("must be 1 to {}", store::PAGE_MAX),
        ));
    }
    let cursor = cursor.map(str::parse::<Cursor>).transpose()?;
    Ok(PageRequest { cursor, limit })
}
