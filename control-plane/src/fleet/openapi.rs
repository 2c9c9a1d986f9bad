//! The description of the operator's API, made from the routes themselves.

use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{InfoBuilder, License, OpenApi};

use super::operator;
use crate::http::statuses::{self, Callers};

const OPERATOR: &str = "operator";

const DESCRIPTION: &str = "\
What an operator sees and does: machines, rooms by opaque id, the Raft group, join tokens. Every call carries \
the cluster's operator token as a bearer token; any control node answers. Errors are RFC 9457 problem documents.";

/// The operator's API as OpenAPI 3.1.
#[must_use]
pub fn fleet() -> OpenApi {
    let mut api = operator::described().into_openapi();
    api.merge(crate::desk::described().into_openapi());
    api.info = InfoBuilder::new()
        .title("medmesh fleet API")
        .version("1")
        .description(Some(DESCRIPTION))
        .license(Some(License::new("Apache-2.0")))
        .build();
    let components = api.components.get_or_insert_default();
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
    components.add_security_scheme(OPERATOR, SecurityScheme::Http(bearer));
    api.security = Some(vec![SecurityRequirement::new(OPERATOR, [] as [&str; 0])]);
    statuses::describe(&mut api, Callers::Operator);
    api
}

#[cfg(test)]
mod tests {
    /// `UPDATE_OPENAPI=1 cargo test -p medmesh-control openapi` writes the file anew.
    #[test]
    fn the_committed_description_is_the_one_of_the_routes() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../api/openapi/fleet.json");
        let made = super::fleet().to_pretty_json().unwrap() + "\n";
        if std::env::var_os("UPDATE_OPENAPI").is_some() {
            std::fs::write(path, &made).unwrap();
        }
        let committed = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            committed == made,
            "api/openapi/fleet.json differs from the routes: run UPDATE_OPENAPI=1 cargo test -p medmesh-control openapi"
        );
    }
}
