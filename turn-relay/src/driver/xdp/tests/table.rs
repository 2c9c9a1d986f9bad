//! What stands in the table, and for how long.

use super::*;

#[test]
fn entries_end_by_themselves_and_when_taken_back() {
    if !inside("table::entries_end_by_themselves_and_when_taken_back", SETUP) {
        return;
    }
    let scene = Scene::new();
    let data = bytes_of(100);
    let frames = pair().directions().map(|(key, _)| came_in(key, &data).bytes());
    let carries = || {
        frames
            .each_ref()
            .map(|frame| scene.run(frame).0.cast_signed() == TX)
    };
    assert_eq!(carries(), [false; 2], "nothing is known");
    scene.insert(&pair());
    assert_eq!(carries(), [true; 2]);
    // The next one to take the long way does so after a while.
    let [(up, _), _] = pair().directions();
    let entry = scene.path.flows.get(&up.bytes()).unwrap();
    let word = |at: usize| u64::from_ne_bytes(*entry[at..].first_chunk().unwrap());
    let next = Duration::from_nanos(word(32));
    let clock = sys::monotonic().unwrap();
    assert!(next <= clock + LONG_WAY && next + SECOND > clock + LONG_WAY - 20 * SECOND);
    // Time over: the clock of the program is that of the relay.
    let until = Duration::from_nanos(word(16));
    assert!(until <= clock + 600 * SECOND && until + 20 * SECOND > clock + 600 * SECOND);
    scene.path.insert(&pair(), scene.now()).unwrap();
    assert_eq!(carries(), [false; 2]);
    assert_eq!(carries(), [false; 2], "not the long way, none");
    scene.insert(&pair());
    assert_eq!(carries(), [true; 2]);
    scene.path.remove(&pair());
    assert_eq!(carries(), [false; 2]);
    scene.path.remove(&pair());
    // What another entry has left half in the same memory is not believed.
    for (key, out) in pair().directions() {
        let stranger = Flow {
            channel: 0x4fff,
            ..key
        };
        let entry = scene
            .path
            .seal
            .entry(&stranger, &out, scene.path.origin + scene.now() + SECOND * 60);
        scene.path.flows.insert(&key.bytes(), &entry).unwrap();
    }
    assert_eq!(carries(), [false; 2]);
    assert_eq!(carries(), [false; 2]);
}

#[test]
fn it_says_why_it_cannot_start() {
    if !inside("table::it_says_why_it_cannot_start", SETUP) {
        return;
    }
    let start = |name: &str| FastPath::start(&[name.to_owned()], true, Instant::now());
    let said = |name: &str| start(name).unwrap_err().to_string();
    assert!(
        said("turn9").contains("there is no \"turn9\""),
        "{}",
        said("turn9")
    );
    assert!(said("lo").contains("not an Ethernet interface"));
    let error = said("turn0");
    assert!(error.contains("net.ipv4.conf.lo.forwarding"), "{error}");
    allow_routes();
    let first = start("turn0").unwrap();
    assert_eq!(first.standing().native, 1);
    let error = said("turn0");
    assert!(error.contains("somebody else's"), "{error}");
    first.detach();
    assert_eq!(first.standing(), Standing::default());
    drop(start("turn0").unwrap());
    let last = start("turn0").unwrap();
    let status = Command::new("ip").args(["link", "delete", "turn0"]).status();
    assert!(status.unwrap().success());
    assert_eq!(last.standing(), Standing::default(), "gone with its interface");
}

#[test]
fn a_worker_takes_back_what_it_has_put_there() {
    if !inside("table::a_worker_takes_back_what_it_has_put_there", SETUP) {
        return;
    }
    let scene = Scene::new();
    let path = Arc::new(scene.path);
    let mut worker = Shortcuts::new(Some(Arc::clone(&path)));
    let relay = |slot| RelayId {
        slot,
        generation: 1,
        family: crate::codec::Family::V4,
    };
    let number = |number| ChannelNumber::new(number).unwrap();
    let offload = |worker: &mut Shortcuts, slot: u32, client: &str, peer: &str| {
        let shortcut = Shortcut {
            relay: relay(slot),
            number: number(0x4000),
            client: crate::server::Client {
                listener: crate::server::ListenerId(0),
                address: client.parse().unwrap(),
            },
            peer: peer.parse().unwrap(),
            until: 600 * SECOND,
        };
        let port = 50_000 + u16::try_from(slot).unwrap();
        worker.offload(
            &shortcut,
            "198.51.100.1:3478".parse().unwrap(),
            SocketAddr::new(Ipv4Addr::new(198, 51, 100, 1).into(), port),
        )
    };
    let there = |port: u16, from: [u8; 4]| {
        let down = Flow {
            from: at(from, 10_000),
            to: at([198, 51, 100, 1], port),
            channel: 0,
        };
        path.flows.get(&down.bytes()).is_ok()
    };
    const FIRST: [u8; 4] = [203, 0, 113, 9];
    const SECOND_PEER: [u8; 4] = [203, 0, 113, 10];
    assert!(offload(&mut worker, 0, "198.51.100.7:4000", "203.0.113.9:10000"));
    assert!(
        offload(&mut worker, 0, "198.51.100.7:4000", "203.0.113.9:10000"),
        "again"
    );
    assert!(!offload(
        &mut worker,
        1,
        "[2001:db8::7]:4000",
        "203.0.113.9:10000"
    ));
    assert!(!offload(
        &mut worker,
        1,
        "198.51.100.7:4001",
        "[2001:db8::9]:10000"
    ));
    assert_eq!(worker.len(), 1);
    assert!(there(50_000, FIRST) && !there(50_001, FIRST));
    // The same channel to somebody else.
    assert!(offload(&mut worker, 0, "198.51.100.7:4000", "203.0.113.10:10000"));
    assert!(!there(50_000, FIRST) && there(50_000, SECOND_PEER));
    worker.withdraw(relay(0), number(0x4001));
    assert!(there(50_000, SECOND_PEER));
    worker.withdraw(relay(0), number(0x4000));
    assert!(!there(50_000, SECOND_PEER));
    assert!(offload(&mut worker, 1, "198.51.100.7:4001", "203.0.113.9:10000"));
    drop(worker);
    assert!(!there(50_001, FIRST), "with the worker");
}
