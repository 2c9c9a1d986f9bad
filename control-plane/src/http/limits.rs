//! How often somebody may ask: per address before anything is looked up, then per account or
//! machine, and per clinic, once those are known.
//!
//! Every answer says under which limits it came and how much is left (`RateLimit-Policy` and
//! `RateLimit`, draft-ietf-httpapi-ratelimit-headers), a 429 also when to come again. What tries
//! to sign in is counted more closely by [`super::throttle`]. Keys are keyed hashes: Redis holds
//! no address and nobody's id.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::{Extensions, HeaderMap, HeaderName, HeaderValue};
use medmesh_base::{ClientId, ClinicId, ProblemCode};
use medmesh_store::Session;
use parking_lot::Mutex;
use prometheus::{IntCounterVec, Opts, Registry};

use super::error::ApiError;
use super::server::Peer;
use super::state::Api;
use super::throttle::subscriber;
use crate::config::RateLimits;
use crate::ephemeral::{Buckets, Counted, Quota, Standing};

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LEFT: HeaderName = HeaderName::from_static("ratelimit");

/// What is counted by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layer {
    Address,
    Account,
    Client,
    Clinic,
}

impl Layer {
    const fn word(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Account => "account",
            Self::Client => "client",
            Self::Clinic => "clinic",
        }
    }
}

/// The limits and what was used of them.
pub(crate) struct Limits {
    buckets: Buckets,
    key: hmac::Key,
    config: RateLimits,
    asked: IntCounterVec,
}

/// The standings that an answer tells of.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<(Layer, Quota, Standing)>>>);

impl Limits {
    pub(crate) fn new(config: &RateLimits, buckets: Buckets, secret: &[u8], registry: &Registry) -> Self {
        let asked = Opts::new(
            "medmesh_rate_limit_total",
            "Requests by the layer they were counted in, what came of it, and whether for all nodes or this one.",
        );
        let asked =
            IntCounterVec::new(asked, &["layer", "outcome", "counted"]).expect("metric names are valid");
        registry
            .register(Box::new(asked.clone()))
            .expect("each metric is registered once");
        Self {
            buckets,
            key: hmac::Key::new(hmac::HMAC_SHA256, secret),
            config: *config,
            asked,
        }
    }

    fn quota(&self, layer: Layer) -> Quota {
        let rate = match layer {
            Layer::Address => self.config.address_per_second,
            Layer::Account => self.config.account_per_second,
            Layer::Client => self.config.client_per_second,
            Layer::Clinic => self.config.clinic_per_second,
        };
        Quota::per_second(rate * self.config.scale)
    }

    /// Counts one request in each of these.
    async fn enter(&self, told: Option<&Told>, subjects: &[(Layer, String)]) -> Result<(), ApiError> {
        let wanted: Vec<(String, Quota)> = subjects
            .iter()
            .map(|(layer, whose)| (self.label(*layer, whose), self.quota(*layer)))
            .collect();
        let (standings, counted) = self.buckets.take(&wanted).await;
        let counted = match counted {
            Counted::Together => "together",
            Counted::Alone => "alone",
        };
        let mut wait = Duration::ZERO;
        for (((layer, _), (_, quota)), standing) in subjects.iter().zip(&wanted).zip(&standings) {
            let outcome = if standing.is_allowed { "allowed" } else { "refused" };
            self.asked
                .with_label_values(&[layer.word(), outcome, counted])
                .inc();
            wait = wait.max(standing.wait);
            if let Some(told) = told {
                told.0.lock().push((*layer, *quota, *standing));
            }
        }
        if standings.iter().all(|standing| standing.is_allowed) {
            Ok(())
        } else {
            Err(ApiError::new(ProblemCode::RateLimited).retry_after(seconds_up(wait).max(1)))
        }
    }

    fn label(&self, layer: Layer, whose: &str) -> String {
        let layer = layer.word();
        let tag = hmac::sign(&self.key, format!("limit {layer} {whose}").as_bytes());
        format!(
            "medmesh:limit:{layer}:{}",
            BASE64_URL_SAFE_NO_PAD.encode(&tag.as_ref()[..16])
        )
    }
}

/// The layer around every described route: counts the address, and says on the answer what is left.
pub(super) async fn limit(State(api): State<Api>, mut request: Request, next: Next) -> Response {
    let told = Told::default();
    let peer = request.extensions().get::<Peer>().copied();
    if let Some(peer) = peer {
        let address = subscriber(api.client_address(peer, request.headers()));
        let subject = [(Layer::Address, address.to_string())];
        if let Err(refused) = api.limits.enter(Some(&told), &subject).await {
            let mut response = refused.into_response();
            tell(response.headers_mut(), &told.0.lock());
            return response;
        }
    }
    request.extensions_mut().insert(told.clone());
    let mut response = next.run(request).await;
    tell(response.headers_mut(), &told.0.lock());
    response
}

/// Counts a request of somebody who is signed in.
pub(super) async fn enter_person(api: &Api, request: &Extensions, session: &Session) -> Result<(), ApiError> {
    let subjects = [
        (Layer::Account, session.person.id.to_string()),
        (Layer::Clinic, session.clinic.id.to_string()),
    ];
    api.limits.enter(request.get::<Told>(), &subjects).await
}

/// Counts a request of a machine of that clinic, whatever it asks for: also for a token.
pub(super) async fn enter_client(
    api: &Api,
    request: &Extensions,
    client: ClientId,
    clinic: ClinicId,
) -> Result<(), ApiError> {
    let subjects = [
        (Layer::Client, client.to_string()),
        (Layer::Clinic, clinic.to_string()),
    ];
    api.limits.enter(request.get::<Told>(), &subjects).await
}

fn tell(headers: &mut HeaderMap, told: &[(Layer, Quota, Standing)]) {
    let (mut policy, mut left) = (String::new(), String::new());
    for (layer, quota, standing) in told {
        let (comma, word) = (if policy.is_empty() { "" } else { ", " }, layer.word());
        let window = Duration::from_micros(quota.interval_us * quota.burst);
        let (window, until) = (seconds_up(window).max(1), seconds_up(standing.full_again_in));
        write!(policy, "{comma}\"{word}\";q={};w={window}", quota.burst).expect("a String takes any text");
        write!(left, "{comma}\"{word}\";r={};t={until}", standing.remaining)
            .expect("a String takes any text");
    }
    for (name, text) in [(POLICY, policy), (LEFT, left)] {
        if !text.is_empty() {
            let value = HeaderValue::from_str(&text).expect("our own words and digits");
            headers.insert(name, value);
        }
    }
}

fn seconds_up(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}
