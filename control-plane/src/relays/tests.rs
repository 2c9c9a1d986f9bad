use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use medmesh_turn::{PeerPolicy, Relay as TurnRelay, RelayConfig, RelayHandle, StreamListener, TlsFiles};
use tempfile::TempDir;

use super::*;

const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

fn region(name: &str) -> Region {
    name.parse().unwrap()
}

fn relay(name: &str, stands: &str, serves: &[&str]) -> ExternalRelay {
    ExternalRelay {
        name: name.to_owned(),
        region: region(stands),
        serves: serves.iter().map(|name| region(name)).collect(),
        urls: vec!["turn:t.example.org".to_owned()],
        secrets_file: "turn.secrets".into(),
        probe_urls: Vec::new(),
        ca_file: None,
    }
}

fn chosen(relays: &[ExternalRelay], edges: &[&str], residency: &[&str], who: ParticipantId) -> Vec<String> {
    let edges: Vec<Region> = edges.iter().map(|name| region(name)).collect();
    let residency: Vec<Region> = residency.iter().map(|name| region(name)).collect();
    let edges: Vec<&Region> = edges.iter().collect();
    choice::choose(relays.iter().map(|relay| (relay, ())), &edges, &residency, who)
        .into_iter()
        .map(|(relay, ())| relay.name.clone())
        .collect()
}

#[test]
fn relays_near_the_first_edge_come_first_and_residency_is_hard() {
    let relays = [
        relay("west", "eu-west", &[]),
        relay("central", "eu-central", &[]),
        relay("far", "us-east", &["eu-central", "us-east"]),
    ];
    let who = ParticipantId::generate();
    let both = chosen(&relays, &["eu-west", "eu-central"], &[], who);
    assert_eq!(both[0], "west");
    assert_eq!(both.len(), choice::HANDED_MAX);
    assert_eq!(
        chosen(
            &relays,
            &["eu-west", "eu-central"],
            &["eu-west", "eu-central"],
            who
        ),
        ["west", "central"]
    );
    assert_eq!(
        chosen(&relays, &["eu-central"], &["eu-central"], who),
        ["central"],
        "one that serves the region from elsewhere is elsewhere"
    );
    assert!(
        chosen(&relays, &["ap-south"], &[], who).is_empty(),
        "for nobody there"
    );
    assert!(chosen(&relays, &["eu-west"], &["us-east"], who).is_empty());
}

#[test]
fn participants_spread_over_equals_and_keep_their_order() {
    let names = ["a", "b", "c", "d"];
    let relays = names.map(|name| relay(name, "eu-central", &[]));
    let mut counts = [0; 4];
    for _ in 0..1_000 {
        let who = ParticipantId::generate();
        let first = chosen(&relays, &["eu-central"], &[], who);
        assert_eq!(
            first,
            chosen(&relays, &["eu-central"], &[], who),
            "asked again, the same"
        );
        let place = names.iter().position(|name| *name == first[0]).unwrap();
        counts[place] += 1;
        let without: Vec<ExternalRelay> = relays
            .iter()
            .filter(|relay| relay.name != first[0])
            .cloned()
            .collect();
        assert_eq!(
            chosen(&without, &["eu-central"], &[], who)[0],
            first[1],
            "the next moves up"
        );
    }
    assert!(counts.iter().all(|count| *count > 150), "{counts:?}");
}

/// A relay on every transport, its secrets file, and what a control node is told of it.
struct World {
    dir: TempDir,
    relay: RelayHandle,
}

fn secrets_text(dir: &Path, text: &str) {
    let path = dir.join("turn.secrets");
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let pair = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
        let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
        std::fs::write(&cert, pair.cert.pem()).unwrap();
        std::fs::write(&key, pair.signing_key.serialize_pem()).unwrap();
        secrets_text(dir.path(), &format!("1 {A}\n"));
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let config = RelayConfig {
            listen: vec![any],
            streams: vec![StreamListener::new(any, false), StreamListener::new(any, true)],
            tls: Some(TlsFiles { cert, key }),
            workers: 1,
            ..RelayConfig::default()
        };
        let secrets = Secrets::new(Secret::new(1, A), None);
        let relay = TurnRelay::spawn(config, secrets, PeerPolicy::default(), &Registry::new()).unwrap();
        Self { dir, relay }
    }

    fn urls(&self) -> Vec<String> {
        let (udp, streams) = (self.relay.listeners()[0], self.relay.stream_listeners());
        vec![
            format!("turn:{udp}?transport=udp"),
            format!("turn:{}?transport=tcp", streams[0]),
            format!("turns:{}?transport=tcp", streams[1]),
        ]
    }

    fn config(&self) -> ExternalRelay {
        ExternalRelay {
            urls: self.urls(),
            secrets_file: self.dir.path().join("turn.secrets"),
            ca_file: Some(self.dir.path().join("cert.pem")),
            ..relay("north", "eu-central", &[])
        }
    }

    fn open(config: ExternalRelay) -> Relays {
        let turn = Turn {
            external: vec![config],
            ..Turn::default()
        };
        Relays::open(&turn, ControlId(1), &Registry::new()).unwrap()
    }
}

