//! Indications between a client and a peer that has no channel.

use super::*;

/// What becomes of a frame, an indication's id aside.
fn sent(scene: &Scene, frame: &[u8]) -> Vec<u8> {
    let (verdict, out) = scene.run(frame);
    assert_eq!(verdict.cast_signed(), TX);
    without_id(out)
}

#[test]
fn they_leave_as_the_table_says() {
    if !inside("indications::they_leave_as_the_table_says", SETUP) {
        return;
    }
    let scene = Scene::new();
    scene.insert(&correspondents());
    // The same client has a channel with somebody else.
    scene.insert(&pair());
    let [(up, to_peer), (down, to_client)] = correspondents().directions();
    let lengths = [18, 19, 20, 21, 172, 173, 1199, 1200, 1371, 1372];
    for length in lengths {
        let data = bytes_of(length);
        let frame = came_in(up, &data).bytes();
        assert_eq!(
            sent(&scene, &frame),
            goes_out(to_peer, &data).bytes(),
            "{length} up"
        );
        let frame = came_in(down, &data).bytes();
        assert_eq!(
            sent(&scene, &frame),
            goes_out(to_client, &data).bytes(),
            "{length} down"
        );
    }
    // What fills the last word may be anything; the checksum forgets it.
    for length in [18, 19, 21, 101, 102, 103] {
        let data = bytes_of(length);
        let mut payload = came_in(up, &data).payload();
        payload[36 + length..].fill(0xa7);
        let bare = Flow {
            framing: Framing::Bare,
            ..up
        };
        let frame = came_in(bare, &payload).bytes();
        assert_eq!(
            sent(&scene, &frame),
            goes_out(to_peer, &data).bytes(),
            "{length} filled"
        );
    }
    let carried = scene.path.carried();
    let all: usize = lengths.iter().sum();
    assert_eq!(carried.packets_to_peers, lengths.len() as u64 + 6);
    assert_eq!(
        carried.bytes_to_peers,
        (all + 18 + 19 + 21 + 101 + 102 + 103) as u64
    );
    assert_eq!(carried.packets_to_clients, lengths.len() as u64);
    assert_eq!(carried.bytes_to_clients, all as u64);
    assert_ids_differ(&scene, &came_in(down, &bytes_of(100)).bytes());
    // Short data of a peer fill a frame by what goes around them.
    let data = bytes_of(4);
    assert_eq!(
        sent(&scene, &came_in(down, &data).bytes()),
        goes_out(to_client, &data).bytes()
    );
}

fn assert_ids_differ(scene: &Scene, frame: &[u8]) {
    let ids: std::collections::BTreeSet<Vec<u8>> =
        (0..32).map(|_| scene.run(frame).1[50..62].to_vec()).collect();
    assert_eq!(ids.len(), 32, "no two transactions have one id");
}

#[test]
fn checksums_are_right_whatever_stands_there() {
    if !inside("indications::checksums_are_right_whatever_stands_there", SETUP) {
        return;
    }
    let scene = Scene::new();
    scene.insert(&correspondents());
    let mut passed = 0;
    for word in (0..=u16::MAX).step_by(3) {
        let data = [&[1, 2][..], &word.to_be_bytes(), &[3; 15]].concat();
        for (key, out) in correspondents().directions() {
            let frame = came_in(key, &data).bytes();
            let (mut verdict, mut left) = scene.run(&frame);
            if verdict.cast_signed() == PASS {
                // Unless it was time for the long way.
                (verdict, left) = scene.run(&frame);
            }
            if verdict.cast_signed() == PASS {
                // It looks like one that hardware was to complete.
                passed += 1;
                continue;
            }
            // With its id, whichever that is.
            assert_eq!(
                folded(sum(&left[26..], 17 + u32::try_from(left.len() - 34).unwrap())),
                0xffff
            );
            assert_ne!(left[40..42], [0, 0]);
            assert_eq!(without_id(left), goes_out(out, &data).bytes(), "{word:04x}");
        }
    }
    assert!(passed <= 4, "{passed}");
}

