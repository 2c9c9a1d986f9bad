use serde_json::json;

use medmesh_api_types::fleet::Nodes;

use super::peers::{List, list, places};

fn edge(number: u8, media: Option<&[&str]>) -> serde_json::Value {
    let report = media.map(|media| {
        json!({"age_ms": 1, "version": "0.1.0", "media": media, "participants": 0, "rooms": 0, "cpu_ratio": 0.0,
               "ingress_bps": 0, "egress_bps": 0, "turn_allocations": 0, "turn_allocations_max": 0,
               "config_version": 1, "paths": []})
    });
    json!({"id": format!("01920000-0000-7000-8000-00000000000{number}"), "name": format!("fra-{number}"),
           "region": "eu", "health": "healthy", "cordoned": false, "draining": false,
           "capacity_participants": 10, "reserved_participants": 0, "signalling_url": "https://x",
           "link_address": "x:4400", "report": report})
}

fn control(id: u8, link: &str, http: Option<&str>) -> serde_json::Value {
    json!({"id": id, "role": "voter", "is_this_node": false, "link_address": link, "http_url": http})
}

fn made(controls: &[serde_json::Value], edges: &[serde_json::Value], before: &str) -> List {
    let nodes: Nodes = serde_json::from_value(json!({"controls": controls, "edges": edges})).unwrap();
    let known = [
        ("c1.example", vec!["192.0.2.1", "2001:db8::1"]),
        ("www.example", vec!["192.0.2.80"]),
        ("192.0.2.3", vec!["192.0.2.3"]),
        ("2001:db8::3", vec!["2001:db8::3"]),
        ("both.example", vec!["192.0.2.9"]),
    ];
    let known = known.into_iter().map(|(host, addresses)| {
        let addresses = addresses.into_iter().map(|address| address.parse().unwrap());
        (host.to_owned(), addresses.collect())
    });
    list(&nodes, &places(&nodes), &known.collect(), before)
}

const HEAD: &str = "# Written by `medmesh relay peers`: what is changed here by hand is lost.\n";

#[test]
fn edges_are_allowed_and_control_nodes_denied_wherever_they_are_reached() {
    let controls = [
        control(1, "c1.example:4500", Some("https://www.example/portal")),
        control(2, "192.0.2.3:4500", None),
        control(3, "[2001:db8::3]:4500", Some("http://[2001:db8::3]:8080")),
    ];
    let edges = [
        edge(1, Some(&["192.0.2.9:10000-10007"])),
        edge(
            2,
            Some(&["[2001:db8::9]:10000-10000", "[2001:db8::9]:10004-10005"]),
        ),
    ];
    let expected = "\
allow 192.0.2.9:10000-10007  # edge fra-1
allow [2001:db8::9]:10000-10000  # edge fra-2
allow [2001:db8::9]:10004-10005  # edge fra-2
deny 192.0.2.1  # control node 1
deny 192.0.2.80  # control node 1
deny 2001:db8::1  # control node 1
deny 192.0.2.3  # control node 2
deny 2001:db8::3  # control node 3
end
";
    assert_eq!(made(&controls, &edges, "").text(), format!("{HEAD}{expected}"));
}

#[test]
fn a_machine_that_is_both_loses_its_control_ports_only() {
    let controls = [control(1, "both.example:4500", Some("https://both.example"))];
    let made = made(&controls, &[edge(1, Some(&["192.0.2.9:10000-10007"]))], "");
    let denied: Vec<_> = made.deny.iter().map(|rule| rule.rule.as_str()).collect();
    assert_eq!(denied, ["192.0.2.9:443", "192.0.2.9:4500"]);
}

#[test]
fn an_edge_that_does_not_report_keeps_what_was_said_of_it_until_it_is_removed() {
    let reported = [
        edge(1, Some(&["192.0.2.9:10000-10007"])),
        edge(2, Some(&["192.0.2.10:1-2"])),
    ];
    let before = made(&[], &reported, "").text();
    let silent = [
        edge(1, Some(&["192.0.2.9:20000-20007"])),
        edge(2, None),
        edge(3, None),
    ];
    let after = made(&[], &silent, &before);
    let text = after.text();
    assert!(
        text.contains("allow 192.0.2.9:20000-20007  # edge fra-1\n"),
        "{text}"
    );
    assert!(
        text.contains("allow 192.0.2.10:1-2  # edge fra-2, which does not report\n"),
        "{text}"
    );
    assert_eq!(after.unknown, ["fra-3"]);
    assert!(text.contains("# edge fra-3 has not said"), "{text}");
    assert_eq!(made(&[], &silent, &text).text(), text, "and again");
    let removed = made(&[], &[edge(1, None)], &text).text();
    assert!(
        removed.contains("192.0.2.9") && !removed.contains("192.0.2.10"),
        "{removed}"
    );
    // Half a file is not believed, nor is what is no rule.
    let half = text.strip_suffix("end\n").unwrap();
    assert_eq!(made(&[], &silent, half).unknown, ["fra-2", "fra-3"]);
    let foreign = "allow 0.0.0.0/0  # edge fra-2\nend\n";
    assert_eq!(made(&[], &silent, foreign).unknown, ["fra-2", "fra-3"]);
}

#[test]
fn a_name_that_means_nothing_is_told_once() {
    let controls = [
        control(1, "gone.example:4500", Some("https://gone.example")),
        control(2, "", Some("nonsense")),
    ];
    let made = made(&controls, &[edge(1, Some(&["192.0.2.9:1-2"]))], "");
    assert_eq!(
        (made.unresolved, made.deny),
        (vec!["gone.example".to_owned()], vec![])
    );
}
