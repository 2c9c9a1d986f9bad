use std::collections::BTreeMap;

use medmesh_ledger::{EdgeStatus, Placement};
use medmesh_vault::ClusterSecret;

use super::*;
use crate::fleet::edge_config::differs;
use crate::fleet::transition::{GRACE_MS, transitions};
use crate::fleet::view;
use crate::fleet::{Reservations, STALE_AFTER_MS, SharedConfig, Telemetry};

#[test]
fn an_edge_is_fresh_for_three_seconds_after_a_report() {
    let mut telemetry = Telemetry::default();
    assert!(telemetry.fresh(edge(1), 0).is_none());
    telemetry
        .handle_report(edge(1), report("fra-1", "eu"), 1_000)
        .unwrap();
    assert!(telemetry.fresh(edge(1), 1_000 + STALE_AFTER_MS - 1).is_some());
    assert!(telemetry.fresh(edge(1), 1_000 + STALE_AFTER_MS).is_none());
    assert!(
        telemetry.get(edge(1)).is_some(),
        "stale is still shown to the operator"
    );
    telemetry
        .handle_report(edge(1), report("fra-1", "eu"), 9_000)
        .unwrap();
    assert!(telemetry.fresh(edge(1), 9_000).is_some());
    telemetry.retain(|known| known != edge(1));
    assert!(telemetry.get(edge(1)).is_none());
}

#[test]
fn media_sockets_are_ranges_of_addresses_or_the_report_is_none() {
    let mut telemetry = Telemetry::default();
    let with = |media: &[&str]| {
        let mut report = report("fra-1", "eu-central");
        let edge = report.edge.as_mut().unwrap();
        edge.media = media.iter().map(|range| (*range).to_owned()).collect();
        report
    };
    let good = ["192.0.2.9:10000-10007", "[2001:db8::9]:65535-65535"];
    telemetry.handle_report(edge(1), with(&good), 0).unwrap();
    assert_eq!(telemetry.get(edge(1)).unwrap().media, good);
    for bad in [
        "192.0.2.9",
        "192.0.2.9:10000",
        "192.0.2.9:10007-10000",
        "192.0.2.9:0-65535",
        "0.0.0.0:1-2",
        "[::]:1-2",
        "10.0.0.0/8",
        "fra-1.example.net:1-2",
        "192.0.2.9:1-2\nallow 0.0.0.0/0",
    ] {
        assert!(
            telemetry.handle_report(edge(1), with(&[bad]), 1).is_err(),
            "{bad}"
        );
    }
    let many = vec!["192.0.2.9:1-2"; 257];
    assert!(telemetry.handle_report(edge(1), with(&many), 1).is_err());
    telemetry.handle_report(edge(1), with(&many[1..]), 1).unwrap();
    // An edge of the version before does not say.
    telemetry.handle_report(edge(1), with(&[]), 2).unwrap();
    assert_eq!(telemetry.get(edge(1)).unwrap().media, [""; 0]);
}

#[test]
fn malformed_reports_change_nothing() {
    let mut telemetry = Telemetry::default();
    telemetry
        .handle_report(edge(1), report("fra-1", "eu"), 1_000)
        .unwrap();
    let before = telemetry.get(edge(1)).cloned();
    let with = |change: fn(&mut wire::EdgeReport)| {
        let mut report = report("fra-1", "eu");
        change(&mut report);
        report
    };
    let presence = |room_id: Vec<u8>, participant_ids: Vec<Vec<u8>>| wire::RoomPresence {
        room_id,
        epoch: 1,
        participant_ids,
        connected_ms: Vec::new(),
    };
    let mut crowded = report("fra-1", "eu");
    crowded.rooms = vec![presence(room(1).to_vec(), vec![person(1).to_vec(); 33])];
    let mut nobody = report("fra-1", "eu");
    nobody.rooms = vec![presence(room(1).to_vec(), vec![vec![1]])];
    let mut nowhere = report("fra-1", "eu");
    nowhere.rooms = vec![presence(vec![1, 2, 3], Vec::new())];
    for bad in [
        with(|report| report.load.as_mut().unwrap().cpu_ratio = f64::NAN),
        with(|report| report.load.as_mut().unwrap().cpu_ratio = 1.5),
        with(|report| {
            report.peers = vec![wire::PeerPath {
                edge_id: vec![0; 15],
                ..wire::PeerPath::default()
            }];
        }),
        with(|report| report.rooms = vec![wire::RoomPresence::default(); 16_385]),
        crowded,
        nobody,
        nowhere,
    ] {
        telemetry.handle_report(edge(1), bad, 2_000).unwrap_err();
        assert_eq!(telemetry.get(edge(1)).cloned(), before);
    }
}

