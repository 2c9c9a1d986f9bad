//! What browsers tell an edge: offers, fragments, headers, and the control channel of a visit.

use std::path::{Path, PathBuf};
use std::time::Duration;

use http::Method;
use medmesh_api_client::{IdempotencyKey, Operator};
use medmesh_api_types::signaling::SignalingSession;
use medmesh_tests::participant::{self, Participant};
use serde_json::json;

use super::call::{Call, Who};
use super::push::Push;
use super::sinks::MARKER;
use crate::clinic::eventually;
use crate::clinic::visit::key;

/// Lines of an offer: what the first line that begins so becomes, or what is added at the end.
const LINES: &[(&str, &str)] = &[
    ("v=", "v=CANARY"),
    ("o=", "o=CANARY 1 2 IN IP4 0.0.0.0"),
    ("s=", "s=CANARY"),
    ("i=", "i=CANARY"),
    ("t=", "t=CANARY"),
    ("c=", "c=IN IP4 CANARY"),
    ("m=", "m=audio 9 CANARY 111"),
    ("a=x-", "a=x-CANARY:CANARY"),
    ("a=group", "a=group:BUNDLE CANARY"),
    ("a=ice-ufrag", "a=ice-ufrag:CANARY"),
    ("a=ice-pwd", "a=ice-pwd:CANARY"),
    ("a=ice-options", "a=ice-options:CANARY"),
    ("a=fingerprint", "a=fingerprint:sha-256 CANARY"),
    ("a=setup", "a=setup:CANARY"),
    ("a=candidate", "a=candidate:CANARY 1 udp 1 CANARY 9 typ host"),
    ("a=mid", "a=mid:CANARY"),
    ("a=msid", "a=msid:CANARY CANARY"),
    ("a=ssrc", "a=ssrc:1 cname:CANARY"),
    ("a=rid", "a=rid:CANARY send"),
    ("a=extmap", "a=extmap:1 urn:CANARY"),
    ("a=rtpmap", "a=rtpmap:111 CANARY/48000/2"),
    ("a=fmtp", "a=fmtp:111 CANARY=1"),
    ("a=rtcp-fb", "a=rtcp-fb:111 CANARY"),
    ("a=sctp-port", "a=sctp-port:CANARY"),
];

/// Until a place in the visit is asked for again.
const ASK_AGAIN: Duration = Duration::from_millis(100);
/// A new edge is believed within seconds; a machine may be busy with other things.
const SESSION_WAIT: Duration = Duration::from_secs(60);

/// Headers of a request for signalling.
const HEADERS: &[&str] = &[
    "authorization",
    "dpop",
    "content-type",
    "if-match",
    "origin",
    "user-agent",
    "referer",
    "x-canary",
];

/// Writes the configuration and the join token of an edge.
pub(super) async fn prepared(control: &str, operator_token: &str, dir: &Path) -> PathBuf {
    std::fs::create_dir(dir).unwrap();
    let operator = Operator::new(control, operator_token, None).unwrap();
    let token = operator
        .join_token_create(&IdempotencyKey::fresh(), None)
        .await
        .unwrap();
    std::fs::write(dir.join("join.token"), token.token.expose()).unwrap();
    let config = dir.join("edge.toml");
    std::fs::write(
        &config,
        medmesh_tests::edge::config_text(dir, "riverside-1", "eu-central", ([127, 0, 0, 1], 0).into()),
    )
    .unwrap();
    config
}

fn with_line(offer: &str, starts: &str, line: &str) -> String {
    let mut is_in = false;
    let mut lines: Vec<&str> = Vec::new();
    for old in offer.lines() {
        let takes = !is_in && old.starts_with(starts);
        is_in |= takes;
        lines.push(if takes { line } else { old });
    }
    if !is_in {
        lines.push(line);
    }
    lines.join("\r\n") + "\r\n"
}

