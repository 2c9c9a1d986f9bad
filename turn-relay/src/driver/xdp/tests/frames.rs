//! What becomes of a frame.

use super::*;

#[test]
fn packets_leave_as_the_table_says() {
    if !inside("frames::packets_leave_as_the_table_says", SETUP) {
        return;
    }
    let scene = Scene::new();
    scene.insert(&pair());
    let [(up, to_peer), (down, to_client)] = pair().directions();
    let lengths = [18, 19, 20, 21, 172, 173, 1199, 1200, 1371, 1372];
    for length in lengths {
        let data = bytes_of(length);
        let (verdict, out) = scene.run(&came_in(up, &data).bytes());
        assert_eq!(verdict.cast_signed(), TX, "{length} up");
        assert_eq!(out, goes_out(to_peer, &data).bytes(), "{length} up");
        let (verdict, out) = scene.run(&came_in(down, &data).bytes());
        assert_eq!(verdict.cast_signed(), TX, "{length} down");
        assert_eq!(out, goes_out(to_client, &data).bytes(), "{length} down");
    }
    // Checksums of every kind, the one that is written as its complement among them.
    let mut zeros = 0;
    for word in 0..=u16::MAX {
        let data = [&[1, 2][..], &word.to_be_bytes(), &[3; 15]].concat();
        for (key, out) in pair().directions() {
            let expected = goes_out(out, &data).bytes();
            let frame = came_in(key, &data).bytes();
            let (mut verdict, mut sent) = scene.run(&frame);
            if verdict.cast_signed() == PASS {
                // Unless it was time for the long way.
                (verdict, sent) = scene.run(&frame);
            }
            if verdict.cast_signed() == PASS {
                // It looks like one that hardware was to complete.
                assert_eq!(sent, frame);
                zeros += 1;
            } else {
                assert_eq!(sent, expected, "{word:04x}");
            }
        }
    }
    assert!(zeros <= 4, "one in 65,536 looks unfinished: {zeros}");
    let carried = scene.path.carried();
    assert!(carried.packets_to_peers >= 65_536 && carried.packets_to_clients >= 65_536);
    let sum: usize = lengths.iter().sum();
    assert_eq!(
        carried.bytes_to_peers,
        (carried.packets_to_peers - lengths.len() as u64) * 19 + sum as u64
    );
}

