//! HashiCorp Vault with a transit engine, as its API documentation has them.

use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::server::{Request, Response, serve};
use super::versions::{Versions, decoded, encoded, fresh_key};
use super::{GONE, Mood, Simulator, write_private};

const ROLE: &str = "role";
const SECRET_ID: &str = "secret";

/// Vault with one derived key and one AppRole.
pub struct TransitSimulator {
    versions: Versions,
    mood: Mood,
    token: Mutex<String>,
    url: std::sync::OnceLock<String>,
}

impl TransitSimulator {
    /// Starts it; it ends with the test's runtime.
    pub async fn start() -> Arc<Self> {
        let simulator = Arc::new(Self {
            versions: Versions::new(),
            mood: Mood::default(),
            token: Mutex::new("first".into()),
            url: std::sync::OnceLock::new(),
        });
        let answering = Arc::clone(&simulator);
        let url = serve(move |request| answering.answer(&request)).await;
        simulator.url.set(url).expect("started once");
        simulator
    }

    /// Base URL.
    #[must_use]
    pub fn url(&self) -> &str {
        self.url.get().expect("set at the start")
    }

    /// From now on only this token is good; signing in gives it.
    pub fn set_token(&self, token: &str) {
        token.clone_into(&mut self.token.lock());
    }

    /// Writes what the AppRole signs in with; its name is `role`.
    pub fn write_secret_id(&self, path: &Path, wrong: Option<&str>) {
        write_private(path, wrong.unwrap_or(SECRET_ID));
    }

    fn answer(&self, request: &Request) -> Option<Response> {
        match self.mood.fault() {
            None => Some(self.act(request)),
            Some(GONE) => None,
            Some(status) => Some(fault(status, "Vault is sealed")),
        }
    }

    fn act(&self, request: &Request) -> Response {
        let body: Value = serde_json::from_slice(&request.body).unwrap_or(Value::Null);
        let token = self.token.lock().clone();
        if request.path == "/v1/auth/approle/login" {
            if body["role_id"] != ROLE || body["secret_id"] != SECRET_ID {
                return fault(400, "invalid role or secret ID");
            }
            return (200, json!({ "auth": { "client_token": token } }));
        }
        if request.headers.get("x-vault-token") != Some(&token) {
            return fault(403, "permission denied");
        }
        let context = body["context"].as_str().unwrap_or_default();
        if request.method == "POST" && !request.path.ends_with("/rotate") && context.is_empty() {
            return fault(400, "missing 'context' for key derivation");
        }
        self.of_the_engine(&request.path, context, &body)
    }

    fn of_the_engine(&self, path: &str, context: &str, body: &Value) -> Response {
        let text = |sealed: Vec<u8>| format!("vault:v{}:{}", sealed[0], BASE64_STANDARD.encode(&sealed));
        let seal = |plain: &[u8]| text(self.versions.seal(context, plain));
        let open = || {
            let given = body["ciphertext"].as_str().unwrap_or_default();
            let sealed = BASE64_STANDARD.decode(given.splitn(3, ':').nth(2)?).ok()?;
            self.versions.open(context, &sealed)
        };
        let data = |data: Value| (200, json!({ "data": data }));
        let foreign = || fault(400, "cipher: message authentication failed");
        match path {
            "/v1/transit/datakey/plaintext/medmesh" => {
                let key = fresh_key();
                data(json!({ "plaintext": encoded(&key), "ciphertext": seal(&key) }))
            }
            "/v1/transit/encrypt/medmesh" => {
                data(json!({ "ciphertext": seal(&decoded(&body["plaintext"])) }))
            }
            "/v1/transit/decrypt/medmesh" => open().map_or_else(foreign, |plain| {
                self.mood.opens();
                data(json!({ "plaintext": encoded(&plain) }))
            }),
            "/v1/transit/rewrap/medmesh" => {
                open().map_or_else(foreign, |plain| data(json!({ "ciphertext": seal(&plain) })))
            }
            "/v1/transit/keys/medmesh/rotate" => {
                self.versions.add();
                (204, Value::Null)
            }
            "/v1/transit/keys/medmesh" => {
                data(json!({ "latest_version": self.versions.latest(), "derived": true }))
            }
            _ => fault(404, "no handler for route"),
        }
    }
}

impl Simulator for TransitSimulator {
    fn config(&self, dir: &Path) -> String {
        let file = dir.join("vault.secret-id");
        self.write_secret_id(&file, None);
        let (url, file) = (self.url(), file.display());
        format!(
            "[vault.transit]\nurl = \"{url}\"\nkey = \"medmesh\"\nrole_id = \"{ROLE}\"\nsecret_id_file = \"{file}\"\n"
        )
    }

    fn mood(&self) -> &Mood {
        &self.mood
    }

    fn versions(&self) -> usize {
        self.versions.latest()
    }
}

fn fault(status: u16, text: &str) -> Response {
    (status, json!({ "errors": [text] }))
}
