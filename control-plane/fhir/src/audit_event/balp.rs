//! What BALP's profiles ask of an event, element by element, for the tests: written from the text of
//! IHE ITI Basic Audit Log Patterns 1.1.5 (<https://profiles.ihe.net/ITI/BALP/>, CC-BY-4.0), section
//! "RESTful activities", and sharing nothing with the mapping.
//!
//! The definitions themselves are only to be had from a registry of FHIR packages, which tests do not
//! ask; a validator of R4 judges the same events against the base definition in `tests/fhir`.

use serde_json::Value;

const PROFILE: &str = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit.";
const DICOM: &str = "http://dicom.nema.org/resources/ontology/DCM";
const PARTICIPATION: &str = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType";
const ENTITY: &str = "http://terminology.hl7.org/CodeSystem/audit-entity-type";
const BALP_ENTITY: &str = "https://profiles.ihe.net/ITI/BALP/CodeSystem/BasicAuditEntityType";
const OBJECT_ROLE: &str = "http://terminology.hl7.org/CodeSystem/object-role";
/// `provenance-participant-type`, whose code a deleting server has.
const PROVENANCE: &str = "http://terminology.hl7.org/CodeSystem/provenance-participant-type";

/// One profile: its name, R4's action, the interaction, and what client, server and user are in it.
struct Profile {
    name: &'static str,
    action: &'static str,
    interaction: &'static str,
    client: (&'static str, &'static str),
    server: (&'static str, &'static str),
    user: &'static [&'static str],
}

const PROFILES: [Profile; 4] = [
    Profile {
        name: "Read",
        action: "R",
        interaction: "read",
        client: (DICOM, "110152"),
        server: (DICOM, "110153"),
        user: &["IRCP"],
    },
    Profile {
        name: "Create",
        action: "C",
        interaction: "create",
        client: (DICOM, "110153"),
        server: (DICOM, "110152"),
        user: &["AUT", "INF", "CST"],
    },
    Profile {
        name: "Update",
        action: "U",
        interaction: "update",
        client: (DICOM, "110153"),
        server: (DICOM, "110152"),
        user: &["AUT", "INF", "CST"],
    },
    Profile {
        name: "Delete",
        action: "D",
        interaction: "delete",
        client: (DICOM, "110150"),
        server: (PROVENANCE, "custodian"),
        user: &["AUT", "INF", "CST"],
    },
];

/// Every rule of the profile it claims that an event breaks. One that claims none breaks none.
pub(super) fn broken(event: &Value) -> Vec<String> {
    let Some(claimed) = event["meta"]["profile"].get(0).and_then(Value::as_str) else {
        return Vec::new();
    };
    let Some(name) = claimed.strip_prefix(PROFILE) else {
        return vec![format!("{claimed} is no profile of BALP")];
    };
    let is_about_a_patient = name.starts_with("Patient");
    let base = name.strip_prefix("Patient").unwrap_or(name);
    let Some(profile) = PROFILES.iter().find(|profile| profile.name == base) else {
        return vec![format!("{name} is no profile of BALP")];
    };
    let mut broken = Vec::new();
    let mut must = |holds: bool, rule: &str| {
        if !holds {
            broken.push(format!("{name}: {rule}"));
        }
    };
    let rest = ("http://terminology.hl7.org/CodeSystem/audit-event-type", "rest");
    must(is_coding(&event["type"], rest), "type is rest");
    let interaction = ("http://hl7.org/fhir/restful-interaction", profile.interaction);
    let said = items(&event["subtype"]).filter(|word| is_coding(word, interaction));
    must(said.count() == 1, "subtype has the interaction once");
    must(event["action"] == profile.action, "action");
    must(event["recorded"].is_string(), "recorded 1..1");
    must(event["outcome"] == "0", "outcome is success");
    must(items(&event["agent"]).count() >= 2, "agent 2..");
    for (slice, code) in [("client", profile.client), ("server", profile.server)] {
        let agents: Vec<_> = items(&event["agent"])
            .filter(|agent| is_concept(&agent["type"], code))
            .collect();
        must(agents.len() == 1, &format!("agent[{slice}] 1..1"));
        for agent in agents {
            must(agent["who"].is_object(), &format!("agent[{slice}].who 1..1"));
            must(
                agent["network"].is_object(),
                &format!("agent[{slice}].network 1..1"),
            );
            must(
                agent.get("media").is_none(),
                &format!("agent[{slice}].media 0..0"),
            );
        }
    }
    let is_user = |agent: &&Value| {
        profile
            .user
            .iter()
            .any(|code| is_concept(&agent["type"], (PARTICIPATION, code)))
    };
    let users: Vec<_> = items(&event["agent"]).filter(is_user).collect();
    must(users.len() <= 1, "agent[user] 0..1");
    for user in users {
        must(user["who"].is_object(), "agent[user].who 1..1");
        must(user["requestor"] == true, "agent[user].requestor is true");
        must(user.get("media").is_none(), "agent[user].media 0..0");
        must(user.get("network").is_none(), "agent[user].network 0..0");
    }
    entities(event, is_about_a_patient, &mut must);
    broken
}

fn entities(event: &Value, is_about_a_patient: bool, must: &mut impl FnMut(bool, &str)) {
    let of = |system: &'static str, code: &'static str| {
        items(&event["entity"]).filter(move |entity| is_coding(&entity["type"], (system, code)))
    };
    must(
        items(&event["entity"]).count() > usize::from(is_about_a_patient),
        "entity 1.. or 2..",
    );
    must(
        of(BALP_ENTITY, "XrequestId").count() <= 1,
        "entity[transaction] 0..1",
    );
    for transaction in of(BALP_ENTITY, "XrequestId") {
        must(
            transaction["what"]["identifier"]["value"].is_string(),
            "entity[transaction].what.identifier.value 1..1",
        );
    }
    must(of(ENTITY, "2").count() == 1, "entity[data] 1..1");
    for data in of(ENTITY, "2") {
        let roles = ["4", "3", "20"];
        must(
            roles
                .iter()
                .any(|role| is_coding(&data["role"], (OBJECT_ROLE, role))),
            "entity[data].role",
        );
        must(data["what"].is_object(), "entity[data].what 1..1");
    }
    if is_about_a_patient {
        must(of(ENTITY, "1").count() == 1, "entity[patient] 1..1");
        for patient in of(ENTITY, "1") {
            must(
                is_coding(&patient["role"], (OBJECT_ROLE, "1")),
                "entity[patient].role",
            );
            let reference = patient["what"]["reference"].as_str().unwrap_or_default();
            must(
                reference.starts_with("Patient/"),
                "entity[patient].what is a Reference(Patient)",
            );
        }
    }
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

fn is_coding(coding: &Value, (system, code): (&str, &str)) -> bool {
    coding["system"] == system && coding["code"] == code
}

fn is_concept(concept: &Value, code: (&str, &str)) -> bool {
    items(&concept["coding"]).any(|coding| is_coding(coding, code))
}
