//! The ways of a request that no description names: headers of the web, paths and queries of any kind,
//! and what ends badly.

use http::Method;
use medmesh_api_types::session::SESSION_COOKIE;
use serde_json::json;
use uuid::Uuid;

use super::call::{Call, PANIC_PATH};
use super::push::Push;

impl Push {
    /// In headers, ours and those of the web.
    pub(super) fn headers(&self) -> Vec<Call<'_>> {
        let read = || Call::get(format!("/v1/visits/{}", self.visit_id), &self.patient);
        let message = || {
            let body = json!({"body": self.canary()});
            Call::post(
                format!("/v1/visits/{}/messages", self.visit_id),
                &self.patient,
                &body,
            )
        };
        let mut calls: Vec<Call<'_>> = [
            "user-agent",
            "referer",
            "accept",
            "accept-language",
            "x-request-id",
            "x-forwarded-for",
            "x-purpose-of-use",
            "last-event-id",
            "traceparent",
            "baggage",
            "if-none-match",
            "x-canary",
        ]
        .map(|name| read().header(name, self.canary()))
        .into();
        calls.push(message().header("idempotency-key", self.canary()));
        calls.push(message().header("origin", format!("https://{}.test", self.canary())));
        calls.push(message().header("content-type", self.canary()));
        let mut stranger = message();
        stranger.who = None;
        calls.push(stranger.header("cookie", format!("{SESSION_COOKIE}={}", self.canary())));
        let operator = Call::new(Method::GET, "/v1/fleet/nodes", None);
        calls.push(operator.header("authorization", format!("Bearer {}", self.canary())));
        calls
    }

    pub(super) fn paths_and_queries(&self) -> Vec<Call<'_>> {
        let canary = || self.canary();
        let who = &self.clinician;
        let operator = |path: String| {
            let call = Call::new(Method::GET, path, None);
            call.header("authorization", format!("Bearer {}", self.operator_token))
        };
        vec![
            Call::get(format!("/{}", canary()), who),
            Call::get(format!("/v1/{}/{}", canary(), canary()), who),
            Call::get(format!("/v1/visits/{}", canary()), who),
            Call::get(format!("/v1/appointments/{}", canary()), who),
            Call::get(
                format!(
                    "/v1/people?role={}&cursor={}&limit={}",
                    canary(),
                    canary(),
                    canary()
                ),
                who,
            ),
            Call::get(format!("/v1/people?cursor={}", canary()), who),
            Call::get(format!("/v1/appointments?from={}&{}=1", canary(), canary()), who),
            Call::get(format!("/v1/visits?day={}", canary()), who),
            Call::get(
                format!("/v1/audit?action={}&actor_id={}", canary(), canary()),
                &self.admin,
            ),
            Call::get(format!("/v1/audit/export?format={}", canary()), &self.admin),
            Call::get(format!("/v1/audit/{}/proof", canary()), &self.admin),
            Call::get(
                format!("/v1/audit/consistency?from={}&to={}", canary(), canary()),
                &self.admin,
            ),
            Call::get(format!("/v1/signaling/candidates?visit_id={}", canary()), who),
            operator(format!("/v1/fleet/rooms/{}/explain", canary())),
            operator(format!("/v1/fleet/edges/{}", canary())),
            operator(format!("/v1/fleet/audit/{}/leaves/{}/proof", canary(), canary())),
            Call::new(
                Method::from_bytes(canary().to_uppercase().as_bytes()).unwrap(),
                "/v1/people",
                Some(who),
            ),
        ]
    }

    /// On the ways that end badly.
    pub(super) fn errors(&self) -> Vec<Call<'_>> {
        let who = &self.clinician;
        let messages = format!("/v1/visits/{}/messages", self.visit_id);
        let post = |body: String| Call::new(Method::POST, messages.clone(), Some(who)).raw(body);
        // Used once and then again for something else.
        let key = Uuid::new_v4().to_string();
        let panic = format!(
            "{PANIC_PATH}/{}?{}={}",
            self.canary(),
            self.canary(),
            self.canary()
        );
        vec![
            Call::post(panic, who, &json!({"reason": self.canary()})).header("x-canary", self.canary()),
            post(format!("{{\"{}\": 1}}", self.canary())),
            post(format!("{{\"body\": [\"{}\"]}}", self.canary())),
            post(format!("{{\"body\": \"{}\"", self.canary())),
            post(format!("{{\"body\": \"{}\\u0000\"}}", self.canary())),
            post(format!("{{\"body\": \"{}\"}}", self.canary().repeat(300))),
            post(format!("{{\"body\": \"{}\"}}", self.canary().repeat(5_000))),
            post(format!("{{\"body\": \"{}\"}}", self.canary())).header("idempotency-key", key.clone()),
            post(format!("{{\"body\": \"{}\"}}", self.canary())).header("idempotency-key", key),
            Call::post(
                "/v1/patients/search",
                who,
                &json!({"q": "x", "limit": self.canary()}),
            ),
            Call::post(
                "/v1/signaling/session",
                who,
                &json!({"visit_id": self.canary(), "probes": [],
                "key": {"kty": self.canary(), "crv": "P-256", "x": self.canary(), "y": self.canary()}}),
            ),
            Call::post(
                "/v1/auth/mfa/passkeys",
                who,
                &json!({"id": self.canary(), "type": "public-key",
                "response": {"clientDataJSON": self.canary(), "attestationObject": self.canary()}}),
            ),
        ]
        .into_iter()
        .chain(self.machines())
        .collect()
    }

    /// What machines say about themselves, and what is said about them.
    fn machines(&self) -> Vec<Call<'_>> {
        let form = |body: String| {
            let kind = "application/x-www-form-urlencoded".to_owned();
            let call = Call::new(Method::POST, "/oauth/token", None);
            call.header("content-type", kind).raw(body)
        };
        let proof = "client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
        let (one, two, three, four) = (self.canary(), self.canary(), self.canary(), self.canary());
        let key = json!({"kid": self.canary(), "kty": "EC", "crv": "P-384", "x": self.canary(), "d": self.canary()});
        let machine =
            json!({"name": "a system", "scopes": ["system/Appointment.rs"], "jwks": {"keys": [key]}});
        vec![
            form(format!(
                "grant_type={one}&scope={two}&client_id={three}&client_secret={four}"
            )),
            form(format!(
                "grant_type=client_credentials&{proof}&client_assertion={one}.{two}.{three}&scope={four}"
            )),
            form(self.canary()),
            Call::new(Method::GET, "/v1/appointments", None)
                .header("authorization", format!("Bearer mm_at_{}", self.canary())),
            Call::post("/v1/clients", &self.admin, &machine),
        ]
    }
}