#[test]
fn the_leader_proposes_transitions_and_nothing_else() {
    let mut state = fleet_of(&[(1, "fra-1", "eu"), (2, "nyc-1", "us")]);
    let mut telemetry = Telemetry::default();
    let refused = BTreeMap::new();
    let look = |state: &State, telemetry: &Telemetry, leading_ms: u64, now_ms: u64| {
        transitions(state, telemetry, &refused, leading_ms, now_ms, 10)
    };
    let rotate = Command::TurnSecretRotate { expected: 0, now: 10 };
    assert_eq!(
        look(&state, &telemetry, 0, 0),
        vec![rotate.clone()],
        "the first TURN secret"
    );
    apply(&mut state, &rotate);

    assert_eq!(
        look(&state, &telemetry, GRACE_MS - 1, 0),
        vec![],
        "a new leader waits"
    );
    telemetry
        .handle_report(edge(1), report("fra-1", "eu"), 0)
        .unwrap();
    let down = Command::EdgeStatusSet {
        edge: edge(2),
        status: EdgeStatus::Down,
        now: 10,
    };
    assert_eq!(look(&state, &telemetry, GRACE_MS, 0), vec![down.clone()]);
    apply(&mut state, &down);
    assert_eq!(
        look(&state, &telemetry, GRACE_MS, 1_000),
        vec![],
        "said once, not every second"
    );

    telemetry
        .handle_report(edge(2), report("nyc-1", "us"), 1_000)
        .unwrap();
    let up = Command::EdgeStatusSet {
        edge: edge(2),
        status: EdgeStatus::Up,
        now: 10,
    };
    assert_eq!(
        look(&state, &telemetry, 0, 1_000),
        vec![up.clone()],
        "coming back needs no grace"
    );
    apply(&mut state, &up);

    let mut moved = report("nyc-1", "us");
    moved.edge.as_mut().unwrap().link_address = "elsewhere:1".to_owned();
    telemetry.handle_report(edge(2), moved, 1_000).unwrap();
    let commands = look(&state, &telemetry, 0, 1_000);
    let [
        Command::EdgeUpsert {
            edge: moved,
            descriptor,
            ..
        },
    ] = commands.as_slice()
    else {
        panic!("{commands:?}")
    };
    assert_eq!(
        (*moved, descriptor.link_address.as_str()),
        (edge(2), "elsewhere:1")
    );
    let turned_down = BTreeMap::from([(edge(2), descriptor.clone())]);
    assert_eq!(
        transitions(&state, &telemetry, &turned_down, 0, 1_000, 10),
        vec![],
        "not asked twice"
    );
}

#[test]
fn turn_secrets_rotate_daily_and_the_old_one_ends_later() {
    let hour = 3_600_000;
    let mut state = State::default();
    let telemetry = Telemetry::default();
    let mut due = Vec::new();
    for hours in 0..62 {
        for command in transitions(&state, &telemetry, &BTreeMap::new(), 0, 0, hours * hour + 1) {
            due.push((hours, command.clone()));
            apply(&mut state, &command);
        }
    }
    let due: Vec<_> = due
        .into_iter()
        .map(|(hours, command)| match command {
            Command::TurnSecretRotate { expected, .. } => (hours, "rotate", expected),
            Command::TurnSecretRetire { previous, .. } => (hours, "retire", previous),
            other => panic!("{other:?}"),
        })
        .collect();
    let expected = [
        (0, "rotate", 0),
        (24, "rotate", 1),
        (37, "retire", 1),
        (48, "rotate", 2),
        (61, "retire", 2),
    ];
    assert_eq!(due, expected);
}

#[test]
fn promised_places_count_until_they_are_redeemed_or_end() {
    let mut reservations = Reservations::default();
    reservations.reserve(room(1), person(1), edge(1), 0);
    reservations.reserve(room(1), person(2), edge(1), 0);
    reservations.reserve(room(1), person(2), edge(2), 0);
    assert_eq!(
        reservations.by_edge(),
        &BTreeMap::from([(edge(1), 1), (edge(2), 1)]),
        "a participant is promised one place"
    );
    reservations.prune(1_000, |at, _, who| at == edge(1) && who == person(1));
    assert_eq!(reservations.by_edge(), &BTreeMap::from([(edge(2), 1)]));
    reservations.prune(60_000, |_, _, _| false);
    assert_eq!(reservations.by_edge(), &BTreeMap::new());
}

