//! AWS KMS as its API reference has it. Signatures are computed anew from what came over the wire,
//! by code that knows nothing of the driver's.

use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use serde_json::{Value, json};

use super::server::{Request, Response, serve};
use super::versions::{Versions, decoded, encoded, fresh_key};
use super::{GONE, Mood, Simulator, write_private};

/// The account's only secret, of AWS's documentation.
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const KEY_ID: &str = "alias/medmesh";
const REGION: &str = "eu-central-1";

/// AWS KMS with one key.
pub struct AwsSimulator {
    versions: Versions,
    mood: Mood,
    url: std::sync::OnceLock<String>,
}

impl AwsSimulator {
    /// Starts it; it ends with the test's runtime.
    pub async fn start() -> Arc<Self> {
        let simulator = Arc::new(Self {
            versions: Versions::new(),
            mood: Mood::default(),
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

    /// Writes a credentials file, with this secret in place of the right one.
    pub fn write_credentials(&self, path: &Path, secret: Option<&str>) {
        let secret = secret.unwrap_or(SECRET);
        let text = format!(
            "[default]\naws_access_key_id = AKIDEXAMPLE\naws_secret_access_key = {secret}\naws_session_token = t0k\n"
        );
        write_private(path, &text);
    }

    fn answer(&self, request: &Request) -> Option<Response> {
        match self.mood.fault() {
            None => {}
            Some(GONE) => return None,
            Some(400) => return Some(fault(400, "ThrottlingException")),
            Some(status) => return Some(fault(status, "KMSInternalException")),
        }
        Some(match check_signature(request) {
            Ok(()) => self.act(request),
            Err(kind) => fault(400, kind),
        })
    }

    fn act(&self, request: &Request) -> Response {
        let body: Value = serde_json::from_slice(&request.body).unwrap_or(Value::Null);
        let target = request.headers.get("x-amz-target").map_or("", String::as_str);
        let key = ["KeyId", "DestinationKeyId"]
            .iter()
            .find_map(|name| body[*name].as_str());
        if key != Some(KEY_ID) {
            return fault(400, "NotFoundException");
        }
        let material = format!("material-{}", self.versions.latest());
        let context = body["EncryptionContext"].to_string();
        let blob = decoded(&body["CiphertextBlob"]);
        match target.strip_prefix("TrentService.").unwrap_or_default() {
            "GenerateDataKey" if body["KeySpec"] == "AES_256" => {
                let key = fresh_key();
                let blob = encoded(&self.versions.seal(&context, &key));
                let answer =
                    json!({ "Plaintext": encoded(&key), "CiphertextBlob": blob, "KeyMaterialId": material });
                (200, answer)
            }
            "Encrypt" => {
                let blob = encoded(&self.versions.seal(&context, &decoded(&body["Plaintext"])));
                (200, json!({ "CiphertextBlob": blob, "KeyMaterialId": material }))
            }
            "Decrypt" => match self.versions.open(&context, &blob) {
                Some(plain) => {
                    self.mood.opens();
                    (200, json!({ "Plaintext": encoded(&plain) }))
                }
                None => fault(400, "InvalidCiphertextException"),
            },
            "ReEncrypt" => {
                let source = body["SourceEncryptionContext"].to_string();
                let Some(plain) = self.versions.open(&source, &blob) else {
                    return fault(400, "InvalidCiphertextException");
                };
                let context = body["DestinationEncryptionContext"].to_string();
                let blob = encoded(&self.versions.seal(&context, &plain));
                let answer = json!({ "CiphertextBlob": blob, "DestinationKeyMaterialId": material });
                (200, answer)
            }
            "RotateKeyOnDemand" => {
                self.versions.add();
                (200, json!({ "KeyId": KEY_ID }))
            }
            "DescribeKey" => {
                let known = json!({ "CurrentKeyMaterialId": material });
                (200, json!({ "KeyMetadata": known }))
            }
            _ => fault(400, "UnknownOperationException"),
        }
    }
}

impl Simulator for AwsSimulator {
    fn config(&self, dir: &Path) -> String {
        let file = dir.join("aws.credentials");
        self.write_credentials(&file, None);
        let (url, file) = (self.url(), file.display());
        format!(
            "[vault.aws]\nregion = \"{REGION}\"\nkey_id = \"{KEY_ID}\"\nendpoint = \"{url}\"\ncredentials_file = \"{file}\"\n"
        )
    }

    fn mood(&self) -> &Mood {
        &self.mood
    }

    fn versions(&self) -> usize {
        self.versions.latest()
    }
}

fn fault(status: u16, kind: &str) -> Response {
    (status, json!({ "__type": format!("com.amazonaws.kms#{kind}") }))
}

/// Signature Version 4 of a request without a query, with the account's secret.
fn check_signature(request: &Request) -> Result<(), &'static str> {
    let header = |name: &str| request.headers.get(name).map_or("", String::as_str);
    let given = header("authorization");
    let part = |name: &str| {
        let (_, rest) = given.split_once(name)?;
        rest.split([',', ' ']).next()
    };
    let missing = "MissingAuthenticationTokenException";
    let (Some(credential), Some(signed), Some(signature)) =
        (part("Credential="), part("SignedHeaders="), part("Signature="))
    else {
        return Err(missing);
    };
    let names: Vec<&str> = signed.split(';').collect();
    let required = ["host", "x-amz-date", "x-amz-target", "content-type"];
    if !names.is_sorted() || required.iter().any(|name| !names.contains(name)) {
        return Err("IncompleteSignatureException");
    }
    let (account, scope) = credential.split_once('/').ok_or(missing)?;
    let date = scope.split('/').next().unwrap_or_default();
    let time = header("x-amz-date");
    if account != "AKIDEXAMPLE" || scope != format!("{date}/{REGION}/kms/aws4_request") {
        return Err("UnrecognizedClientException");
    }
    let lines: String = names
        .iter()
        .map(|name| format!("{name}:{}\n", header(name).trim()))
        .collect();
    let (method, path) = (&request.method, &request.path);
    let request = format!("{method}\n{path}\n\n{lines}\n{signed}\n{}", sha256(&request.body));
    let text = format!(
        "AWS4-HMAC-SHA256\n{time}\n{scope}\n{}",
        sha256(request.as_bytes())
    );
    let mut key = format!("AWS4{SECRET}").into_bytes();
    for part in scope.split('/').chain([text.as_str()]) {
        let with = hmac::Key::new(hmac::HMAC_SHA256, &key);
        key = hmac::sign(&with, part.as_bytes()).as_ref().to_vec();
    }
    if signature == hex(&key) && time.starts_with(date) {
        Ok(())
    } else {
        Err("InvalidSignatureException")
    }
}

fn sha256(bytes: &[u8]) -> String {
    hex(digest(&SHA256, bytes).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
