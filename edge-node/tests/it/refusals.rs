//! What is refused, how, and that nothing else changes.

use std::net::SocketAddr;
use std::time::Duration;

use medmesh_base::media_token::{MediaClaims, TokenUse};
use medmesh_base::{EdgeId, RoomId};
use serde_json::Value;
use time::OffsetDateTime;
use tokio::net::UdpSocket;

use crate::browser::{Browser, spare_offer};
use crate::fleet::Fleet;
use crate::issuer::Key;

/// Sends a request that must be refused, and checks how.
async fn refused(request: reqwest::RequestBuilder, status: u16, code: &str) {
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), status, "{code}");
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    let problem: Value = response.json().await.unwrap();
    assert_eq!(problem["code"], code, "{problem}");
    assert_eq!(problem["status"], status);
    assert!(problem["request_id"].is_string());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_are_no_offer_leave_the_token_usable() {
    let fleet = Fleet::start(1, false).await;
    let claims = fleet.claims(RoomId::generate(), 0);
    let token = fleet.issuer.sign(&claims);
    refused(
        fleet.post(0, &token, "v=0\r\nthis is no sdp"),
        400,
        "invalid_request",
    )
    .await;
    refused(fleet.post(0, &token, vec![0xff; 100]), 400, "invalid_request").await;
    refused(fleet.post(0, &token, "x".repeat(200_000)), 413, "body_too_large").await;
    let wrong_type = fleet
        .http
        .post(fleet.whip_url(0))
        .bearer_auth(&token)
        .header("content-type", "application/json")
        .body("{}");
    refused(wrong_type, 415, "unsupported_media_type").await;
    let joined = fleet.post(0, &token, spare_offer()).send().await.unwrap();
    assert_eq!(joined.status(), 201);
    refused(fleet.post(0, &token, spare_offer()), 401, "token_refused").await;
    assert_eq!(
        fleet
            .metric(0, "medmesh_edge_tokens_refused_total{reason=\"replayed\"}")
            .await,
        1.0
    );
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_visit_takes_nobody_else_until_somebody_leaves() {
    let fleet = Fleet::start(1, false).await;
    let room = RoomId::generate();
    let mut places = Vec::new();
    for _ in 0..6 {
        let token = fleet.issuer.sign(&fleet.claims(room, 0));
        let joined = fleet.post(0, &token, spare_offer()).send().await.unwrap();
        assert_eq!(joined.status(), 201);
        let location = joined.headers()["location"].to_str().unwrap().to_owned();
        places.push((location, token));
    }
    let seventh = fleet.claims(room, 0);
    let token = fleet.issuer.sign(&seventh);
    refused(fleet.post(0, &token, spare_offer()), 409, "visit_full").await;
    let counted = "medmesh_edge_joins_total{outcome=\"visit_full\"}";
    assert_eq!(fleet.metric(0, counted).await, 1.0);
    fleet.metric_reaches(0, "medmesh_edge_participants", 6.0).await;

    // Another visit is another room.
    let elsewhere = fleet.issuer.sign(&fleet.claims(RoomId::generate(), 0));
    let joined = fleet.post(0, &elsewhere, spare_offer()).send().await.unwrap();
    assert_eq!(joined.status(), 201);

    let (location, leaver) = &places[3];
    let url = format!("{}{location}", fleet.edge(0).addresses().signalling_url);
    let left = fleet.http.delete(url).bearer_auth(leaver).send().await.unwrap();
    assert_eq!(left.status(), 200);
    // Nothing of the token was used up by the refusal.
    let joined = fleet.post(0, &token, spare_offer()).send().await.unwrap();
    assert_eq!(joined.status(), 201);
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_that_do_not_hold_are_refused_and_counted() {
    let fleet = Fleet::start(1, false).await;
    let good = fleet.claims(RoomId::generate(), 0);
    let past = MediaClaims {
        iat: good.iat - 120,
        nbf: good.nbf - 120,
        exp: good.exp - 120,
        ..good.clone()
    };
    let mut elsewhere = good.clone();
    elsewhere.edges[0].id = EdgeId::generate();
    let cases = [
        (fleet.issuer.sign(&past), "expired"),
        (Key::generate("k1").sign(&good), "foreign"),
        (Key::generate("other").sign(&good), "foreign"),
        (fleet.issuer.sign(&elsewhere), "wrong_edge"),
        ("not.a.token".into(), "malformed"),
    ];
    for (token, _) in &cases {
        refused(fleet.post(0, token, spare_offer()), 401, "token_refused").await;
    }
    let nobody = fleet
        .http
        .post(fleet.whip_url(0))
        .header("content-type", "application/sdp")
        .body(spare_offer());
    refused(nobody, 401, "unauthenticated").await;
    for (reason, count) in [
        ("expired", 1.0),
        ("foreign", 2.0),
        ("wrong_edge", 1.0),
        ("malformed", 1.0),
        ("missing", 1.0),
    ] {
        let sample = format!("medmesh_edge_tokens_refused_total{{reason=\"{reason}\"}}");
        assert_eq!(fleet.metric(0, &sample).await, count, "{reason}");
    }
    assert_eq!(
        fleet
            .metric(0, "medmesh_edge_joins_total{outcome=\"joined\"}")
            .await,
        0.0
    );
    assert_eq!(fleet.metric(0, "medmesh_edge_participants").await, 0.0);
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_assignment_is_stale() {
    let fleet = Fleet::start(1, false).await;
    let newer = fleet.claims(RoomId::generate(), 0);
    let first = fleet
        .post(0, &fleet.issuer.sign(&newer), spare_offer())
        .send()
        .await
        .unwrap();
    assert_eq!(first.status(), 201);
    let older = MediaClaims {
        epoch: newer.epoch - 1,
        jti: "older".into(),
        ..newer
    };
    refused(
        fleet.post(0, &fleet.issuer.sign(&older), spare_offer()),
        409,
        "stale_epoch",
    )
    .await;
    assert_eq!(
        fleet
            .metric(0, "medmesh_edge_tokens_refused_total{reason=\"stale_epoch\"}")
            .await,
        1.0
    );
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_resume_is_worth_nothing_without_its_key() {
    let fleet = Fleet::start(1, false).await;
    let now = OffsetDateTime::now_utc().unix_timestamp();
    let url = fleet.whip_url(0);
    let resume = MediaClaims {
        token_use: TokenUse::Resume,
        exp: now + 3600,
        ..fleet.claims(RoomId::generate(), 0)
    };
    let token = fleet.issuer.sign(&resume);
    refused(fleet.post(0, &token, spare_offer()), 401, "token_refused").await;
    let thief = Key::generate("thief").proof("POST", &url, now, "a");
    refused(
        fleet.post(0, &token, spare_offer()).header("dpop", thief),
        401,
        "token_refused",
    )
    .await;
    let proof = fleet.holder.proof("POST", &url, now, "b");
    for (attempt, status) in [(1, 201), (2, 401)] {
        let request = fleet.post(0, &token, spare_offer()).header("dpop", &proof);
        assert_eq!(
            request.send().await.unwrap().status(),
            status,
            "attempt {attempt}"
        );
    }
    let again = fleet.holder.proof("POST", &url, now, "c");
    let request = fleet.post(0, &token, spare_offer()).header("dpop", again);
    assert_eq!(request.send().await.unwrap().status(), 201);
    for reason in ["proof_missing", "proof_wrong", "proof_replayed"] {
        let sample = format!("medmesh_edge_tokens_refused_total{{reason=\"{reason}\"}}");
        assert_eq!(fleet.metric(0, &sample).await, 1.0, "{reason}");
    }
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_obeys_its_own_token_only() {
    let fleet = Fleet::start(1, false).await;
    let room = RoomId::generate();
    let owner = Browser::join(&fleet, 0, &fleet.claims(room, 0)).await;
    let stranger = fleet.issuer.sign(&fleet.claims(RoomId::generate(), 0));
    let delete = |url: &str, token: &str| fleet.http.delete(url).bearer_auth(token);
    refused(delete(&owner.location, &stranger), 401, "token_refused").await;
    let nowhere = format!("{}/00000000000000000000000000000000", fleet.whip_url(0));
    refused(delete(&nowhere, &owner.token), 404, "not_found").await;
    refused(
        delete(&format!("{}/x", fleet.whip_url(0)), &owner.token),
        404,
        "not_found",
    )
    .await;
    refused(fleet.http.get(fleet.whip_url(0)), 405, "method_not_allowed").await;
    refused(
        fleet.http.get(format!("{}/y", fleet.whip_url(0))),
        405,
        "method_not_allowed",
    )
    .await;
    let patch = |token: &str, body: &'static str| {
        fleet
            .http
            .patch(&owner.location)
            .bearer_auth(token)
            .header("content-type", "application/trickle-ice-sdpfrag")
            .body(body)
    };
    let fragment = "a=ice-ufrag:abcd1234\r\na=ice-pwd:abcdefghijklmnopqrstuvwx\r\n";
    refused(patch(&stranger, fragment), 401, "token_refused").await;
    refused(patch(&owner.token, "nothing"), 400, "invalid_request").await;
    refused(
        patch(&owner.token, fragment).header("if-match", "\"old\""),
        412,
        "version_mismatch",
    )
    .await;
    let restarted = patch(&owner.token, fragment)
        .header("if-match", "*")
        .send()
        .await
        .unwrap();
    assert_eq!(restarted.status(), 200);
    assert!(restarted.headers().contains_key("etag"));
    assert!(restarted.text().await.unwrap().contains("a=ice-ufrag:"));
    drop(owner);
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_portals_may_call_and_anybody_may_probe() {
    let fleet = Fleet::start(1, false).await;
    let preflight = |origin: &'static str| {
        fleet
            .http
            .request(reqwest::Method::OPTIONS, fleet.whip_url(0))
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "authorization,dpop")
    };
    let portal = preflight("https://portal.example.net").send().await.unwrap();
    assert_eq!(
        portal.headers()["access-control-allow-origin"],
        "https://portal.example.net"
    );
    let evil = preflight("https://evil.example.net").send().await.unwrap();
    assert!(!evil.headers().contains_key("access-control-allow-origin"));
    let probe = format!("{}/v1/probe", fleet.edge(0).addresses().signalling_url);
    let probe = fleet
        .http
        .get(probe)
        .header("origin", "https://evil.example.net")
        .send()
        .await
        .unwrap();
    assert_eq!(probe.status(), 204);
    assert_eq!(probe.headers()["access-control-allow-origin"], "*");
    assert_eq!(probe.headers()["timing-allow-origin"], "*");
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_address_cannot_call_without_end() {
    let fleet = Fleet::start(1, false).await;
    let probe = format!("{}/v1/probe", fleet.edge(0).addresses().signalling_url);
    let turned_away = async { while fleet.http.get(&probe).send().await.unwrap().status() == 204 {} };
    tokio::time::timeout(crate::fleet::PATIENCE, turned_away)
        .await
        .unwrap();
    assert!(
        fleet
            .metric(0, "medmesh_edge_signalling_rate_limited_total")
            .await
            >= 1.0
    );
    // The operator's listener is another door.
    let ready = format!("{}/readyz", fleet.edge(0).addresses().admin_url);
    assert_eq!(fleet.http.get(ready).send().await.unwrap().status(), 200);
    fleet.stop().await;
}

/// Everything garbage may look like, from its first byte. Gives the answers, after something that is answered:
/// whatever was said to the garbage has come before.
async fn throw_garbage(at: SocketAddr) -> Vec<Vec<u8>> {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for first in 0..=u8::MAX {
        for length in [1, 20, 60, 1200] {
            let mut bytes = vec![first; length];
            bytes[length / 2..].fill(first.wrapping_mul(31));
            socket.send_to(&bytes, at).await.unwrap();
        }
    }
    socket.send_to(&[], at).await.unwrap();
    let mut answers = Vec::new();
    let mut answer = [0; 2048];
    // Loopback delivers before `send_to` returns, and a server's worker is woken within a turn of its loop.
    while let Ok(Ok(length)) = tokio::time::timeout(SILENCE, socket.recv(&mut answer)).await {
        answers.push(answer[..length].to_vec());
    }
    answers
}

/// How long nothing more may be said before it is taken for silence.
const SILENCE: Duration = Duration::from_millis(500);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_on_every_port_is_met_with_counters_and_silence() {
    let fleet = Fleet::start(2, true).await;
    let room = RoomId::generate();
    let patient = Browser::join(&fleet, 0, &fleet.claims(room, 0)).await;
    let clinician = Browser::join(&fleet, 1, &fleet.claims(room, 1)).await;
    patient.until_media(5, 5).await;
    let addresses = fleet.edge(0).addresses().clone();
    for media in &addresses.media {
        assert_eq!(throw_garbage(*media).await, Vec::<Vec<u8>>::new());
    }
    assert_eq!(
        throw_garbage(addresses.turn.unwrap()).await,
        Vec::<Vec<u8>>::new()
    );
    // QUIC has to answer versions it does not know and connections it has forgotten (RFC 9000 sections 6.1 and
    // 10.3), with less than it got, and with nothing else.
    for answer in throw_garbage(addresses.link).await {
        let is_version_negotiation = answer[0] & 0x80 != 0 && answer[1..5] == [0; 4];
        let is_stateless_reset = answer[0] & 0xc0 == 0x40 && answer.len() >= 21;
        assert!(is_version_negotiation || is_stateless_reset, "{answer:02x?}");
        assert!(answer.len() < 1200, "{} bytes", answer.len());
    }
    assert!(
        fleet.metric_sum(0, "medmesh_turn_dropped_packets_total").await >= 500.0,
        "the relay counts what it throws away"
    );
    // The kernel may drop some of a burst; most must have been seen.
    let unknown = ["unparseable", "unknown_source", "unknown_ufrag", "bad_integrity"];
    let counted = async {
        loop {
            let mut sum = 0.0;
            for reason in unknown {
                let sample = format!("medmesh_edge_dropped_total{{reason=\"{reason}\"}}");
                sum += fleet.metric(0, &sample).await;
            }
            if sum >= 1000.0 {
                return;
            }
        }
    };
    tokio::time::timeout(crate::fleet::PATIENCE, counted)
        .await
        .unwrap();
    let (heard, watched) = patient.received();
    patient.until_media(heard + 20, watched + 20).await;
    let (heard, watched) = clinician.received();
    clinician.until_media(heard + 20, watched + 20).await;
    assert_eq!(fleet.metric(0, "medmesh_edge_participants").await, 1.0);
    assert_eq!(fleet.metric(0, "medmesh_edge_connection_panics_total").await, 0.0);
    let peer = fleet.edge(1).id();
    let sessions = format!("medmesh_edge_link_sessions_total{{edge=\"{peer}\"}}");
    assert_eq!(fleet.metric(0, &sessions).await, 1.0);
    drop((patient, clinician));
    fleet.stop().await;
}
