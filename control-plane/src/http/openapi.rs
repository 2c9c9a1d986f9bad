//! The description of the clinic API, made from the routes themselves.

use medmesh_api_types::problem::{PROBLEM_JSON, Problem};
use medmesh_api_types::session::{CSRF_HEADER, SESSION_COOKIE};
use utoipa::openapi::path::{Operation, ParameterBuilder, ParameterIn, PathItem};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    ContentBuilder, InfoBuilder, License, ObjectBuilder, OpenApi, Ref, Required, ResponseBuilder, Type,
};
use utoipa::{PartialSchema as _, ToSchema as _};

use super::routes;

const SESSION: &str = "session";

/// The clinic API as OpenAPI 3.1: what the handlers are annotated with, plus
/// what is true of every one of them.
#[must_use]
pub fn clinic() -> OpenApi {
    let mut api = routes::clinic().into_inner().into_openapi();
    api.info = InfoBuilder::new()
        .title("medmesh clinic API")
        .version("1")
        .description(Some(DESCRIPTION))
        .license(Some(License::new("Apache-2.0")))
        .build();
    let components = api.components.get_or_insert_default();
    let mut schemas = vec![("Problem".to_owned(), Problem::schema())];
    Problem::schemas(&mut schemas);
    components.schemas.extend(schemas);
    components.add_security_scheme(
        SESSION,
        SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::new(SESSION_COOKIE))),
    );
    api.security = Some(vec![SecurityRequirement::new(SESSION, [] as [&str; 0])]);
    for item in api.paths.paths.values_mut() {
        complete(item);
    }
    api
}

const DESCRIPTION: &str = "\
The API of the clinic's portals. Sign in with `POST /v1/auth/login`; the answer sets a session cookie \
and holds the CSRF token that every unsafe request repeats in `X-CSRF-Token`. Creating requests carry an \
`Idempotency-Key`: repeating one replays its answer byte for byte. Errors are RFC 9457 problem documents. \
What the caller may not know exists is answered with 404.";

/// Adds what holds for every operation of a path.
fn complete(item: &mut PathItem) {
    for (operation, is_unsafe) in [
        (&mut item.get, false),
        (&mut item.post, true),
        (&mut item.patch, true),
        (&mut item.put, true),
        (&mut item.delete, true),
    ] {
        let Some(operation) = operation else { continue };
        let is_open = operation.security.is_some();
        if is_unsafe && !is_open {
            require_csrf(operation);
        }
        let content = ContentBuilder::new()
            .schema(Some(Ref::from_schema_name("Problem")))
            .build();
        let problem = ResponseBuilder::new()
            .description("Why not.")
            .content(PROBLEM_JSON, content)
            .build();
        operation
            .responses
            .responses
            .insert("default".to_owned(), problem.into());
    }
}

fn require_csrf(operation: &mut Operation) {
    let header = ParameterBuilder::new()
        .name(CSRF_HEADER)
        .parameter_in(ParameterIn::Header)
        .required(Required::True)
        .description(Some("`csrf_token` of the session."))
        .schema(Some(ObjectBuilder::new().schema_type(Type::String)))
        .build();
    operation.parameters.get_or_insert_default().push(header.into());
}

#[cfg(test)]
mod tests {
    /// `UPDATE_OPENAPI=1 cargo test -p medmesh-control openapi` writes the file anew.
    #[test]
    fn the_committed_description_is_the_one_of_the_routes() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../api/openapi/clinic.json");
        let made = super::clinic().to_pretty_json().unwrap() + "\n";
        if std::env::var_os("UPDATE_OPENAPI").is_some() {
            std::fs::write(path, &made).unwrap();
        }
        let committed = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            committed == made,
            "api/openapi/clinic.json differs from the routes: run UPDATE_OPENAPI=1 cargo test -p medmesh-control openapi"
        );
    }
}