impl Push {
    async fn session(&self, who: &Who) -> SignalingSession {
        let (mut session, mut last) = (None, String::new());
        let asked = async {
            // A new edge is not known to be healthy at once, and nobody may ask all the time.
            while session.is_none() {
                let wanted = json!({"visit_id": self.visit_id, "probes": [], "key": key()});
                let (status, said) = self.call(Call::post("/v1/signaling/session", who, &wanted)).await;
                session = (status == 201).then(|| serde_json::from_str(&said).unwrap());
                last = format!("{status}: {said}");
                tokio::time::sleep(ASK_AGAIN).await;
            }
        };
        let _ = tokio::time::timeout(SESSION_WAIT, asked).await;
        session.unwrap_or_else(|| panic!("nobody gives a place in the visit: {last}"))
    }

    async fn signal(&self, method: Method, url: &str, headers: &[(&str, String)], body: String) -> u16 {
        let mut request = self.http.request(method, url);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let answer = request.body(body).send().await.unwrap();
        let status = answer.status().as_u16();
        assert_ne!(status, 500, "{url}");
        let said = answer.text().await.unwrap();
        if status >= 400 {
            self.echo(url, &said);
        }
        status
    }

    /// Canaries in every line of an offer, in every header, and in what is said during the visit.
    pub(super) async fn at_the_edge(&self) {
        let sdp = || ("content-type", "application/sdp".to_owned());
        let offer = participant::offer();
        for (starts, line) in LINES {
            let session = self.session(&self.clinician).await;
            let url = &session.edges[0].whip_url;
            let bearer = ("authorization", format!("Bearer {}", session.join_token.expose()));
            let word = self.word(&format!("an offer's {starts}"));
            let body = with_line(&offer, starts, &line.replace("CANARY", &word));
            self.signal(Method::POST, url, &[bearer, sdp()], body).await;
        }
        let session = self.session(&self.clinician).await;
        let url = session.edges[0].whip_url.clone();
        let bearer = || ("authorization", format!("Bearer {}", session.join_token.expose()));
        for name in HEADERS {
            let word = self.word(&format!("{name} to an edge"));
            let value = match *name {
                "authorization" => format!("Bearer {word}"),
                "origin" => format!("https://{word}.test"),
                _ => word,
            };
            let mut headers = vec![bearer(), sdp()];
            headers.retain(|(known, _)| known != name);
            headers.push((name, value));
            self.signal(Method::POST, &url, &headers, "v=0".to_owned()).await;
        }
        let whole = self.word("an offer");
        self.signal(Method::POST, &url, &[bearer(), sdp()], whole).await;
        for method in [Method::PATCH, Method::DELETE] {
            let url = format!("{url}/{}?{}={}", self.canary(), self.canary(), self.canary());
            let fragment = ("content-type", "application/trickle-ice-sdpfrag".to_owned());
            let body = format!("a=ice-ufrag:{}\r\n", self.canary());
            self.signal(method, &url, &[bearer(), fragment], body).await;
        }
        self.in_the_visit().await;
    }

    async fn in_the_visit(&self) {
        let session = self.session(&self.patient).await;
        let (name, note) = (self.word("an offer's s="), self.word("an offer's a="));
        let joined = Participant::join_offering(&session, |offer| {
            let offer = with_line(&offer, "s=", &format!("s={name}"));
            with_line(&offer, "a=x-", &format!("a=x-note:{note}"))
        })
        .await;
        eventually(async || joined.is_connected()).await;
        let word = |kind: &str| self.word(&format!("the control channel's {kind}"));
        for text in [
            word("text"),
            json!({"type": word("type")}).to_string(),
            json!({"type": "source", "source": word("source"), "active": true}).to_string(),
            json!({"type": "wish", "video": [{"participant": word("participant"), "source": "camera", "height": 1}]})
                .to_string(),
            json!({"type": "ping", "t": {word("member"): 1}}).to_string(),
        ] {
            joined.say(text);
        }
        // In its order, so that what was said before was heard.
        let last = word("ping");
        eventually(async || {
            joined.say(json!({"type": "ping", "t": last}).to_string());
            joined.said("pong").is_some_and(|pong| pong["t"] == *last)
        })
        .await;
        eventually(async || joined.said("roster").is_some()).await;
        assert!(last.starts_with(MARKER));
    }
}
