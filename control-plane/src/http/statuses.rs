//! Which statuses an operation can answer with.
//!
//! A handler is annotated with its success, and with refusals that only it knows. What follows
//! from how it is asked is added here, once for all: who must be signed in can be refused as a
//! stranger, who sends a body can send a wrong one, who names a version can name an old one. A
//! status that is not in the description is a defect: [`super::negotiate`] counts it, and the
//! walk over the description (`make fuzz-api`) fails.

use http::{Method, StatusCode};
use medmesh_api_types::problem::{PROBLEM_JSON, Problem};
use medmesh_api_types::session::IDEMPOTENCY_HEADER;
use medmesh_base::ProblemCode;
use utoipa::openapi::path::{Operation, ParameterIn};
use utoipa::openapi::response::{Response, ResponseBuilder};
use utoipa::openapi::{
    Components, ContentBuilder, HeaderBuilder, ObjectBuilder, OpenApi, PathItem, Ref, RefOr, Type,
};
use utoipa::{PartialSchema as _, ToSchema as _};

use super::negotiate::{JSON, MEDMESH_JSON};

/// How the routes of a description know who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Callers {
    /// By session or access token; operations with their own `security` ask nobody.
    People,
    /// By the operator's token.
    Operator,
}

/// Adds the statuses of every operation, the problem documents that go with them, and the media
/// type of this version beside plain JSON.
pub(crate) fn describe(api: &mut OpenApi, callers: Callers) {
    let components = api.components.get_or_insert_default();
    let mut schemas = vec![("Problem".to_owned(), Problem::schema())];
    Problem::schemas(&mut schemas);
    components.schemas.extend(schemas);
    let mut used = Vec::new();
    for item in api.paths.paths.values_mut() {
        for (method, operation) in operations(item) {
            for status in statuses(&method, operation, callers) {
                let name = component(status);
                let reference = Ref::from_response_name(name.as_str());
                let responses = &mut operation.responses.responses;
                responses
                    .entry(status.as_str().to_owned())
                    .or_insert(RefOr::Ref(reference));
                used.push(status);
            }
            complete(operation);
        }
    }
    define(components, used);
}

/// The operations of a path with their methods.
pub(crate) fn operations(item: &mut PathItem) -> impl Iterator<Item = (Method, &mut Operation)> {
    [
        (Method::GET, &mut item.get),
        (Method::POST, &mut item.post),
        (Method::PUT, &mut item.put),
        (Method::PATCH, &mut item.patch),
        (Method::DELETE, &mut item.delete),
    ]
    .into_iter()
    .filter_map(|(method, operation)| Some((method, operation.as_mut()?)))
}

/// What follows from how the operation is asked.
fn statuses(method: &Method, operation: &Operation, callers: Callers) -> Vec<StatusCode> {
    let is_open = operation.security.is_some();
    let is_person = callers == Callers::People && !is_open;
    let is_unsafe = *method != Method::GET;
    let parameters = operation.parameters.iter().flatten();
    let parameters: Vec<_> = parameters
        .filter_map(|parameter| match parameter {
            RefOr::T(parameter) => Some((&parameter.parameter_in, parameter.name.as_str())),
            RefOr::Ref(_) => None,
        })
        .collect();
    let has = |place: ParameterIn| parameters.iter().any(|(known, _)| **known == place);
    let header = |wanted: &str| {
        let mut headers = parameters
            .iter()
            .filter(|(place, _)| **place == ParameterIn::Header);
        headers.any(|(_, name)| name.eq_ignore_ascii_case(wanted))
    };
    let has_body = operation.request_body.is_some();
    let has_key = header(IDEMPOTENCY_HEADER);
    let has_version = header("if-match");
    let answers_content = operation
        .responses
        .responses
        .values()
        .any(|response| matches!(response, RefOr::T(response) if !response.content.is_empty()));
    [
        (
            StatusCode::BAD_REQUEST,
            is_person || has_body || has(ParameterIn::Query) || has_key,
        ),
        (StatusCode::UNAUTHORIZED, !is_open),
        // Not allowed, or not from a portal.
        (
            StatusCode::FORBIDDEN,
            is_person || (callers == Callers::People && is_unsafe),
        ),
        // By path, by an id in the body or the query; or what is changed or taken away is not there.
        (
            StatusCode::NOT_FOUND,
            has(ParameterIn::Path) || (!is_open && (is_unsafe || has(ParameterIn::Query))),
        ),
        (StatusCode::NOT_ACCEPTABLE, answers_content),
        (StatusCode::CONFLICT, has_key || (!is_open && is_unsafe)),
        (StatusCode::PRECONDITION_FAILED, has_version),
        (StatusCode::PAYLOAD_TOO_LARGE, has_body),
        (StatusCode::UNSUPPORTED_MEDIA_TYPE, has_body),
        (StatusCode::UNPROCESSABLE_ENTITY, has_key || has_body),
        (StatusCode::PRECONDITION_REQUIRED, has_version),
        (StatusCode::TOO_MANY_REQUESTS, true),
        (StatusCode::SERVICE_UNAVAILABLE, true),
    ]
    .into_iter()
    .filter_map(|(status, applies)| applies.then_some(status))
    .collect()
}

/// A problem document where a handler's own annotation names an error without one, and the
/// media type of this version wherever there is JSON.
fn complete(operation: &mut Operation) {
    for (status, response) in &mut operation.responses.responses {
        let RefOr::T(response) = response else { continue };
        let is_error = status.starts_with('4') || status.starts_with('5');
        if is_error && response.content.is_empty() {
            response
                .content
                .insert(PROBLEM_JSON.to_owned(), RefOr::T(problem()));
        }
        if let Some(json) = response.content.get(JSON).cloned() {
            response.content.insert(MEDMESH_JSON.to_owned(), json);
        }
    }
    if let Some(RefOr::T(body)) = &mut operation.request_body
        && let Some(json) = body.content.get(JSON).cloned()
    {
        body.content.insert(MEDMESH_JSON.to_owned(), json);
    }
}

fn component(status: StatusCode) -> String {
    format!("Problem{}", status.as_str())
}

fn problem() -> utoipa::openapi::Content {
    ContentBuilder::new()
        .schema(Some(Ref::from_schema_name("Problem")))
        .build()
}

fn define(components: &mut Components, mut used: Vec<StatusCode>) {
    used.sort_unstable();
    used.dedup();
    for status in used {
        components
            .responses
            .insert(component(status), RefOr::T(refusal(status)));
    }
}

/// A refusal of this status, with the codes it may carry.
fn refusal(status: StatusCode) -> Response {
    let codes = ProblemCode::ALL
        .iter()
        .filter(|code| code.status() == status.as_u16());
    let codes: Vec<String> = codes.map(|code| format!("`{}`", code.code())).collect();
    let mut response = ResponseBuilder::new()
        .description(codes.join(", "))
        .content(PROBLEM_JSON, problem())
        .build();
    if matches!(
        status,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
    ) {
        let seconds = HeaderBuilder::new()
            .schema(Some(ObjectBuilder::new().schema_type(Type::Integer)))
            .description(Some("Seconds until it is worth trying again."))
            .build();
        response
            .headers
            .insert("Retry-After".to_owned(), RefOr::T(seconds));
    }
    response
}
