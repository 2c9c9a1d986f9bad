//! A copy of the audit log to take away: CSV for people, FHIR for systems.

use axum::response::{IntoResponse as _, Response};
use http::HeaderValue;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE, LINK};
use medmesh_api_types::audit_view::{AuditFormat, AuditQuery};
use medmesh_base::{ClientId, PersonId};
use medmesh_clinic::Roles;
use medmesh_clinic::audit::{Event, Outcome};
use medmesh_fhir::{Person, Source, audit_event, bundle};
use medmesh_store::AuditView;
use time::format_description::well_known::Rfc3339;

use super::error::ApiError;

/// What is copied, and for whom.
pub(super) struct Copy<'a> {
    pub(super) format: AuditFormat,
    pub(super) query: &'a AuditQuery,
    pub(super) clinic: &'a str,
    pub(super) url: &'a str,
}

/// The names of the columns; a column is only ever added at the end.
const COLUMNS: [&str; 19] = [
    "id",
    "at",
    "actor_kind",
    "actor_id",
    "actor_name",
    "actor_roles",
    "session_id",
    "action",
    "object_kind",
    "object_id",
    "patient_id",
    "purpose",
    "outcome",
    "denied_action",
    "denied_reason",
    "break_glass_id",
    "request_id",
    "roles_before",
    "roles_after",
];

pub(super) fn answer(copy: &Copy<'_>, view: &AuditView) -> Result<Response, ApiError> {
    let next = view.page.next_cursor.map(|cursor| copy.next(&cursor.to_string()));
    let (kind, name, body) = match copy.format {
        AuditFormat::Csv => ("text/csv; charset=utf-8", "audit.csv", csv(view).into_bytes()),
        AuditFormat::Fhir => (
            "application/fhir+json",
            "audit.json",
            copy.fhir(view, next.as_ref().map(|path| format!("{}{path}", copy.url))),
        ),
    };
    let disposition = format!("attachment; filename=\"{name}\"");
    let headers = [
        (CONTENT_TYPE, kind.to_owned()),
        (CONTENT_DISPOSITION, disposition),
    ];
    let mut response = (headers, body).into_response();
    if let Some(next) = next {
        let link = HeaderValue::from_str(&format!("<{next}>; rel=\"next\""));
        let link = link.map_err(|_| ApiError::field("action", "is not an act of the audit log"))?;
        response.headers_mut().insert(LINK, link);
    }
    Ok(response)
}

impl Copy<'_> {
    /// The path of the next part: the same question, further on.
    fn next(&self, cursor: &str) -> String {
        let query = AuditQuery {
            cursor: None,
            limit: None,
            ..self.query.clone()
        };
        let members = serde_json::to_value(&query).unwrap_or_default();
        let format = match self.format {
            AuditFormat::Csv => "csv",
            AuditFormat::Fhir => "fhir",
        };
        let mut path = format!("/v1/audit/export?format={format}&cursor={cursor}");
        for (name, member) in members.as_object().into_iter().flatten() {
            // Ids, known words and instants: of them only the offset's sign needs care.
            let text = member.as_str().unwrap_or_default().replace('+', "%2B");
            path.push_str(&format!("&{name}={text}"));
        }
        path
    }

    fn fhir(&self, view: &AuditView, next: Option<String>) -> Vec<u8> {
        let source = Source {
            site: self.clinic,
            url: self.url,
        };
        let events = view.page.items.iter().map(|event| {
            let person = actor(event, view).and_then(|(name, roles)| {
                let name = name?;
                Some(Person { name, roles })
            });
            audit_event(event, person, &source)
        });
        serde_json::to_vec(&bundle(events.collect(), next)).expect("resources are plain JSON")
    }
}

/// How whoever acted is called, unless that was erased, and what they are to the clinic; a machine
/// is nothing to it.
fn actor<'a>(event: &Event, view: &'a AuditView) -> Option<(Option<&'a str>, Roles)> {
    let id = event.actor_id?;
    if let Some(name) = view.clients.get(&ClientId::from_uuid(id)) {
        return Some((Some(name), Roles::default()));
    }
    let named = view.people.get(&PersonId::from_uuid(id))?;
    let name = named.display_name.as_ref().map(|name| name.expose().as_str());
    Some((name, named.roles))
}

fn csv(view: &AuditView) -> String {
    let mut text = String::with_capacity(view.page.items.len() * 256 + 256);
    line(&mut text, COLUMNS.map(str::to_owned));
    for event in &view.page.items {
        let (name, roles) = actor(event, view).unwrap_or_default();
        let roles: Vec<&str> = roles.iter().map(medmesh_clinic::Role::as_str).collect();
        let id = |id: Option<uuid::Uuid>| id.map(|id| id.to_string()).unwrap_or_default();
        let word = |word: &Option<String>| word.clone().unwrap_or_default();
        let held = event.roles.clone().unwrap_or_default();
        line(
            &mut text,
            [
                event.id.to_string(),
                event.at.format(&Rfc3339).unwrap_or_default(),
                event.actor_kind.clone(),
                id(event.actor_id),
                name.unwrap_or_default().to_owned(),
                roles.join(" "),
                id(event.session_id),
                event.action.clone(),
                event.object_kind.clone(),
                id(event.object_id),
                id(event.patient_id),
                event.purpose.clone(),
                Outcome::of(&event.action).to_string(),
                word(&event.denied_action),
                word(&event.denied_reason),
                id(event.break_glass_id),
                event.request_id.to_string(),
                held.before.join(" "),
                held.after.join(" "),
            ],
        );
    }
    text
}

