//! Entries of the audit log as `AuditEvent`, after IHE's Basic Audit Log Patterns (BALP 1.1).
//!
//! An act that succeeded and reads, creates or changes something claims the BALP profile of that
//! act. Refusals and the rest (signing in, exports, verifications) are plain R4 events, because
//! BALP has no profile for them. Patients are references; only staff are named.

mod resource;

use medmesh_clinic::audit::{Event, Outcome, Purpose};
use medmesh_clinic::{Role, Roles};
use uuid::Uuid;

use resource::{
    Absent, Agent, Coding, Concept, Detail, Entity, Entry, Identifier, Link, Meta, Network, Reference,
    SourceElement,
};
pub use resource::{AuditEvent, Bundle};

const BALP: &str = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit.";
const BALP_ENTITY_TYPE: &str = "https://profiles.ihe.net/ITI/BALP/CodeSystem/BasicAuditEntityType";
const EVENT_TYPE: &str = "http://terminology.hl7.org/CodeSystem/audit-event-type";
const ENTITY_TYPE: &str = "http://terminology.hl7.org/CodeSystem/audit-entity-type";
const ENTITY_ROLE: &str = "http://terminology.hl7.org/CodeSystem/object-role";
const SOURCE_TYPE: &str = "http://terminology.hl7.org/CodeSystem/security-source-type";
const INTERACTION: &str = "http://hl7.org/fhir/restful-interaction";
const PARTICIPATION: &str = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType";
const ACT_REASON: &str = "http://terminology.hl7.org/CodeSystem/v3-ActReason";
const PROVENANCE: &str = "http://terminology.hl7.org/CodeSystem/provenance-participant-type";
const DICOM: &str = "http://dicom.nema.org/resources/ontology/DCM";
/// Our own words.
const ACTION: &str = "https://medmesh.dev/fhir/CodeSystem/audit-action";
const ROLE: &str = "https://medmesh.dev/fhir/CodeSystem/role";
const URI: &str = "urn:ietf:rfc:3986";

/// Who recorded it.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The clinic's name.
    pub site: &'a str,
    /// Where its API is.
    pub url: &'a str,
}

/// Who acted, where they may be named.
#[derive(Clone, Copy, Debug)]
pub struct Person<'a> {
    /// How they are called.
    pub name: &'a str,
    /// What they are to the clinic.
    pub roles: Roles,
}

/// What kind of act it is to FHIR.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Interaction {
    Read,
    Create,
    Update,
    Delete,
    SignIn,
    SignOut,
    Export,
    Other,
}

impl Interaction {
    /// By the last word of the act. An act this does not know is [`Interaction::Other`], never lost.
    fn of(action: &str) -> Self {
        match action {
            "login"
            | "login_refused"
            | "second_factor_verify"
            | "second_factor_refused"
            | "client_token"
            | "client_refused" => Self::SignIn,
            "session_revoke" => Self::SignOut,
            _ => match action.rsplit('_').next().unwrap_or_default() {
                "read" | "list" | "get" | "search" => Self::Read,
                "create" | "add" | "enrol" | "record" => Self::Create,
                "update" | "cancel" | "open" | "admit" | "end" | "set" | "review" | "accept" | "decline"
                | "disagree" => Self::Update,
                "remove" | "erase" => Self::Delete,
                "export" => Self::Export,
                _ => Self::Other,
            },
        }
    }

    /// The BALP profile's name, FHIR's interaction and R4's action code.
    const fn words(self) -> (Option<&'static str>, Option<&'static str>, &'static str) {
        match self {
            Self::Read => (Some("Read"), Some("read"), "R"),
            Self::Create => (Some("Create"), Some("create"), "C"),
            Self::Update => (Some("Update"), Some("update"), "U"),
            Self::Delete => (Some("Delete"), Some("delete"), "D"),
            Self::SignIn | Self::SignOut | Self::Export | Self::Other => (None, None, "E"),
        }
    }
}