#[test]
fn everything_else_reaches_the_sockets_as_it_came() {
    if !inside("frames::everything_else_reaches_the_sockets_as_it_came", SETUP) {
        return;
    }
    let scene = Scene::new();
    scene.insert(&pair());
    let data = bytes_of(100);
    let [(up, _), (down, _)] = pair().directions();
    let good = came_in(up, &data);
    let changed = |what: &str, change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.bytes();
        change(&mut bytes);
        scene.passes(what, &bytes);
    };
    changed("another station's", &|f| f[5] ^= 1);
    changed("not IPv4", &|f| f[12] = 0x86);
    changed("with options", &|f| f[14] = 0x46);
    changed("not UDP", &|f| reheader(f, |ip| ip[9] = 6));
    changed("a first fragment", &|f| reheader(f, |ip| ip[6] = 0x20));
    changed("a later fragment", &|f| reheader(f, |ip| ip[7] = 1));
    changed("the bit that is zero", &|f| reheader(f, |ip| ip[6] = 0xc0));
    changed("a damaged header", &|f| f[22] ^= 1);
    changed("padded", &|f| f.push(0));
    changed("cut short", &|f| f.truncate(f.len() - 1));
    changed("a shorter datagram inside", &|f| f[39] -= 1);
    changed("no checksum", &|f| f[40..42].fill(0));
    changed("a channel that is not bound", &|f| f[43] ^= 2);
    changed("shorter channel data", &|f| f[45] -= 1);
    changed("longer channel data", &|f| f[45] += 1);
    changed("a request", &|f| f[42..46].copy_from_slice(&[0, 1, 0, 0]));
    changed("only the pseudo header's sum", &|f| {
        let pseudo = folded(sum(&f[26..34], 17 + u32::try_from(f.len() - 34).unwrap()));
        f[40..42].copy_from_slice(&pseudo.to_be_bytes());
    });
    for length in [14, 20, 34, 42, 45] {
        scene.passes("too short", &good.bytes()[..length]);
    }
    for (what, flow) in [
        (
            "another port",
            Flow {
                from: at([198, 51, 100, 7], 4001),
                ..up
            },
        ),
        (
            "another client",
            Flow {
                from: at([198, 51, 100, 8], 4000),
                ..up
            },
        ),
        (
            "another address",
            Flow {
                to: at([198, 51, 100, 2], 3478),
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
            "another peer",
            Flow {
                from: at([203, 0, 113, 8], 10_000),
                ..down
            },
        ),
        (
            "a peer's other port",
            Flow {
                from: at([203, 0, 113, 9], 10_001),
                ..down
            },
        ),
        (
            "another relayed address",
            Flow {
                to: at([198, 51, 100, 1], 50_001),
                ..down
            },
        ),
    ] {
        scene.passes(what, &came_in(flow, &data).bytes());
    }
    // What leaves fills an Ethernet frame; shorter ones are the sockets' to pad.
    for length in [0, 1, 3, 4, 13, 14, 17] {
        scene.passes("a short one up", &came_in(up, &bytes_of(length)).bytes());
        if length < 14 {
            scene.passes("a short one down", &came_in(down, &bytes_of(length)).bytes());
        }
    }
    // The path takes 1400 bytes, of which 28 are headers; what is longer is for the sockets to fragment.
    scene.passes("too long for the path", &came_in(up, &bytes_of(1373)).bytes());
    scene.passes("too long for the link", &came_in(down, &bytes_of(1469)).bytes());
    assert_eq!(scene.path.carried(), Carried::default());
    // A peer may send what looks like channel data.
    let looks = [&[0x40, 1, 0, 96][..], &bytes_of(96)].concat();
    let [_, (_, to_client)] = pair().directions();
    for data in [looks, bytes_of(14)] {
        let (verdict, out) = scene.run(&came_in(down, &data).bytes());
        assert_eq!(verdict.cast_signed(), TX);
        assert_eq!(out, goes_out(to_client, &data).bytes());
    }
}

#[test]
fn the_way_is_the_kernels() {
    if !inside("frames::the_way_is_the_kernels", SETUP) {
        return;
    }
    let scene = Scene::new();
    let data = bytes_of(100);
    let to = |ip: [u8; 4]| Pair {
        peer: Flow {
            to: at(ip, 10_000),
            ..pair().peer
        },
        ..pair()
    };
    let run = |pair: &Pair| {
        scene.insert(pair);
        let [(up, out), _] = pair.directions();
        (scene.run(&came_in(up, &data).bytes()), out)
    };
    // Through another interface that was named.
    let ((verdict, sent), out) = run(&to([198, 51, 101, 7]));
    assert_eq!(verdict, REDIRECT);
    let frame = Frame {
        to_mac: [2, 0, 0, 0, 0, 0x71],
        from_mac: [2, 0, 0, 0, 0, 0x11],
        ..goes_out(out, &data)
    };
    assert_eq!(sent, frame.bytes());
    for (what, ip) in [
        ("an interface that was not named", [198, 51, 102, 7]),
        ("this very host", [198, 51, 100, 1]),
        ("nobody has answered there yet", [198, 51, 100, 8]),
        ("no route", [192, 0, 2, 1]),
        ("everybody on a network", [198, 51, 100, 255]),
        ("everybody who listens", [224, 0, 0, 1]),
    ] {
        let ((verdict, _), _) = run(&to(ip));
        assert_eq!(verdict.cast_signed(), PASS, "{what}");
    }
}
