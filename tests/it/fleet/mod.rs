//! Control nodes and edges together: placement, and what an operator does to it.

mod certificates;
mod drain;
mod ended;
mod joining;
mod members;
mod relay_peers;
mod relays;
mod residency;
mod six;
mod verbs;

use std::time::Duration;

use medmesh_api_client::Operator;

/// What every wait here is bounded by; nothing takes a tenth of it.
const PATIENCE: Duration = Duration::from_secs(30);

/// Asks again and again until there is an answer.
async fn eventually<T>(what: &str, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let found = async {
        loop {
            if let Some(found) = condition().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let found = tokio::time::timeout(PATIENCE, found).await;
    found.unwrap_or_else(|_| panic!("never: {what}"))
}

/// Waits until every edge has measured its way to another: the planner counts an unknown way as
/// a long one.
async fn linked(operator: &Operator) {
    eventually("every edge knows its way to another", async || {
        let nodes = operator.nodes().await.ok()?;
        let mut reports = nodes.edges.iter().map(|edge| edge.report.as_ref());
        reports
            .all(|report| report.is_some_and(|report| !report.paths.is_empty()))
            .then_some(())
    })
    .await;
}

/// A sample of an edge's or a control node's metrics.
async fn sample(admin_url: &str, name: &str) -> Option<f64> {
    let text = reqwest::get(format!("{admin_url}/metrics"))
        .await
        .ok()?
        .text()
        .await
        .ok()?;
    let found = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    found?.parse().ok()
}