#[test]
fn the_planner_sees_intent_joined_with_fresh_telemetry() {
    let mut state = fleet_of(&[(1, "fra-1", "eu"), (2, "nyc-1", "us"), (3, "sin-1", "ap")]);
    let cordon = Command::EdgeCordon {
        edge: edge(2),
        cordoned: true,
        now: 1,
    };
    apply(&mut state, &cordon);
    let mut telemetry = Telemetry::default();
    let mut first = report("fra-1", "eu");
    first.peers = [2, 9]
        .map(|to| wire::PeerPath {
            edge_id: edge(to).to_vec(),
            rtt_us: 80_000,
            jitter_us: 10,
            loss_ppm: 20,
        })
        .to_vec();
    telemetry.handle_report(edge(1), first, 10_000).unwrap();
    telemetry
        .handle_report(edge(2), report("nyc-1", "us"), 10_000)
        .unwrap();
    telemetry
        .handle_report(edge(3), report("sin-1", "ap"), 0)
        .unwrap();
    let reserved = BTreeMap::from([(edge(1), 2)]);

    let near = [edge(2)].into();
    let fleet = view::fleet(&state, &telemetry, &reserved, &near, 10_000);
    let [one, two, three] = [1, 2, 3].map(|number| &fleet.edges[&edge(number)]);
    assert!(
        one.healthy && two.healthy && !three.healthy,
        "three seconds of silence"
    );
    assert!(two.cordoned && !two.takes_new());
    assert_eq!(
        (one.reported_participants, one.reserved_participants, one.load()),
        (3, 2, 5)
    );
    assert_eq!(one.cpu_permille, 250);
    assert_eq!(three.reported_participants, 0, "stale numbers are not used");
    assert_eq!(fleet.path(edge(2), edge(1)).unwrap().rtt_us, 80_000);
    assert_eq!(fleet.paths.len(), 1, "edges outside the fleet are left out");
}

#[test]
fn a_demand_takes_the_rooms_residency_and_the_others_places() {
    let mut state = fleet_of(&[(1, "fra-1", "eu")]);
    let placement = Placement {
        edge: edge(1),
        fallbacks: Vec::new(),
    };
    let assign = Command::RoomAssign {
        room: room(1),
        epoch: 0,
        residency: vec!["eu".parse().unwrap()],
        expires_at: 1_000,
        place: vec![(person(1), placement.clone()), (person(2), placement)],
        remove: Vec::new(),
        now: 1,
    };
    apply(&mut state, &assign);
    let held = state.rooms[&room(1)].clone();
    let any = ["us".parse().unwrap()];
    let demand = view::demand(
        Some(&held),
        person(1),
        &any,
        BTreeMap::new(),
        BTreeMap::new(),
        |_| 7_000,
    );
    assert_eq!(demand.residency, held.residency, "fixed when the room was made");
    assert_eq!(demand.others, [(edge(1), 7_000)]);
    assert_eq!(demand.current, Some(edge(1)));
    let fresh = view::demand(None, person(1), &any, BTreeMap::new(), BTreeMap::new(), |_| 0);
    assert_eq!(
        (fresh.residency.as_slice(), fresh.current),
        (any.as_slice(), None)
    );
}

#[test]
fn an_edge_is_told_everything_but_itself() {
    let folder = tempfile::tempdir().unwrap();
    let secret = ClusterSecret::load_or_create(&folder.path().join("cluster.secret")).unwrap();
    let mut state = fleet_of(&[(1, "fra-1", "eu"), (2, "nyc-1", "us")]);
    let commands = [
        Command::TurnSecretRotate { expected: 0, now: 1 },
        Command::TurnSecretRotate { expected: 1, now: 2 },
        Command::TokenKeyPut {
            kid: "k1".to_owned(),
            jwk: r#"{"kty":"EC","kid":"k1"}"#.to_owned(),
            owner: medmesh_base::ControlId(1),
            now: 1,
        },
        Command::TokenRevoke {
            jti: "spent".to_owned(),
            until: 100,
            now: 1,
        },
        Command::EdgeDrain {
            edge: edge(2),
            draining: true,
            now: 1,
        },
    ];
    for command in commands {
        apply(&mut state, &command);
    }
    let origins = ["https://clinic.example".to_owned()];
    let shared = SharedConfig::derive(&state, 42, &secret, &origins);
    let config = shared.for_edge(edge(2));
    assert_eq!(config.version, 42);
    assert_eq!(config.jwks, r#"{"keys":[{"kid":"k1","kty":"EC"}]}"#);
    let epochs: Vec<_> = config.turn_secrets.iter().map(|secret| secret.epoch).collect();
    assert_eq!(epochs, [2, 1], "new credentials first, old ones still accepted");
    assert_eq!(config.turn_secrets[0].secret, secret.turn_secret(2).as_bytes());
    let peers: Vec<_> = config.peers.iter().map(|peer| peer.name.as_str()).collect();
    assert_eq!(peers, ["fra-1"]);
    assert!(config.draining && !config.cordoned);
    assert_eq!(
        (config.revoked_jti.as_slice(), config.allowed_origins.as_slice()),
        (&["spent".to_owned()][..], &origins[..])
    );

    let later = SharedConfig::derive(&state, 43, &secret, &origins).for_edge(edge(2));
    assert!(!differs(&config, &later), "a new version alone is no news");
    assert!(differs(&config, &shared.for_edge(edge(1))));
}
