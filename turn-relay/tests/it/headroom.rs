//! What the operator's tool says of a relay that runs.

use medmesh_cli::operator::{Connection, Verb, run};
use medmesh_turn::codec::{Method, attribute};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::process::Process;
use crate::support::*;

/// `medmesh headroom --relay …`, without a control plane.
fn headroom(relays: &[String], json: bool) -> anyhow::Result<String> {
    let connection = Connection {
        url: "http://127.0.0.1:1".to_owned(),
        token_file: None,
        ca_file: None,
        json,
    };
    let verb = Verb::Headroom {
        relays: relays.to_vec(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(run(&connection, verb))
}

/// The numbers of a relay's line in the table: there, most, to spare.
fn row(url: &str, table: &str) -> Vec<u64> {
    let line = table
        .lines()
        .find(|line| line.contains(url))
        .expect("a line for the relay");
    let words = line.split_whitespace();
    words.filter_map(|word| word.parse().ok()).collect()
}

#[test]
fn the_tool_shows_how_much_more_fits_on_a_running_relay() {
    let five = |text: String| text.replace("[turn.limits]", "[turn.limits]\nallocations = 5");
    let process = Process::start_with(TempDir::new().unwrap(), five);
    let url = process.admin_url();
    let relays = [url.clone()];
    let seen = |allocations: u64| {
        eventually("the count", || {
            row(&url, &headroom(&relays, false).unwrap()) == [allocations, 5, 5 - allocations]
        });
        let told: Value = serde_json::from_str(&headroom(&relays, true).unwrap()).unwrap();
        let relay = json!({
            "url": url, "allocations": allocations, "allocations_max": 5, "spare_allocations": 5 - allocations
        });
        assert_eq!(told, json!({"relays": [relay]}), "the fleet was not asked");
    };
    seen(0);
    let mut clients: Vec<WireClient> = (0..5)
        .map(|n| WireClient::new(process.turn, &format!("user-{n}")))
        .collect();
    for client in &mut clients[..3] {
        assert_eq!(client.allocate().code(), 0);
    }
    seen(3);
    for client in &mut clients[3..] {
        assert_eq!(client.allocate().code(), 0);
    }
    seen(5);
    let mut late = WireClient::new(process.turn, "late");
    assert_eq!(late.allocate().code(), 508, "what it says is so");
    for client in &mut clients[..4] {
        let ended = client.request(Method::REFRESH, |request| {
            request.attribute(attribute::LIFETIME, &0_u32.to_be_bytes())
        });
        assert_eq!(ended.code(), 0);
    }
    seen(1);

    let nobody = format!("http://127.0.0.1:{}", free_port());
    let error = headroom(&[url.clone(), nobody.clone()], false).unwrap_err();
    assert!(
        error.to_string().contains(&format!("the relay at {nobody}: ")),
        "{error}"
    );
}