#[test]
fn what_is_not_quite_one_reaches_the_sockets() {
    if !inside("indications::what_is_not_quite_one_reaches_the_sockets", SETUP) {
        return;
    }
    let scene = Scene::new();
    scene.insert(&correspondents());
    scene.insert(&pair());
    let [(up, _), (down, _)] = correspondents().directions();
    let data = bytes_of(100);
    let good = came_in(up, &data);
    let changed = |what: &str, change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.bytes();
        change(&mut bytes);
        scene.passes(what, &bytes);
    };
    changed("a request", &|f| f[43] = 0x06);
    changed("Data from a client", &|f| f[43] = 0x17);
    changed("longer than the datagram", &|f| f[45] += 4);
    changed("shorter than the datagram", &|f| f[45] -= 4);
    changed("another cookie", &|f| f[46] ^= 1);
    changed("another attribute first", &|f| f[63] = 0x20);
    changed("an address of another length", &|f| f[65] = 20);
    changed("an address of another family", &|f| f[67] = 2);
    changed("a port that is another's", &|f| f[68] ^= 1);
    changed("an address that is another's", &|f| f[73] ^= 1);
    changed("another attribute than data", &|f| f[75] = 0x14);
    changed("data that leave room for more", &|f| f[77] -= 4);
    changed("data that end elsewhere", &|f| f[77] += 1);
    changed("data of 64 kB", &|f| f[76] = 0xff);
    for length in [45, 62, 74, 77] {
        scene.passes("cut short", &good.bytes()[..length]);
    }
    let bare = Flow {
        framing: Framing::Bare,
        ..up
    };
    let Framing::Indication(peer) = up.framing else {
        unreachable!("it is one")
    };
    let begin = || Builder::new(Class::Indication, Method::SEND, SEND_ID);
    let addressed = |builder: Builder| builder.address(attribute::XOR_PEER_ADDRESS, peer.into());
    for (what, payload) in [
        ("data first", addressed(begin().attribute(attribute::DATA, &data))),
        (
            "not to be fragmented",
            addressed(begin().attribute(attribute::DONT_FRAGMENT, &[])).attribute(attribute::DATA, &data),
        ),
        (
            "something behind the data",
            addressed(begin())
                .attribute(attribute::DATA, &data)
                .attribute(attribute::DONT_FRAGMENT, &[]),
        ),
        (
            "with a fingerprint",
            addressed(begin()).attribute(attribute::DATA, &data).fingerprint(),
        ),
        ("no data", addressed(begin())),
        ("no peer", begin().attribute(attribute::DATA, &data)),
        (
            "a peer of IPv6",
            begin()
                .address(
                    attribute::XOR_PEER_ADDRESS,
                    "[2001:db8::1]:10000".parse().unwrap(),
                )
                .attribute(attribute::DATA, &data),
        ),
    ] {
        scene.passes(what, &came_in(bare, &payload.finish()).bytes());
    }
    for (what, flow) in [
        (
            "another client",
            Flow {
                from: at([198, 51, 100, 8], 4000),
                ..up
            },
        ),
        (
            "another port of the client",
            Flow {
                from: at([198, 51, 100, 7], 4001),
                ..up
            },
        ),
        (
            "another listener",
            Flow {
                to: at([198, 51, 100, 1], 3479),
                ..up
            },
        ),
        (
            "a peer's other port",
            Flow {
                from: at([203, 0, 113, 10], 10_001),
                ..down
            },
        ),
        (
            "a peer with a channel, without it",
            Flow {
                framing: Framing::Indication(at([203, 0, 113, 9], 10_000)),
                ..up
            },
        ),
    ] {
        scene.passes(what, &came_in(flow, &data).bytes());
    }
    for length in [0, 1, 4, 17] {
        scene.passes("too short for a frame", &came_in(up, &bytes_of(length)).bytes());
    }
    scene.passes("too long for the path", &came_in(up, &bytes_of(1373)).bytes());
    scene.passes("too long for the link", &came_in(down, &bytes_of(1437)).bytes());
    assert_eq!(scene.path.carried(), Carried::default());
    // A peer may send what looks like an indication, or like one of its own.
    let [_, (_, to_client)] = correspondents().directions();
    let looks = came_in(up, &data).payload();
    assert_eq!(
        sent(&scene, &came_in(down, &looks).bytes()),
        goes_out(to_client, &looks).bytes()
    );
}

#[test]
fn they_end_by_themselves_and_when_taken_back() {
    if !inside("indications::they_end_by_themselves_and_when_taken_back", SETUP) {
        return;
    }
    let scene = Scene::new();
    let data = bytes_of(100);
    let frames = correspondents()
        .directions()
        .map(|(key, _)| came_in(key, &data).bytes());
    let carries = || {
        frames
            .each_ref()
            .map(|frame| scene.run(frame).0.cast_signed() == TX)
    };
    assert_eq!(carries(), [false; 2], "nothing is known");
    scene.insert(&correspondents());
    assert_eq!(carries(), [true; 2]);
    scene.path.insert(&correspondents(), scene.now()).unwrap();
    assert_eq!(carries(), [false; 2]);
    assert_eq!(carries(), [false; 2], "not the long way, none");
    scene.insert(&correspondents());
    assert_eq!(carries(), [true; 2]);
    scene.path.remove(&correspondents());
    assert_eq!(carries(), [false; 2]);
    // A seal is of the peer as well.
    let [(up, out), _] = correspondents().directions();
    let stranger = Flow {
        framing: Framing::Indication(at([203, 0, 113, 11], 10_000)),
        ..up
    };
    let until = scene.path.origin + scene.now() + SECOND * 60;
    let entry = scene.path.seal.entry(&stranger, &out, until);
    scene.path.flows.insert(&up.bytes(), &entry).unwrap();
    assert_eq!(carries(), [false; 2]);
    assert_eq!(carries(), [false; 2]);
}

#[test]
fn where_there_is_no_room_behind_the_sockets_make_it() {
    if !inside(
        "indications::where_there_is_no_room_behind_the_sockets_make_it",
        SETUP,
    ) {
        return;
    }
    let scene = Scene::new();
    // A client on the network that takes frames of 9,000 bytes; a run has room for one of 3,520.
    let far = Pair {
        client: Flow {
            from: at([198, 51, 101, 7], 4000),
            ..correspondents().client
        },
        ..correspondents()
    };
    scene.insert(&far);
    let [_, (down, to_client)] = far.directions();
    let run = |length: usize| scene.run(&came_in(down, &bytes_of(length)).bytes());
    let (verdict, out) = run(3476);
    assert_eq!(verdict, REDIRECT);
    let expected = Frame {
        to_mac: [2, 0, 0, 0, 0, 0x71],
        from_mac: [2, 0, 0, 0, 0, 0x11],
        ..goes_out(to_client, &bytes_of(3476))
    };
    assert_eq!(without_id(out), expected.bytes());
    scene.passes("no room for three bytes", &came_in(down, &bytes_of(3477)).bytes());
}
