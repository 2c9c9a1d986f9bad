//! Who asks, and how often.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use medmesh_tests::control::PASSWORD;
use reqwest::header::{COOKIE, SET_COOKIE};
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::node::{CLINIC, Site};

/// Ordinary requests per second: a clinic of some hundred people.
const ORDINARY_RATE: f64 = 50.0;
/// Wrong logins under way at once; what comes on top waits here, and a generator that falls behind
/// is seen by what it sent.
const AT_ONCE_MAX: usize = 2_000;
/// How often somebody who is told to wait tries again before giving up.
const PATIENCE: usize = 30;

/// People with sessions, and the browser the victim has signed in with before.
pub(super) struct People {
    http: reqwest::Client,
    site: Site,
    cookies: Vec<String>,
    device: String,
}

/// What came of a flood.
pub(super) struct Flood {
    pub(super) sent: f64,
    /// Refused without a hash: told to wait.
    pub(super) shed: f64,
    pub(super) let_in: u64,
}

fn http() -> anyhow::Result<reqwest::Client> {
    // Harmless if the process has chosen already: there is one provider.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    Ok(reqwest::Client::builder()
        .timeout(Duration::from_secs(20))
        .build()?)
}

fn cookie(answer: &reqwest::Response, name: &str) -> Option<String> {
    let cookies = answer.headers().get_all(SET_COOKIE).iter();
    let mut pairs = cookies.filter_map(|cookie| cookie.to_str().ok()?.split(';').next());
    pairs.find(|pair| pair.starts_with(name)).map(str::to_owned)
}

impl People {
    pub(super) async fn sign_in(site: &Site) -> anyhow::Result<Self> {
        let mut people = Self {
            http: http()?,
            site: site.clone(),
            cookies: Vec::new(),
            device: String::new(),
        };
        for login in ["patient", "second"] {
            let answer = people.login(login, None).await?;
            ensure!(answer.status() == 200, "{login} signs in");
            people
                .cookies
                .push(cookie(&answer, "__Host-medmesh_session").context("a session")?);
            if login == "patient" {
                people.device = cookie(&answer, "__Host-medmesh_device").context("a device")?;
            }
        }
        Ok(people)
    }

    async fn login(&self, login: &str, device: Option<&str>) -> anyhow::Result<reqwest::Response> {
        let body = json!({"email": format!("{login}@{CLINIC}.test"), "password": PASSWORD});
        let mut request = self
            .http
            .post(format!("{}/v1/auth/login", self.site.url))
            .json(&body);
        if let Some(device) = device {
            request = request.header(COOKIE, device);
        }
        Ok(request.send().await?)
    }

    /// Ordinary requests at their rate: how long each took, from when it was due.
    pub(super) async fn ordinary(&self, length: Duration) -> anyhow::Result<Vec<Duration>> {
        let mut ticks = tokio::time::interval(Duration::from_secs_f64(1.0 / ORDINARY_RATE));
        let (started, mut tasks) = (Instant::now(), JoinSet::new());
        for n in 0.. {
            let due = ticks.tick().await;
            if started.elapsed() >= length {
                break;
            }
            let path = ["/v1/auth/session", "/v1/visits", "/v1/appointments"][n % 3];
            let request = self
                .http
                .get(format!("{}{path}", self.site.url))
                .header(COOKIE, &self.cookies[n % self.cookies.len()]);
            tasks.spawn(async move {
                let answer = request.send().await?;
                let status = answer.status();
                answer.bytes().await?;
                ensure!(status == 200, "an ordinary request was answered {status}");
                Ok(due.elapsed())
            });
        }
        let mut times = Vec::new();
        while let Some(time) = tasks.join_next().await {
            times.push(time??);
        }
        Ok(times)
    }

    /// The victim signs in from the browser that is known, once a second: how long each took.
    pub(super) async fn victim_signs_in(&self, length: Duration) -> anyhow::Result<Vec<Duration>> {
        let mut ticks = tokio::time::interval(Duration::from_secs(1));
        let (started, mut times) = (Instant::now(), Vec::new());
        loop {
            ticks.tick().await;
            if started.elapsed() >= length {
                return Ok(times);
            }
            let begun = Instant::now();
            let answer = self.login("patient", Some(&self.device)).await?;
            ensure!(answer.status() == 200, "answered {}", answer.status());
            times.push(begun.elapsed());
        }
    }

    /// Somebody nobody attacks signs in from a browser that is not known, after some tries.
    pub(super) async fn another_gets_in(&self) -> anyhow::Result<()> {
        for _ in 0..PATIENCE {
            let answer = self.login("third", None).await?;
            match answer.status().as_u16() {
                200 => return Ok(()),
                // The queue of hashes was full, and says when to come again.
                503 => tokio::time::sleep(Duration::from_millis(200)).await,
                other => anyhow::bail!("answered {other}"),
            }
        }
        anyhow::bail!("had to wait too long")
    }
}

/// Wrong logins at a rate, each from an address of its own, half of them against the victim.
pub(super) async fn flood(site: &Site, rate: f64, length: Duration) -> anyhow::Result<Flood> {
    static ADDRESS: AtomicU32 = AtomicU32::new(0x0b00_0000);
    let (http, url) = (http()?, format!("{}/v1/auth/login", site.url));
    let room = Arc::new(Semaphore::new(AT_ONCE_MAX));
    let mut ticks = tokio::time::interval(Duration::from_secs_f64(1.0 / rate));
    let (started, mut tasks) = (Instant::now(), JoinSet::new());
    for n in 0_u64.. {
        ticks.tick().await;
        if started.elapsed() >= length {
            break;
        }
        let place = Arc::clone(&room).acquire_owned().await?;
        let who = if n % 2 == 0 {
            "patient".to_owned()
        } else {
            format!("nobody-{n}")
        };
        let address = Ipv4Addr::from(ADDRESS.fetch_add(1, Ordering::Relaxed));
        let request = http
            .post(&url)
            .header("x-forwarded-for", address.to_string())
            .json(&json!({"email": format!("{who}@{CLINIC}.test"), "password": "not the password"}));
        tasks.spawn(async move {
            let _place = place;
            let answer = request.send().await?;
            Ok::<_, reqwest::Error>(answer.status().as_u16())
        });
    }
    let mut flood = Flood {
        sent: 0.0,
        shed: 0.0,
        let_in: 0,
    };
    while let Some(status) = tasks.join_next().await {
        flood.sent += 1.0;
        match status?? {
            200 => flood.let_in += 1,
            429 | 503 => flood.shed += 1.0,
            401 => {}
            other => anyhow::bail!("a wrong login was answered {other}"),
        }
    }
    Ok(flood)
}
