//! The audit log as people read it. Reading it is on it.

use std::collections::HashMap;

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use medmesh_api_types::audit_view::{
    AuditClient, AuditEntry, AuditFormatQuery, AuditPerson, AuditQuery, AuditRoles, Outcome, RecordAccess,
    RecordAccessQuery,
};
use medmesh_api_types::page::Page;
use medmesh_base::{AuditId, BreakGlassId, ClientId, PersonId, RequestId, SessionId};
use medmesh_clinic::audit::{self, Event};
use medmesh_clinic::authz::Action;
use medmesh_store::{AuditFilter, AuditView, Cursor, Named};
use utoipa_axum::routes;
use uuid::Uuid;

use crate::http::access::Routes;
use crate::http::audit_copy::{Copy, answer};
use crate::http::caller::{Asking, Signed};
use crate::http::error::ApiError;
use crate::http::extract::{Id, Query};
use crate::http::mapping;
use crate::http::state::Api;

const TAG: &str = "audit";

pub(super) fn routes() -> Routes {
    Routes::new()
        .signed(Action::AuditList, routes!(audit_list))
        .signed(Action::AuditExport, routes!(audit_export))
        .signed(Action::RecordAccessList, routes!(record_access_list))
}

/// The clinic's audit log, newest first. Auditors and admins only.
///
/// A page may hold fewer than `limit` though there is a next one. Patients named in the answer can see
/// that they were.
#[utoipa::path(get, path = "/v1/audit", tag = TAG, params(AuditQuery),
    responses((status = 200, description = "One page.", body = Page<AuditEntry>)))]
async fn audit_list(
    State(api): State<Api>,
    signed: Asking,
    Query(query): Query<AuditQuery>,
) -> Result<Json<Page<AuditEntry>>, ApiError> {
    let page = mapping::page_request(query.cursor.as_deref(), query.limit)?;
    let filter = filter(&query)?;
    let mut tx = api.begin(&signed).await?;
    let AuditView {
        page,
        people,
        clients,
        places,
    } = tx.audit_list(&filter, page).await?;
    tx.commit().await?;
    Ok(Json(mapping::page(page, |event| {
        let leaf_index = places.get(&event.id).copied();
        AuditEntry {
            leaf_index,
            ..entry(event, &people, &clients)
        }
    })))
}

/// A copy of the clinic's audit log, newest first, at most 4,000 entries.
///
/// Auditors and admins who have just proved themselves again (403 `step_up_required`). Staff are named,
/// patients are ids. Where there is more, `Link` with `rel="next"` says where.
#[utoipa::path(get, path = "/v1/audit/export", tag = TAG, params(AuditQuery, AuditFormatQuery),
    responses((status = 200, description = "The copy.",
        content((String = "text/csv"), (serde_json::Value = "application/fhir+json")),
        headers(("Link" = String, description = "The next part (RFC 8288).")))))]
async fn audit_export(
    State(api): State<Api>,
    signed: Signed,
    Query(query): Query<AuditQuery>,
    Query(form): Query<AuditFormatQuery>,
) -> Result<Response, ApiError> {
    let after = query.cursor.as_deref().map(str::parse::<Cursor>).transpose()?;
    let filter = filter(&query)?;
    let mut tx = api.begin(&signed).await?;
    let view = tx.audit_export(&filter, after).await?;
    tx.commit().await?;
    let copy = Copy {
        format: form.format.unwrap_or_default(),
        query: &query,
        clinic: &signed.session.clinic.name,
        url: api.origins.first().map_or("", String::as_str),
    };
    answer(&copy, &view)
}

/// Who saw a patient's record, when and why, newest first.
///
/// The patient and the privacy officer only. Staff are named; of others who asked in vain only that they
/// did. A page may hold fewer than `limit` though there is a next one.
#[utoipa::path(get, path = "/v1/patients/{id}/accesses", tag = TAG,
    params(("id" = uuid::Uuid, Path), RecordAccessQuery),
    responses((status = 200, description = "One page.", body = Page<RecordAccess>)))]