fn line(text: &mut String, fields: [String; COLUMNS.len()]) {
    for (n, field) in fields.into_iter().enumerate() {
        if n > 0 {
            text.push(',');
        }
        push(text, &field);
    }
    text.push_str("\r\n");
}

/// One field (RFC 4180). What a spreadsheet would take for a formula becomes text: names are
/// chosen by those who bear them.
fn push(text: &mut String, field: &str) {
    let is_formula = field.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let quoted = is_formula || field.contains(['"', ',', '\r', '\n']);
    if !quoted {
        text.push_str(field);
        return;
    }
    text.push('"');
    if is_formula {
        text.push('\'');
    }
    text.push_str(&field.replace('"', "\"\""));
    text.push('"');
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use medmesh_base::Phi;
    use medmesh_clinic::Role;
    use medmesh_clinic::audit::RolesHeld;
    use medmesh_store::{Named, Page};

    use super::*;

    #[test]
    fn fields_are_text_to_every_reader() {
        for (field, written) in [
            ("plain", "plain"),
            ("Doe, Jane", "\"Doe, Jane\""),
            ("the \"boss\"", "\"the \"\"boss\"\"\""),
            ("=cmd|' /C calc'!A0", "\"'=cmd|' /C calc'!A0\""),
            ("-1", "\"'-1\""),
        ] {
            let mut text = String::new();
            push(&mut text, field);
            assert_eq!(text, written);
        }
    }

    #[test]
    fn the_next_part_is_asked_for_alike() {
        let query = AuditQuery {
            action: Some("visit_read".into()),
            from: Some(time::OffsetDateTime::UNIX_EPOCH),
            limit: Some(3),
            cursor: Some("old".into()),
            ..AuditQuery::default()
        };
        let copy = Copy {
            format: AuditFormat::Fhir,
            query: &query,
            clinic: "",
            url: "",
        };
        let next = copy.next("new");
        assert_eq!(
            next,
            "/v1/audit/export?format=fhir&cursor=new&action=visit_read&from=1970-01-01T00:00:00Z"
        );
    }

    /// What a column says is what the event says: the copy is what an auditor goes by.
    #[test]
    fn each_column_says_what_its_name_says() {
        let id = |n: u128| uuid::Uuid::from_u128(n);
        let event = Event {
            clinic_id: id(1),
            id: id(2),
            at: time::OffsetDateTime::UNIX_EPOCH,
            actor_kind: "person".into(),
            actor_id: Some(id(3)),
            session_id: Some(id(4)),
            action: "denied".into(),
            object_kind: "visit".into(),
            object_id: Some(id(5)),
            patient_id: Some(id(6)),
            purpose: "emergency".into(),
            request_id: id(7),
            break_glass_id: Some(id(8)),
            denied_action: Some("visit_get".into()),
            denied_reason: Some("relation".into()),
            roles: Some(RolesHeld {
                before: vec!["nurse".into()],
                after: vec!["clinician".into(), "admin".into()],
            }),
        };
        let nurse = Named {
            display_name: Some(Phi::new("Nora Nurse".into())),
            roles: Roles::of(&[Role::Nurse, Role::Auditor]),
        };
        let quiet = Event {
            action: "visit_read".into(),
            actor_id: Some(id(9)),
            roles: None,
            ..event.clone()
        };
        let view = AuditView {
            page: Page {
                items: vec![event, quiet],
                next_cursor: None,
            },
            people: [(PersonId::from_uuid(id(3)), nurse)].into(),
            clients: [(ClientId::from_uuid(id(9)), "Laboratory".to_owned())].into(),
            places: HashMap::new(),
        };
        let text = csv(&view);
        let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split(',').collect()).collect();
        let column =
            |row: usize, name: &str| rows[row][COLUMNS.iter().position(|known| *known == name).unwrap()];
        assert_eq!(rows[0], COLUMNS);
        let text_of = |n: u128| id(n).to_string();
        for (name, expected) in [
            ("id", text_of(2)),
            ("at", "1970-01-01T00:00:00Z".into()),
            ("actor_kind", "person".into()),
            ("actor_id", text_of(3)),
            ("actor_name", "Nora Nurse".into()),
            ("actor_roles", "nurse auditor".into()),
            ("session_id", text_of(4)),
            ("action", "denied".into()),
            ("object_kind", "visit".into()),
            ("object_id", text_of(5)),
            ("patient_id", text_of(6)),
            ("purpose", "emergency".into()),
            ("outcome", "refused".into()),
            ("denied_action", "visit_get".into()),
            ("denied_reason", "relation".into()),
            ("break_glass_id", text_of(8)),
            ("request_id", text_of(7)),
            ("roles_before", "nurse".into()),
            ("roles_after", "clinician admin".into()),
        ] {
            assert_eq!(column(1, name), expected, "{name}");
        }
        assert_eq!(
            (column(2, "actor_name"), column(2, "actor_roles")),
            ("Laboratory", "")
        );
        assert_eq!((column(2, "outcome"), column(2, "roles_after")), ("done", ""));
    }
}