impl Relays {
    async fn probe_all(&self) {
        join_all(self.0.relays.iter().map(|relay| self.0.probe(relay))).await;
    }

    fn handed(&self) -> Vec<Handed> {
        let (who, until) = (
            ParticipantId::generate(),
            OffsetDateTime::UNIX_EPOCH + time::Duration::hours(1),
        );
        self.hand_out(&[&region("eu-central")], &[], who, until)
    }
}

/// Whose secret a password is made with.
fn epoch(handed: &Handed) -> u64 {
    let made = |text: &str| Secret::new(0, text).password(&handed.turn.username);
    match &handed.turn.password {
        password if *password == made(A) => 1,
        password if *password == made(B) => 2,
        _ => 0,
    }
}

#[tokio::test]
async fn a_relay_is_handed_out_over_every_transport_once_it_was_seen_to_serve() {
    let world = World::new();
    let relays = World::open(world.config());
    assert!(relays.handed().is_empty(), "nobody has asked it yet");
    relays.probe_all().await;
    let handed = relays.handed();
    assert_eq!(handed.len(), 1);
    assert_eq!(handed[0].urls, world.urls());
    assert!(handed[0].turn.username.starts_with("3600:"));
    assert_eq!(epoch(&handed[0]), 1);
    assert_eq!(
        world.relay.stats().allocations,
        0,
        "what was tried was given back"
    );

    world.relay.drain();
    relays.probe_all().await;
    assert!(relays.handed().is_empty(), "it drains");
}

#[tokio::test]
async fn a_url_that_does_not_work_is_left_out_and_a_dead_relay_is_not_handed_out() {
    let world = World::new();
    let mut config = world.config();
    // Signed by nobody this node trusts: no browser would take it either.
    let other = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let other_file = world.dir.path().join("other.pem");
    std::fs::write(&other_file, other.cert.pem()).unwrap();
    config.ca_file = Some(other_file);
    let relays = World::open(config);
    relays.probe_all().await;
    assert_eq!(relays.handed()[0].urls, world.urls()[..2]);
    world.relay.stop();
    relays.probe_all().await;
    assert!(relays.handed().is_empty());
}

#[tokio::test]
async fn credentials_are_made_with_what_the_relay_knows_whichever_end_rotates_first() {
    let world = World::new();
    let relays = World::open(world.config());
    let known = async || {
        relays.probe_all().await;
        relays.handed().first().map(epoch)
    };
    assert_eq!(known().await, Some(1));
    let relay_knows = |current: (u64, &str), previous: Option<(u64, &str)>| {
        let secret = |(epoch, text): (u64, &str)| Secret::new(epoch, text);
        world
            .relay
            .set_secrets(Secrets::new(secret(current), previous.map(secret)));
    };
    // The file here first: the relay is behind, and is served as before.
    secrets_text(world.dir.path(), &format!("1 {A}\n2 {B}\n"));
    assert_eq!(known().await, Some(1));
    relay_knows((2, B), Some((1, A)));
    assert_eq!(known().await, Some(2));
    // A file that is half written changes nothing.
    secrets_text(world.dir.path(), "2 bb");
    assert_eq!(known().await, Some(2));
    secrets_text(world.dir.path(), &format!("2 {B}\n"));
    relay_knows((2, B), None);
    assert_eq!(known().await, Some(2));
    // A relay whose secrets nobody has told us serves nobody we could send.
    relay_knows((3, &A.replace('a', "c")), None);
    assert_eq!(known().await, None);
}

#[tokio::test]
async fn where_a_node_reaches_it_elsewhere_that_decides_for_all_its_urls() {
    let world = World::new();
    let public = vec!["turns:turn.example.org:443?transport=tcp".to_owned()];
    let config = ExternalRelay {
        urls: public.clone(),
        probe_urls: vec![world.urls()[1].clone()],
        ca_file: None,
        ..world.config()
    };
    let relays = World::open(config);
    relays.probe_all().await;
    assert_eq!(relays.handed()[0].urls, public);
    world.relay.drain();
    relays.probe_all().await;
    assert!(relays.handed().is_empty());
}

#[test]
fn a_relay_is_not_opened_with_files_that_are_wrong() {
    let world = World::new();
    let said = |config: ExternalRelay| {
        faults(&Turn {
            external: vec![config],
            ..Turn::default()
        })
    };
    assert_eq!(said(world.config()), Vec::<String>::new());
    let config = ExternalRelay {
        ca_file: Some(world.dir.path().join("key.pem")),
        ..world.config()
    };
    assert_eq!(
        said(config),
        ["turn.external[0].ca_file: no certificate is in it"]
    );
    let config = ExternalRelay {
        ca_file: Some("/nowhere/ca.pem".into()),
        ..world.config()
    };
    assert!(said(config)[0].starts_with("turn.external[0].ca_file: it is not a readable PEM file"));
    secrets_text(world.dir.path(), &format!("1 {A}\nx {B}\n"));
    let fault = said(world.config());
    assert!(
        fault[0].ends_with("line 2: the epoch is not a number"),
        "{fault:?}"
    );
}