async fn record_access_list(
    State(api): State<Api>,
    signed: Signed,
    Id(id): Id<PersonId>,
    Query(query): Query<RecordAccessQuery>,
) -> Result<Json<Page<RecordAccess>>, ApiError> {
    let page = mapping::page_request(query.cursor.as_deref(), query.limit)?;
    let mut tx = api.begin(&signed).await?;
    let AuditView {
        page,
        people,
        clients,
        ..
    } = tx.record_access_list(id, query.others_only, page).await?;
    tx.commit().await?;
    Ok(Json(mapping::page(page, |event| {
        access(event, &people, &clients)
    })))
}

fn filter(query: &AuditQuery) -> Result<AuditFilter, ApiError> {
    let action = query.action.as_deref().map(|action| {
        action
            .parse()
            .map_err(|_| ApiError::field("action", "is not an act of the audit log"))
    });
    Ok(AuditFilter {
        actor: query.actor_id,
        patient: query.patient_id,
        action: action.transpose()?,
        outcome: query.outcome.map(|outcome| match outcome {
            Outcome::Done => audit::Outcome::Done,
            Outcome::Refused => audit::Outcome::Refused,
        }),
        from: query.from,
        to: query.to,
    })
}

pub(in crate::http) type People = HashMap<PersonId, Named>;
pub(in crate::http) type Clients = HashMap<ClientId, String>;

/// The machine that acted, where it was one.
fn client(event: &Event, clients: &Clients) -> Option<AuditClient> {
    let id = ClientId::from_uuid(event.actor_id?);
    let name = clients.get(&id)?.clone();
    Some(AuditClient { id, name })
}

fn person(id: Option<Uuid>, people: &People) -> Option<AuditPerson> {
    let id = PersonId::from_uuid(id?);
    let named = people.get(&id);
    Some(AuditPerson {
        id,
        display_name: named.and_then(|named| named.display_name.clone()),
        roles: named.map_or_else(Vec::new, |named| named.roles.iter().map(mapping::role).collect()),
    })
}

fn outcome(event: &Event) -> Outcome {
    match audit::Outcome::of(&event.action) {
        audit::Outcome::Done => Outcome::Done,
        audit::Outcome::Refused => Outcome::Refused,
    }
}

fn entry(event: Event, people: &People, clients: &Clients) -> AuditEntry {
    let client = client(&event, clients);
    AuditEntry {
        id: AuditId::from_uuid(event.id),
        at: event.at,
        actor: person(event.actor_id.filter(|_| client.is_none()), people),
        client,
        patient: person(event.patient_id, people),
        outcome: outcome(&event),
        actor_kind: event.actor_kind,
        session_id: event.session_id.map(SessionId::from_uuid),
        action: event.action,
        object_kind: event.object_kind,
        object_id: event.object_id,
        purpose: event.purpose,
        denied_action: event.denied_action,
        denied_reason: event.denied_reason,
        roles: event.roles.map(|held| AuditRoles {
            before: held.before,
            after: held.after,
        }),
        break_glass_id: event.break_glass_id.map(BreakGlassId::from_uuid),
        request_id: RequestId::from_uuid(event.request_id),
        leaf_index: None,
    }
}

/// Who asked in vain and is not staff stays unknown: whom else the clinic treats is not the
/// patient's to learn.
pub(in crate::http) fn access(event: Event, people: &People, clients: &Clients) -> RecordAccess {
    let actor = event
        .actor_id
        .filter(|id| people.contains_key(&PersonId::from_uuid(*id)));
    RecordAccess {
        id: AuditId::from_uuid(event.id),
        at: event.at,
        actor: person(actor, people),
        client: client(&event, clients),
        outcome: outcome(&event),
        actor_kind: event.actor_kind,
        action: event.denied_action.unwrap_or(event.action),
        object_kind: event.object_kind,
        purpose: event.purpose,
        break_glass_id: event.break_glass_id.map(BreakGlassId::from_uuid),
    }
}