/// One entry as a resource.
#[must_use]
pub fn audit_event(event: &Event, actor: Option<Person<'_>>, source: &Source<'_>) -> AuditEvent {
    let is_done = Outcome::of(&event.action) == Outcome::Done;
    // Of a denial it is what was asked for that says what kind of act it was.
    let act = event.denied_action.as_deref().unwrap_or(&event.action);
    let interaction = Interaction::of(act);
    let (profile, rest, action) = interaction.words();
    let mut subtype: Vec<Coding> = rest
        .map(|code| coding(INTERACTION, code, None))
        .into_iter()
        .collect();
    match interaction {
        Interaction::SignIn => subtype.push(coding(DICOM, "110122", Some("Login"))),
        Interaction::SignOut => subtype.push(coding(DICOM, "110123", Some("Logout"))),
        _ => {}
    }
    subtype.push(coding(ACTION, act, None));
    AuditEvent {
        resource_type: "AuditEvent",
        id: event.id,
        meta: profile.filter(|_| is_done).map(|profile| Meta {
            profile: [profile_url(profile, event.patient_id.is_some())],
        }),
        r#type: event_type(interaction),
        subtype,
        action,
        recorded: event.at,
        outcome: if is_done { "0" } else { "4" },
        outcome_desc: event
            .denied_reason
            .as_deref()
            .map(|reason| format!("denied: {reason}")),
        purpose_of_event: purposes(event),
        agent: agents(event, actor, source, interaction),
        source: SourceElement {
            site: source.site.to_owned(),
            observer: named(source.url),
            r#type: [coding(SOURCE_TYPE, "4", Some("Application Server"))],
        },
        entity: entities(event),
    }
}

/// Events as one document; `next` is where the rest is.
#[must_use]
pub fn bundle(events: Vec<AuditEvent>, next: Option<String>) -> Bundle {
    Bundle {
        resource_type: "Bundle",
        r#type: "collection",
        link: next
            .map(|url| Link {
                relation: "next",
                url,
            })
            .into_iter()
            .collect(),
        entry: events
            .into_iter()
            .map(|resource| Entry {
                full_url: format!("urn:uuid:{}", resource.id),
                resource,
            })
            .collect(),
    }
}

fn profile_url(name: &str, is_about_a_patient: bool) -> String {
    let patient = if is_about_a_patient { "Patient" } else { "" };
    format!("{BALP}{patient}{name}")
}

fn event_type(interaction: Interaction) -> Coding {
    match interaction {
        Interaction::SignIn | Interaction::SignOut => coding(DICOM, "110114", Some("User Authentication")),
        Interaction::Export => coding(DICOM, "110106", Some("Export")),
        _ => coding(EVENT_TYPE, "rest", Some("Restful Operation")),
    }
}

fn coding(system: &'static str, code: &str, display: Option<&'static str>) -> Coding {
    Coding {
        system,
        code: code.to_owned(),
        display,
    }
}

fn concept(system: &'static str, code: &str, display: Option<&'static str>) -> Concept {
    Concept {
        coding: vec![coding(system, code, display)],
    }
}

fn named(url: &str) -> Reference {
    Reference {
        identifier: Some(Identifier {
            system: URI,
            value: url.to_owned(),
        }),
        ..Reference::default()
    }
}

fn by_id(id: Uuid) -> Reference {
    named(&format!("urn:uuid:{id}"))
}

/// Purpose of use as HL7 has it; broken glass says so beside the emergency.
fn purposes(event: &Event) -> Vec<Concept> {
    let code = match event.purpose.parse::<Purpose>() {
        Ok(Purpose::Treatment) => Some("TREAT"),
        Ok(Purpose::PatientRequest) => Some("PATRQT"),
        Ok(Purpose::Operations) => Some("HOPERAT"),
        Ok(Purpose::Security) => Some("HSYSADMIN"),
        Ok(Purpose::Emergency) => Some("ETREAT"),
        Ok(Purpose::Payment) => Some("HPAYMT"),
        Err(_) => None,
    };
    let glass = event.break_glass_id.map(|_| "BTG");
    code.into_iter()
        .chain(glass)
        .map(|code| concept(ACT_REASON, code, None))
        .collect()
}

/// What client and server are to an act. BALP has them change roles where data flows in; of what is removed
/// the server is the custodian.
fn machines(interaction: Interaction) -> (Concept, Concept) {
    let source = || concept(DICOM, "110153", Some("Source Role ID"));
    let destination = || concept(DICOM, "110152", Some("Destination Role ID"));
    match interaction {
        Interaction::Read => (destination(), source()),
        Interaction::Delete => (
            concept(DICOM, "110150", Some("Application")),
            concept(PROVENANCE, "custodian", Some("Custodian")),
        ),
        _ => (source(), destination()),
    }
}

