//! Join tokens: made once however often they are asked for, and kept nowhere.

use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use medmesh_api_client::{ClientError, IdempotencyKey, Operator};
use medmesh_base::ProblemCode;
use medmesh_tests::control::{ControlNode, Wishes};
use medmesh_tests::postgres::Scratch;
use serde_json::Value;

use super::eventually;

fn operator(node: &ControlNode) -> Operator {
    Operator::new(&node.url(), node.site().operator_token().trim(), None).unwrap()
}

fn code<T: std::fmt::Debug>(result: Result<T, ClientError>) -> ProblemCode {
    match result {
        Err(ClientError::Problem(problem)) => problem.code,
        other => panic!("expected a problem, got {other:?}"),
    }
}

/// Whether any file below holds these bytes.
fn holds(dir: &Path, bytes: &[u8]) -> bool {
    let entries = std::fs::read_dir(dir).unwrap().flatten();
    entries.map(|entry| entry.path()).any(|path| {
        if path.is_dir() {
            return holds(&path, bytes);
        }
        let content = std::fs::read(&path).unwrap_or_default();
        content.windows(bytes.len()).any(|part| part == bytes)
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_join_token_is_made_once_for_each_key_and_kept_nowhere() {
    let scratch = Scratch::database().await.unwrap();
    let node = ControlNode::start(&scratch, &Wishes::default()).await;
    let operator = operator(&node);
    let once = IdempotencyKey::fresh();
    let first = eventually("a token", async || {
        operator.join_token_create(&once, Some(600)).await.ok()
    })
    .await;
    // Lost on the way, asked again, and by eight at once: one token, which ends when it was to end.
    let again = operator.join_token_create(&once, Some(600)).await.unwrap();
    assert_eq!(
        (again.token.expose(), again.expires_at),
        (first.token.expose(), first.expires_at)
    );
    let together = IdempotencyKey::fresh();
    let asked = (0..8).map(|_| operator.join_token_create(&together, None));
    let answers: Vec<_> = futures::future::join_all(asked)
        .await
        .into_iter()
        .map(|answer| {
            answer
                .map(|token| (token.token.expose().to_owned(), token.expires_at))
                .unwrap()
        })
        .collect();
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    assert_ne!(answers[0].0, first.token.expose());
    // Another wish under the same key is none of it.
    for other in [Some(601), None] {
        let answer = operator.join_token_create(&once, other).await;
        assert_eq!(code(answer), ProblemCode::IdempotencyKeyReused);
    }
    for odd in ["", "short", "with blank in it"] {
        let answer = operator
            .join_token_create(&IdempotencyKey::from(odd.to_owned()), None)
            .await;
        assert_eq!(code(answer), ProblemCode::InvalidRequest, "{odd:?}");
    }
    // What lets an edge in is on no disk of the node; only its digest is agreed on.
    let token: medmesh_link::JoinToken = first.token.expose().parse().unwrap();
    let content = first.token.expose().rsplit_once('.').unwrap().1;
    let content: Value = serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(content).unwrap()).unwrap();
    let secret = content["secret"].as_str().unwrap();
    let raw = BASE64_URL_SAFE_NO_PAD.decode(secret).unwrap();
    let site = node.site().clone();
    node.stop().await;
    assert!(
        holds(site.dir(), &token.secret_hash()),
        "the search finds what is there"
    );
    assert!(!holds(site.dir(), secret.as_bytes()) && !holds(site.dir(), &raw));
}
