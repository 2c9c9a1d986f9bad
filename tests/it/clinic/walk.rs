//! Rules that hold for every route of their kind, walked from the description: a new route is
//! walked too, and fails here until it keeps them.

mod background;
mod creating;
mod every;
mod fleet;
mod updating;

use medmesh_control::http::openapi;
use reqwest::{Method, RequestBuilder, Response};
use serde_json::Value;

use super::{World, plain_http};

/// One operation of the description.
#[derive(Clone, Debug)]
struct Operation {
    id: String,
    method: Method,
    path: String,
    value: Value,
}

impl Operation {
    fn takes(&self, header: &str) -> bool {
        let parameters = self.value["parameters"].as_array();
        parameters.into_iter().flatten().any(|parameter| {
            parameter["in"] == "header"
                && parameter["name"]
                    .as_str()
                    .is_some_and(|name| name.eq_ignore_ascii_case(header))
        })
    }

    fn answers(&self, status: &str) -> bool {
        self.value["responses"].get(status).is_some()
    }

    /// A path that names nothing that exists.
    fn made_up_path(&self) -> String {
        let parts = self.path.split('/').map(|part| {
            if part.starts_with('{') {
                "01890000-0000-7000-8000-000000000000"
            } else {
                part
            }
        });
        parts.collect::<Vec<_>>().join("/")
    }
}

/// Every operation of the clinic's API.
fn operations() -> Vec<Operation> {
    let all = operations_of(&serde_json::to_value(openapi::clinic()).unwrap());
    assert!(all.len() > 40, "the description was read: {}", all.len());
    all
}

/// Every operation of a description.
fn operations_of(api: &Value) -> Vec<Operation> {
    let paths = api["paths"].as_object().unwrap().iter();
    let all = paths.flat_map(|(path, item)| {
        let methods = item.as_object().unwrap().iter();
        methods.filter_map(move |(method, value)| {
            Some(Operation {
                id: value["operationId"].as_str()?.to_owned(),
                method: method.to_uppercase().parse().unwrap(),
                path: path.clone(),
                value: value.clone(),
            })
        })
    });
    all.collect()
}

/// What a walk says to one route: as whom, where, and what.
#[derive(Clone, Debug)]
struct Said {
    login: &'static str,
    path: String,
    body: Value,
}

/// Requests of people who are signed in.
struct Desk<'a> {
    world: &'a World,
    http: reqwest::Client,
    credentials: std::collections::HashMap<&'static str, (String, String)>,
}

impl<'a> Desk<'a> {
    async fn open(world: &'a World) -> Self {
        let mut credentials = std::collections::HashMap::new();
        for login in ["admin", "clinician", "patient"] {
            credentials.insert(login, world.credentials(login).await);
        }
        Self {
            world,
            http: plain_http(),
            credentials,
        }
    }

    fn request(&self, operation: &Operation, said: &Said) -> RequestBuilder {
        let (cookie, csrf) = &self.credentials[said.login];
        let url = format!("{}{}", self.world.node.url(), said.path);
        self.http
            .request(operation.method.clone(), url)
            .header("cookie", cookie)
            .header("x-csrf-token", csrf)
            .json(&said.body)
    }
}

/// The status and code of a refusal, which is a problem document.
async fn code(answer: Response) -> (u16, String) {
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    let status = answer.status().as_u16();
    let problem: Value = answer.json().await.unwrap();
    (status, problem["code"].as_str().unwrap().to_owned())
}
