use medmesh_api_types::fleet::{Explanation, FleetHeadroom, Nodes, Raft, RelayHeadroom, Sessions};
use serde_json::json;

use super::{find_edge, headroom, insight, table};

fn nodes() -> Nodes {
    serde_json::from_value(json!({
        "controls": [{"id": 1, "role": "leader", "is_this_node": true, "link_address": "10.0.0.1:4400", "http_url": null}],
        "edges": [
            {"id": "01920000-0000-7000-8000-000000000001", "name": "fra-1", "region": "eu", "health": "healthy",
             "cordoned": true, "draining": false, "capacity_participants": 100, "reserved_participants": 0,
             "signalling_url": "https://fra-1", "link_address": "fra-1:4400",
             "report": {"age_ms": 120, "version": "0.1.0", "participants": 7, "rooms": 3, "cpu_ratio": 0.255,
                        "ingress_bps": 12_300_000, "egress_bps": 2_000_000_000_u64, "turn_allocations": 2, "turn_allocations_max": 4500,
                        "config_version": 9, "paths": []}},
            {"id": "01920000-0000-7000-8000-000000000002", "name": "nyc-1", "region": "us", "health": "down",
             "cordoned": false, "draining": false, "capacity_participants": 50, "reserved_participants": 0,
             "signalling_url": "https://nyc-1", "link_address": "nyc-1:4400", "report": null}
        ]
    }))
    .unwrap()
}

#[test]
fn nodes_show_health_load_and_what_is_unknown() {
    let text = table::nodes(&nodes());
    for expected in [
        "1 (asked)",
        "leader",
        "healthy cordoned",
        "7/100",
        "26 %",
        "12.3 Mbit/s",
        "2.0 Gbit/s",
        "2/4500",
        "–/50",
    ] {
        assert!(text.contains(expected), "{expected}:\n{text}");
    }
}

#[test]
fn rooms_and_members_fit_their_tables() {
    let sessions: Sessions = serde_json::from_value(json!({
        "rooms_total": 12, "participants_placed": 24, "participants_connected": 23,
        "rooms": [{"id": "01920000-0000-7000-8000-0000000000aa", "epoch": 4, "expires_at": "2026-11-22T12:00:00Z",
                   "participants": [{"id": "01920000-0000-7000-8000-0000000000bb", "edge": "fra-1", "connected_to": null}]}]
    }))
    .unwrap();
    let text = table::sessions(&sessions);
    assert!(
        text.contains("1 of 12 rooms; 24 participants placed, 23 connected"),
        "{text}"
    );
    let raft: Raft = serde_json::from_value(json!({
        "node": 1, "leader": 1, "term": 3, "last_log_index": 90, "applied_index": 90, "snapshot_index": 0,
        "members": [{"id": 2, "role": "voter", "link_address": "b:1", "matched_index": 88}]
    }))
    .unwrap();
    let text = table::raft(&raft);
    assert!(
        text.contains("88") && text.contains(" 2 ") && text.contains("term 3, leader 1"),
        "{text}"
    );
}

#[test]
fn headroom_and_reasons_fit_their_tables() {
    let room = json!({"edges": 3, "edges_open": 2, "capacity_participants": 200, "load_participants": 40,
                      "largest_edge_participants": 100, "spare_participants": -60,
                      "turn_allocations": 7, "turn_allocations_max": 9000, "spare_turn_allocations": 4493});
    let mut region = room.clone();
    region["region"] = json!("eu");
    let fleet: FleetHeadroom = serde_json::from_value(json!({"regions": [region], "fleet": room})).unwrap();
    let relay = RelayHeadroom {
        url: "http://relay:9641".to_owned(),
        allocations: 3,
        allocations_max: 16_384,
        spare_allocations: 16_381,
    };
    let room = headroom::Room {
        fleet: Some(fleet),
        relays: vec![relay],
    };
    let text = headroom::text(&room);
    for expected in ["eu", "-60", "4493", "http://relay:9641", "16381"] {
        assert!(text.contains(expected), "{expected} in {text}");
    }

    let explanation: Explanation = serde_json::from_value(json!({
        "room": "01920000-0000-7000-8000-0000000000aa", "epoch": 4, "residency": ["eu"],
        "participants": [{
            "id": "01920000-0000-7000-8000-0000000000bb", "edge": "fra-1", "decided_at": null, "spare_edge": false,
            "candidates": [
                {"edge": "01920000-0000-7000-8000-000000000001", "name": "fra-1", "outcome": "chosen", "reason": null,
                 "score": {"mouth_to_ear_ms": 12, "impairment_us": 0, "mesh_hop_us": 4_500, "access_ms": 8,
                           "load_permille": 250, "cost": 0}},
                {"edge": "01920000-0000-7000-8000-000000000002", "name": "nyc-1", "outcome": "rejected",
                 "reason": "residency", "score": null}
            ]
        }]
    }))
    .unwrap();
    let text = insight::explanation(&explanation);
    for expected in [
        "no edge to spare",
        "as it would be decided now",
        "chosen",
        "4.5",
        "25 %",
        "residency",
    ] {
        assert!(text.contains(expected), "{expected}:\n{text}");
    }
}

#[test]
fn edges_are_found_by_name_or_id() {
    let nodes = nodes();
    let by_name = find_edge(&nodes, "fra-1").unwrap();
    assert_eq!(find_edge(&nodes, &by_name.0.to_string()).unwrap(), by_name);
    let error = find_edge(&nodes, "par-1").unwrap_err().to_string();
    assert!(error.contains("fra-1, nyc-1"), "{error}");
}
