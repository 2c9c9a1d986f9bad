//! A whole record as JSON: what each route would answer, in one file.

use std::collections::HashMap;

use medmesh_api_types::appointment::Appointment;
use medmesh_api_types::audit_view::RecordAccess;
use medmesh_api_types::break_glass::BreakGlass;
use medmesh_api_types::care::{CareTeamMember, Referral};
use medmesh_api_types::consent::Consent;
use medmesh_api_types::correction::Correction;
use medmesh_api_types::disclosure::Disclosure;
use medmesh_api_types::message::Message;
use medmesh_api_types::person::Person;
use medmesh_api_types::record_export::RecordExport;
use medmesh_api_types::rights::RecordRights;
use medmesh_api_types::visit::Visit;
use medmesh_base::{ClientId, ClinicId, PersonId, Phi, RecordExportId};
use medmesh_clinic as clinic;
use medmesh_clinic::audit::Event;
use medmesh_fhir::Person as FhirPerson;
use medmesh_store::{DeviceRow, FactorEntry, IdentityRow, Named, WholePerson};
use serde::Serialize;
use time::OffsetDateTime;

use super::mapping;
use super::routes::{audit, break_glass, care, consent, corrections, disclosures, exports, rights};

/// The name of this form. Members may be added to it; another name means that some changed.
const FORMAT: &str = "medmesh.record/1";

/// How the file begins.
#[derive(Serialize)]
pub(crate) struct Head {
    format: &'static str,
    id: RecordExportId,
    #[serde(with = "time::serde::rfc3339")]
    made_at: OffsetDateTime,
    clinic: Clinic,
    person: Person,
    locale: &'static str,
    #[serde(with = "time::serde::rfc3339")]
    known_since: OffsetDateTime,
    rights: RecordRights,
    devices: Vec<Device>,
    factors: Vec<Factor>,
    identities: Vec<Identity>,
}

#[derive(Serialize)]
struct Clinic {
    id: ClinicId,
    name: String,
    time_zone: String,
}

#[derive(Serialize)]
struct Device {
    device: String,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    seen_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339::option")]
    revoked_at: Option<OffsetDateTime>,
}

#[derive(Serialize)]
struct Factor {
    kind: String,
    name: Option<Phi<String>>,
    device: Option<String>,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339::option")]
    used_at: Option<OffsetDateTime>,
}

#[derive(Serialize)]
struct Identity {
    issuer: String,
    #[serde(with = "time::serde::rfc3339")]
    linked_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339::option")]
    used_at: Option<OffsetDateTime>,
}

/// An appointment with what came of it.
#[derive(Serialize)]
pub(crate) struct WholeAppointment {
    #[serde(flatten)]
    appointment: Appointment,
    #[serde(skip_serializing_if = "Option::is_none")]
    cancel_reason: Option<Phi<String>>,
    visit: Visit,
    messages: Vec<Message>,
}

pub(crate) fn head(
    export: &clinic::RecordExport,
    about: &clinic::Clinic,
    person: &WholePerson,
    rights: clinic::RecordRights,
    made_at: OffsetDateTime,
) -> Head {
    let device = |row: &DeviceRow| Device {
        device: row.device_label.clone(),
        created_at: row.created_at,
        seen_at: row.seen_at,
        revoked_at: row.revoked_at,
    };
    let factor = |FactorEntry { row, name }: &FactorEntry| Factor {
        name: name.clone(),
        kind: row.kind.clone(),
        device: row.device_label.clone(),
        created_at: row.created_at,
        used_at: row.used_at,
    };
    let identity = |row: &IdentityRow| Identity {
        issuer: row.issuer.clone(),
        linked_at: row.linked_at,
        used_at: row.used_at,
    };
    Head {
        format: FORMAT,
        id: export.id,
        made_at,
        clinic: Clinic {
            id: about.id,
            name: about.name.clone(),
            time_zone: about.time_zone.as_str().to_owned(),
        },
        person: mapping::person(person.person.clone()),
        locale: person.person.locale.as_str(),
        known_since: person.created_at,
        rights: rights::record_rights(rights),
        devices: person.devices.iter().map(device).collect(),
        factors: person.factors.iter().map(factor).collect(),
        identities: person.identities.iter().map(identity).collect(),
    }
}

pub(crate) fn appointment(
    appointment: clinic::Appointment,
    cancel_reason: Option<Phi<String>>,
    visit: clinic::Visit,
    messages: Vec<clinic::Message>,
) -> WholeAppointment {
    let patient = appointment.patient.id;
    WholeAppointment {
        appointment: mapping::appointment(appointment),
        cancel_reason,
        visit: mapping::visit(visit, patient),
        messages: messages.into_iter().map(mapping::message).collect(),
    }
}

pub(crate) fn care_team_member(member: clinic::CareTeamMember) -> CareTeamMember {
    care::member(member)
}

pub(crate) fn referral(referral: clinic::Referral) -> Referral {
    care::referral(referral)
}

pub(crate) fn consent(consent: clinic::Consent) -> Consent {
    consent::consent(consent)
}

pub(crate) fn correction(correction: clinic::Correction) -> Correction {
    corrections::correction(correction)
}

pub(crate) fn break_glass(glass: clinic::BreakGlass) -> BreakGlass {
    break_glass::break_glass(glass)
}

pub(crate) fn disclosure(disclosure: clinic::Disclosure) -> Disclosure {
    disclosures::disclosure(disclosure)
}

pub(crate) fn export(export: clinic::RecordExport) -> RecordExport {
    exports::export(export)
}

pub(crate) fn access(
    event: Event,
    people: &HashMap<PersonId, Named>,
    clients: &HashMap<ClientId, String>,
) -> RecordAccess {
    audit::access(event, people, clients)
}

/// Who acted, where the patient may know it: one of the staff, or a machine of the clinic.
pub(crate) fn named<'a>(
    event: &Event,
    people: &'a HashMap<PersonId, Named>,
    clients: &'a HashMap<ClientId, String>,
) -> Option<FhirPerson<'a>> {
    let id = event.actor_id?;
    if let Some(name) = clients.get(&ClientId::from_uuid(id)) {
        let roles = clinic::Roles::default();
        return Some(FhirPerson { name, roles });
    }
    let named = people.get(&PersonId::from_uuid(id))?;
    Some(FhirPerson {
        name: named.display_name.as_ref()?.expose(),
        roles: named.roles,
    })
}
