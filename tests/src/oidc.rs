//! A real OpenID provider (npm `oidc-provider`), started by the test that needs it.

use std::path::Path;
use std::process::Stdio;

use reqwest::header::{COOKIE, HeaderMap, LOCATION, SET_COOKIE};
use reqwest::redirect::Policy;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::prepared::{prepared, source};

/// The clinic's client id there; with a blank in it, which has to be encoded.
pub const CLIENT_ID: &str = "clinic one";
/// The clinic's secret there; with characters that have to be encoded.
pub const CLIENT_SECRET: &str = "a secret: with/odd characters%";
/// Most pages on the way through the provider: it asks who, and for what.
const HOPS_MAX: usize = 12;

/// A provider. It ends when this is dropped.
#[derive(Debug)]
pub struct OpenIdProvider {
    _process: Child,
    issuer: String,
    http: reqwest::Client,
}

impl OpenIdProvider {
    /// Starts one that sends people back to `redirect_uri`; gets its packages where they are not there yet.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start(redirect_uri: &str) -> Self {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("oidc");
        let packages = source(&dir.join("package-lock.json"));
        prepared(&dir.join("node_modules"), &packages, || {
            let mut install = std::process::Command::new("npm");
            install.args(["ci", "--no-audit", "--no-fund"]).current_dir(&dir);
            assert!(install.status().expect("npm runs").success(), "npm ci");
        });
        let mut process = Command::new("node")
            .arg(dir.join("provider.mjs"))
            .arg(redirect_uri)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()
            .expect("node runs");
        let output = process.stdout.take().expect("piped");
        let mut lines = BufReader::new(output).lines();
        let issuer = lines
            .next_line()
            .await
            .expect("readable")
            .expect("it says where it is");
        // The rest is read too, or the provider would wait for a reader.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let http = reqwest::Client::builder().redirect(Policy::none()).build();
        Self {
            _process: process,
            issuer,
            http: http.expect("a client"),
        }
    }

    /// Its issuer.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Tells it what to do from now on; see `provider.mjs`.
    ///
    /// # Panics
    /// When it does not.
    pub async fn tell(&self, order: &Value) {
        let told = self
            .http
            .post(format!("{}/test", self.issuer))
            .json(order)
            .send()
            .await;
        assert_eq!(told.expect("it listens").status(), 204);
    }

    /// Walks a browser from the authorization URL through the provider; gives where it is sent back to.
    ///
    /// # Panics
    /// When it never is.
    pub async fn walk(&self, authorization_url: &str, redirect_uri: &str) -> String {
        let mut cookies = Vec::<(String, String)>::new();
        let mut url = authorization_url.to_owned();
        for _ in 0..HOPS_MAX {
            if url.starts_with(redirect_uri) {
                return url;
            }
            let header: Vec<String> = cookies
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            let answer = self
                .http
                .get(&url)
                .header(COOKIE, header.join("; "))
                .send()
                .await
                .expect("it answers");
            keep(&mut cookies, answer.headers());
            let status = answer.status();
            let next = answer
                .headers()
                .get(LOCATION)
                .map(|next| next.to_str().expect("text").to_owned());
            let Some(next) = next else {
                panic!("{status}: {}", answer.text().await.unwrap_or_default());
            };
            url = if next.starts_with('/') {
                format!("{}{next}", self.issuer)
            } else {
                next
            };
        }
        panic!("the provider goes round in circles");
    }
}

/// Paths and ends of cookies do not matter in one walk; the latest of a name counts.
fn keep(cookies: &mut Vec<(String, String)>, headers: &HeaderMap) {
    for cookie in headers.get_all(SET_COOKIE) {
        let text = cookie
            .to_str()
            .expect("text")
            .split(';')
            .next()
            .unwrap_or_default();
        let (name, value) = text.split_once('=').expect("a cookie has a value");
        cookies.retain(|(known, _)| known != name);
        cookies.push((name.to_owned(), value.to_owned()));
    }
}
