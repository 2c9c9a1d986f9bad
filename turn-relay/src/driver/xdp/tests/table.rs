//! What stands in the table, and for how long.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::*;
use crate::codec::ChannelNumber;
use crate::server::{RelayId, Shortcut, ShortcutKey};

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
            framing: Framing::Channel(0x4fff),
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
    let peer = |peer: [u8; 4]| SocketAddr::from((peer, 10_000));
    let offload = |worker: &mut Shortcuts, key: ShortcutKey, client: &str| {
        let shortcut = Shortcut {
            relay: key.0,
            number: key.1,
            client: crate::server::Client {
                listener: crate::server::ListenerId(0),
                address: client.parse().unwrap(),
            },
            peer: key.2,
            until: 600 * SECOND,
        };
        let port = 50_000 + u16::try_from(key.0.slot).unwrap();
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
            framing: Framing::Bare,
        };
        let entry = path.flows.get(&down.bytes()).ok()?;
        Some(u16::from_be_bytes([entry[12], entry[13]]))
    };
    const FIRST: [u8; 4] = [203, 0, 113, 9];
    const OTHER: [u8; 4] = [203, 0, 113, 10];
    const CLIENT: &str = "198.51.100.7:4000";
    let [channel, indications] = [Some(number(0x4000)), None].map(|number| (relay(0), number, peer(FIRST)));
    assert!(offload(&mut worker, channel, CLIENT));
    assert!(offload(&mut worker, channel, CLIENT), "again");
    assert!(!offload(
        &mut worker,
        (relay(1), None, peer(FIRST)),
        "[2001:db8::7]:4000"
    ));
    let v6 = (relay(1), channel.1, "[2001:db8::9]:10000".parse().unwrap());
    assert!(!offload(&mut worker, v6, CLIENT));
    let held = |worker: &Shortcuts| (worker.channels(), worker.correspondents());
    assert_eq!(held(&worker), (1, 0));
    assert_eq!((there(50_000, FIRST), there(50_001, FIRST)), (Some(0x4000), None));
    // The same client from elsewhere.
    assert!(offload(&mut worker, channel, "198.51.100.7:4001"));
    let [(from, _), _] = pair().directions();
    let from = Flow {
        framing: Framing::Channel(0x4000),
        ..from
    };
    assert!(
        path.flows.get(&from.bytes()).is_err(),
        "nothing is left of where it was"
    );
    worker.withdraw(&(relay(0), Some(number(0x4001)), peer(FIRST)));
    worker.withdraw(&(relay(0), channel.1, peer(OTHER)));
    assert_eq!(there(50_000, FIRST), Some(0x4000));
    worker.withdraw(&channel);
    assert_eq!((there(50_000, FIRST), held(&worker)), (None, (0, 0)));
    // Indications in its place.
    assert!(offload(&mut worker, indications, CLIENT));
    assert!(offload(&mut worker, (relay(0), None, peer(OTHER)), CLIENT));
    assert_eq!((there(50_000, FIRST), held(&worker)), (Some(DATA), (0, 2)));
    worker.withdraw(&indications);
    assert_eq!((there(50_000, FIRST), there(50_000, OTHER)), (None, Some(DATA)));
    assert_eq!(held(&worker), (0, 1));
    assert!(offload(&mut worker, channel, CLIENT));
    drop(worker);
    let gone = (there(50_000, FIRST), there(50_000, OTHER));
    assert_eq!(gone, (None, None), "with the worker");
    // As many peers without a channel as there may be, of whichever worker; channels find room.
    assert_eq!(path.correspondents.load(Ordering::Relaxed), 0);
    path.correspondents
        .store(CORRESPONDENTS_MAX - 1, Ordering::Relaxed);
    let mut worker = Shortcuts::new(Some(Arc::clone(&path)));
    assert!(offload(&mut worker, indications, CLIENT));
    assert!(offload(&mut worker, indications, CLIENT), "it is there");
    assert!(!offload(&mut worker, (relay(0), None, peer(OTHER)), CLIENT));
    assert_eq!((there(50_000, OTHER), held(&worker)), (None, (0, 1)));
    assert!(offload(&mut worker, (relay(1), channel.1, peer(OTHER)), CLIENT));
    worker.clear();
    let entered = path.correspondents.load(Ordering::Relaxed);
    assert_eq!((entered, held(&worker)), (CORRESPONDENTS_MAX - 1, (0, 0)));
}