/// The client, us, and the person.
fn agents(
    event: &Event,
    actor: Option<Person<'_>>,
    source: &Source<'_>,
    interaction: Interaction,
) -> Vec<Agent> {
    let (client, server) = machines(interaction);
    let machine = |r#type: Concept, who: Reference, network: Network| Agent {
        r#type,
        role: Vec::new(),
        who,
        name: None,
        requestor: false,
        network: Some(network),
        purpose_of_use: Vec::new(),
    };
    let session = match event.session_id {
        Some(session) => by_id(session),
        None => Reference {
            display: Some(event.actor_kind.clone()),
            ..Reference::default()
        },
    };
    // Addresses of clients are not in the log.
    let unknown = Network::Unknown {
        extension: [Absent {
            url: "http://hl7.org/fhir/StructureDefinition/data-absent-reason",
            value_code: "unsupported",
        }],
    };
    let address = Network::Known {
        address: source.url.to_owned(),
        r#type: "5",
    };
    let mut agents = vec![
        machine(client, session, unknown),
        machine(server, named(source.url), address),
    ];
    if let Some(person) = event.actor_id {
        let (code, display) = if interaction == Interaction::Read {
            ("IRCP", "information recipient")
        } else {
            ("AUT", "author (originator)")
        };
        let roles = actor.map_or_else(Roles::default, |actor| actor.roles);
        agents.push(Agent {
            r#type: concept(PARTICIPATION, code, Some(display)),
            role: roles
                .iter()
                .map(|role: Role| concept(ROLE, role.as_str(), None))
                .collect(),
            who: by_id(person),
            name: actor.map(|actor| actor.name.to_owned()),
            requestor: true,
            network: None,
            purpose_of_use: purposes(event),
        });
    }
    agents
}

fn entities(event: &Event) -> Vec<Entity> {
    let mut entities = vec![
        Entity {
            what: object(event),
            r#type: coding(ENTITY_TYPE, "2", Some("System Object")),
            role: Some(coding(ENTITY_ROLE, "4", Some("Domain Resource"))),
            detail: details(event),
        },
        Entity {
            what: Reference {
                identifier: Some(Identifier {
                    system: URI,
                    value: format!("urn:uuid:{}", event.request_id),
                }),
                ..Reference::default()
            },
            r#type: coding(BALP_ENTITY_TYPE, "XrequestId", None),
            role: None,
            detail: Vec::new(),
        },
    ];
    if let Some(patient) = event.patient_id {
        entities.push(Entity {
            what: Reference {
                reference: Some(format!("Patient/{patient}")),
                ..Reference::default()
            },
            r#type: coding(ENTITY_TYPE, "1", Some("Person")),
            role: Some(coding(ENTITY_ROLE, "1", Some("Patient"))),
            detail: Vec::new(),
        });
    }
    entities
}

/// What changed, where the event says so: the roles of whom it was done to.
fn details(event: &Event) -> Vec<Detail> {
    let held = event.roles.iter();
    held.flat_map(|held| [("roles-before", &held.before), ("roles-after", &held.after)])
        .filter(|(_, roles)| !roles.is_empty())
        .map(|(name, roles)| Detail {
            r#type: name,
            value_string: roles.join(" "),
        })
        .collect()
}

/// What it was done to: a reference where FHIR has such a resource.
fn object(event: &Event) -> Reference {
    let Some(id) = event.object_id else {
        return Reference {
            display: Some(event.object_kind.clone()),
            ..Reference::default()
        };
    };
    let resource = match event.object_kind.as_str() {
        "appointment" => "Appointment",
        "visit" => "Encounter",
        "message" => "Communication",
        "consent" => "Consent",
        "referral" => "ServiceRequest",
        "clinic" => "Organization",
        "person" if event.patient_id == Some(id) => "Patient",
        "person" => "Person",
        kind => {
            return Reference {
                display: Some(kind.to_owned()),
                ..by_id(id)
            };
        }
    };
    Reference {
        reference: Some(format!("{resource}/{id}")),
        ..Reference::default()
    }
}

#[cfg(test)]
mod balp;
#[cfg(test)]
mod tests;
