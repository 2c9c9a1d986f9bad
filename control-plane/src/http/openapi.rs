//! The description of the clinic API, made from the routes themselves.

use http::Method;
use medmesh_api_types::client::TOKEN_PATH;
use medmesh_api_types::session::{BACKGROUND, BACKGROUND_HEADER, CSRF_HEADER, SESSION_COOKIE};
use medmesh_clinic::audit::Purpose;
use medmesh_clinic::authz::scopes_for;
use medmesh_clinic::client::Scope;
use utoipa::openapi::path::{Operation, ParameterBuilder, ParameterIn};
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, ClientCredentials, Flow, OAuth2, Scopes as OauthScopes, SecurityRequirement,
    SecurityScheme,
};
use utoipa::openapi::{InfoBuilder, License, ObjectBuilder, OpenApi, Required, Type};

use super::caller::PURPOSE;
use super::routes;
use super::statuses::{self, Callers};

const SESSION: &str = "session";
const MACHINE: &str = "machine";

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
    components.add_security_scheme(
        SESSION,
        SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::new(SESSION_COOKIE))),
    );
    api.security = Some(vec![SecurityRequirement::new(SESSION, [] as [&str; 0])]);
    for item in api.paths.paths.values_mut() {
        for (method, operation) in statuses::operations(item) {
            if operation.security.is_some() {
                continue;
            }
            if method != Method::GET {
                require_csrf(operation);
            } else {
                offer_background(operation);
            }
            offer_purpose(operation);
        }
    }
    statuses::describe(&mut api, Callers::People);
    offer_scopes(&mut api);
    api
}

/// Says of each operation that machines may ask for, by which scope. Last: what an operation's own
/// `security` says until here is that it asks nobody.
fn offer_scopes(api: &mut OpenApi) {
    let scopes = Scope::ALL.iter().map(|scope| (scope.as_str(), "See the policy."));
    let flow = Flow::ClientCredentials(ClientCredentials::new(TOKEN_PATH, OauthScopes::from_iter(scopes)));
    let components = api.components.get_or_insert_default();
    components.add_security_scheme(MACHINE, SecurityScheme::OAuth2(OAuth2::new([flow])));
    for item in api.paths.paths.values_mut() {
        for (_, operation) in statuses::operations(item) {
            let Some(action) = operation.operation_id.as_deref().and_then(|id| id.parse().ok()) else {
                continue;
            };
            let scopes = scopes_for(action);
            if !scopes.is_empty() {
                let words = scopes.iter().map(Scope::as_str);
                operation.security = Some(vec![
                    SecurityRequirement::new(SESSION, [] as [&str; 0]),
                    SecurityRequirement::new(MACHINE, words),
                ]);
            }
        }
    }
}

const DESCRIPTION: &str = "\
The API of the clinic's portals. Sign in with `POST /v1/auth/login`; the answer sets a session cookie \
and holds the CSRF token that every unsafe request repeats in `X-CSRF-Token`. Creating requests carry an \
`Idempotency-Key`: repeating one replays its answer byte for byte. A session locks when nobody uses it; \
what a page reads by itself it marks with `Medmesh-Background: 1`, and such requests do not count. Machines of a clinic get an access \
token at `/oauth/token` and show it in `Authorization`; they need no CSRF token, and any cookie beside it \
is not looked at. Errors are RFC 9457 problem documents. \
What the caller may not know exists is answered with 404.";

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

fn offer_background(operation: &mut Operation) {
    let schema = ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some([BACKGROUND]));
    let header = ParameterBuilder::new()
        .name(BACKGROUND_HEADER)
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(
            "A page asks by itself, no person caused it: the session's idle time goes on.",
        ))
        .schema(Some(schema))
        .build();
    operation.parameters.get_or_insert_default().push(header.into());
}

fn offer_purpose(operation: &mut Operation) {
    let words = Purpose::ALL.iter().map(|purpose| purpose.as_str());
    let schema = ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(words));
    let header = ParameterBuilder::new()
        .name(PURPOSE.as_str())
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(
            "What the request is for: only what is allowed for that then counts.",
        ))
        .schema(Some(schema))
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
