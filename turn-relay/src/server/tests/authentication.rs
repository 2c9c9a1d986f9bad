//! Who is let in.

use super::*;

fn bare(world: &mut World, method: Method) -> Builder {
    Builder::new(Class::Request, method, world.transaction())
}

#[test]
fn without_credentials_there_is_a_challenge_and_no_state() {
    let mut world = World::new();
    let source = addr("203.0.113.7:4000");
    for method in [
        Method::ALLOCATE,
        Method::REFRESH,
        Method::CREATE_PERMISSION,
        Method::CHANNEL_BIND,
    ] {
        let request = bare(&mut world, method).finish();
        let reply = world.input(source, &request).unwrap();
        assert_eq!(reply.code(), 401);
        assert_eq!(reply.get(attribute::REALM), Some(REALM.as_bytes()));
        assert_eq!(reply.get(attribute::MESSAGE_INTEGRITY), None);
    }
    assert!(world.relays.is_empty());
    assert_eq!(world.server.table.len(), 0);
}

#[test]
fn half_credentials_make_no_sense() {
    let mut world = World::new();
    let client = TestClient::new("203.0.113.7:4000", "a");
    let key = client.key();
    let all: [(u16, &[u8]); 3] = [
        (attribute::USERNAME, client.username.as_bytes()),
        (attribute::REALM, REALM.as_bytes()),
        (attribute::NONCE, b"x"),
    ];
    for missing in 0..3 {
        let kept = all.iter().enumerate().filter(|(index, _)| *index != missing);
        let request = bare(&mut world, Method::ALLOCATE);
        let request = kept.fold(request, |r, (_, (kind, value))| r.attribute(*kind, value));
        let reply = world
            .input(
                client.address,
                &request.integrity(IntegrityKind::Sha1, &key).finish(),
            )
            .unwrap();
        assert_eq!(reply.code(), 400, "without {missing}");
        assert_eq!(reply.get(attribute::NONCE), None);
    }
    let truncated = all
        .iter()
        .fold(bare(&mut world, Method::ALLOCATE), |r, (kind, value)| {
            r.attribute(*kind, value)
        });
    let truncated = truncated
        .attribute(attribute::MESSAGE_INTEGRITY, &[0; 10])
        .finish();
    assert_eq!(
        world.input(client.address, &truncated).unwrap().code(),
        401,
        "a short tag verifies nothing"
    );
}

#[test]
fn wrong_credentials_are_refused_by_kind() {
    let mut world = World::new();
    let good = TestClient::new("203.0.113.7:4000", "a");
    let with = |change: &dyn Fn(&mut TestClient)| {
        let mut client = good.clone();
        change(&mut client);
        client
    };
    let rename = |client: &mut TestClient, name: &str| {
        client.username = name.to_owned();
        client.password = secret().password(name);
    };
    let cases = [
        (with(&|c| c.password.push('x')), 401, Counter::AuthIntegrity),
        (
            with(&|c| c.password = Secret::new(9, "another").password(&c.username)),
            401,
            Counter::AuthIntegrity,
        ),
        (
            with(&|c| rename(c, &format!("{START_UNIX_S}:a"))),
            401,
            Counter::AuthExpired,
        ),
        (with(&|c| rename(c, "alice")), 401, Counter::AuthUsername),
        (
            with(&|c| c.nonce = b"0123456789abcdef".to_vec()),
            438,
            Counter::AuthStaleNonce,
        ),
        (with(&|c| c.nonce = vec![b'A'; 700]), 438, Counter::AuthStaleNonce),
    ];
    for (mut client, code, reason) in cases {
        let before = world.count(reason);
        let reply = client.request(&mut world, Method::ALLOCATE, udp);
        assert_eq!(reply.code(), code, "{reason:?}");
        assert_eq!(world.count(reason), before + 1, "{reason:?}");
        assert!(reply.get(attribute::NONCE).is_some());
    }
    assert_eq!(world.server.table.len(), 0);
    good.clone().allocate(&mut world);
}

#[test]
fn sha256_integrity_is_answered_in_kind_and_wins_over_sha1() {
    let mut world = World::new();
    let mut client = TestClient {
        integrity: IntegrityKind::Sha256,
        ..TestClient::new("203.0.113.7:4000", "a")
    };
    client.allocate(&mut world);
    assert_eq!(client.permit(&mut world, &["192.0.2.1:1"]), 0);

    // A right SHA-1 tag does not save a wrong SHA-256 one.
    let request = bare(&mut world, Method::REFRESH)
        .attribute(attribute::USERNAME, client.username.as_bytes())
        .attribute(attribute::REALM, REALM.as_bytes())
        .attribute(attribute::NONCE, &client.nonce)
        .integrity(IntegrityKind::Sha1, &client.key())
        .attribute(attribute::MESSAGE_INTEGRITY_SHA256, &[0; 32])
        .finish();
    assert_eq!(world.input(client.address, &request).unwrap().code(), 401);
}

#[test]
fn the_strongest_password_algorithm_is_offered_and_taken() {
    let mut world = World::new();
    let mut client = TestClient {
        integrity: IntegrityKind::Sha256,
        algorithm: PasswordAlgorithm::Sha256,
        ..TestClient::new("203.0.113.7:4000", "a")
    };
    let challenge = bare(&mut world, Method::ALLOCATE).finish();
    let challenge = world.input(client.address, &challenge).unwrap();
    assert_eq!(
        challenge.get(attribute::PASSWORD_ALGORITHMS),
        Some(&[0, 2, 0, 0, 0, 1, 0, 0][..])
    );
    // The cookie and 24 bits, of which the first says "password algorithms" and no other is set.
    assert!(challenge.nonce().starts_with(b"obMatJos2gAAA"));
    client.allocate(&mut world);
    assert_eq!(client.permit(&mut world, &["192.0.2.1:1"]), 0);
    let mut stale = TestClient {
        nonce: b"obMatJos2gAAA0123456789abcdef".to_vec(),
        ..client.clone()
    };
    let reply = stale.request(&mut world, Method::REFRESH, |r| r);
    assert_eq!(reply.code(), 438);
    assert!(reply.get(attribute::PASSWORD_ALGORITHMS).is_some());

    // A key by the other algorithm is another key.
    let mixed = Builder::new(Class::Request, Method::REFRESH, [1; 12])
        .attribute(attribute::USERNAME, client.username.as_bytes())
        .attribute(attribute::REALM, REALM.as_bytes())
        .attribute(attribute::NONCE, &client.nonce);
    let mixed = mixed.integrity(IntegrityKind::Sha256, &client.key()).finish();
    assert_eq!(world.input(client.address, &mixed).unwrap().code(), 401);
    // But a client may go back to it while its credentials are good.
    client.algorithm = PasswordAlgorithm::Md5;
    assert_eq!(client.refresh(&mut world, 600).code(), 0);
}

#[test]
fn nobody_on_the_way_can_take_the_stronger_algorithm_out() {
    let mut world = World::new();
    let mut client = TestClient::new("203.0.113.7:4000", "a");
    client.refresh(&mut world, 600);
    let lists: [(&[u8], &[u8]); 6] = [
        // What a client repeats that was shown MD5 alone.
        (&[0, 1, 0, 0], &[0, 1, 0, 0]),
        (&[0, 1, 0, 0, 0, 2, 0, 0], &[0, 2, 0, 0]),
        (&[0, 2, 0, 0, 0, 1, 0, 0], &[0, 3, 0, 0]),
        (&[0, 2, 0, 0, 0, 1, 0, 0], &[0, 2, 0, 4, 1, 2, 3, 4]),
        (&[0, 2, 0, 0, 0, 1, 0, 0], &[]),
        (&[], &[0, 2, 0, 0]),
    ];
    for (list, chosen) in lists {
        let with = |r| {
            udp(r)
                .attribute(attribute::PASSWORD_ALGORITHMS, list)
                .attribute(attribute::PASSWORD_ALGORITHM, chosen)
        };
        let code = |client: &mut TestClient, world: &mut World| {
            let transaction = world.transaction();
            let request = client.seal(with(Builder::new(Class::Request, Method::ALLOCATE, transaction)));
            world.input(client.address, &request).unwrap().code()
        };
        assert_eq!(code(&mut client, &mut world), 400, "{list:?} {chosen:?}");
    }
    for kind in [attribute::PASSWORD_ALGORITHMS, attribute::PASSWORD_ALGORITHM] {
        let one = |r| udp(r).attribute(kind, &[0, 2, 0, 0, 0, 1, 0, 0][..]);
        let request = client.seal(one(bare(&mut world, Method::ALLOCATE)));
        assert_eq!(
            world.input(client.address, &request).unwrap().code(),
            400,
            "{kind:#x} alone"
        );
    }
    // Clearing the bit in the nonce only gets the nonce refused.
    let mut bits = TestClient {
        nonce: [&b"obMatJos2AAAA"[..], &client.nonce[13..]].concat(),
        ..client.clone()
    };
    assert_eq!(bits.request(&mut world, Method::ALLOCATE, udp).code(), 438);
    assert_eq!(world.count(Counter::Allocations), 0);
    client.allocate(&mut world);
}

#[test]
fn binding_can_be_kept_for_those_with_a_credential() {
    let credential = ShortTermCredential {
        username: "probe".to_owned(),
        password: "a short-term password".to_owned(),
    };
    let mut world = World::of(
        ServerConfig {
            binding_credential: Some(credential),
            ..config()
        },
        PeerPolicy::default(),
    );
    let source = addr("203.0.113.7:4000");
    let mut code = |name: Option<&str>, password: Option<&str>, kind| {
        let mut request = bare(&mut world, Method::BINDING);
        if let Some(name) = name {
            request = request.attribute(attribute::USERNAME, name.as_bytes());
        }
        if let Some(password) = password {
            request = request.integrity(kind, password.as_bytes());
        }
        let reply = world.input(source, &request.finish()).unwrap();
        assert_eq!(reply.get(attribute::NONCE), None, "no challenge");
        if reply.is_success() {
            let message = reply.message();
            let integrity = Fields::read(&message).integrity.unwrap();
            assert_eq!(integrity.kind, kind);
            assert!(integrity.verify(password.unwrap().as_bytes(), &message));
        }
        reply.code()
    };
    for kind in [IntegrityKind::Sha1, IntegrityKind::Sha256] {
        assert_eq!(code(Some("probe"), Some("a short-term password"), kind), 0);
        assert_eq!(code(Some("probe"), Some("another"), kind), 401);
        assert_eq!(code(Some("porbe"), Some("a short-term password"), kind), 401);
        assert_eq!(code(Some("probe"), None, kind), 400);
        assert_eq!(code(None, Some("a short-term password"), kind), 400);
        assert_eq!(code(None, None, kind), 401);
    }
}

#[test]
fn a_user_name_by_its_hash_is_challenged() {
    let mut world = World::new();
    let client = TestClient::new("203.0.113.7:4000", "a");
    let challenge = bare(&mut world, Method::ALLOCATE).finish();
    let nonce = world.input(client.address, &challenge).unwrap().nonce();
    let request = udp(bare(&mut world, Method::ALLOCATE))
        .attribute(attribute::USERHASH, &[7; 32])
        .attribute(attribute::REALM, REALM.as_bytes())
        .attribute(attribute::NONCE, &nonce)
        .integrity(IntegrityKind::Sha1, &client.key())
        .finish();
    assert_eq!(world.input(client.address, &request).unwrap().code(), 401);
}

#[test]
fn what_follows_the_integrity_attribute_is_not_read() {
    let mut world = World::new();
    let mut client = TestClient::new("203.0.113.7:4000", "a");
    client.allocate(&mut world);
    let request = bare(&mut world, Method::CREATE_PERMISSION)
        .address(attribute::XOR_PEER_ADDRESS, addr("192.0.2.1:1"))
        .attribute(attribute::USERNAME, client.username.as_bytes())
        .attribute(attribute::REALM, REALM.as_bytes())
        .attribute(attribute::NONCE, &client.nonce)
        .integrity(IntegrityKind::Sha1, &client.key())
        .address(attribute::XOR_PEER_ADDRESS, addr("192.0.2.66:1"))
        .finish();
    assert!(world.input(client.address, &request).unwrap().is_success());
    assert_eq!(world.count(Counter::Permissions), 1);

    let refresh = client.seal(bare(&mut world, Method::REFRESH));
    let refresh = refresh[..refresh.len() - 8].to_vec();
    let mut forged = [&refresh[..], &[0, 0x0D, 0, 4, 0, 0, 0, 0]].concat();
    let length = u16::try_from(forged.len() - 20).unwrap();
    forged[2..4].copy_from_slice(&length.to_be_bytes());
    assert_eq!(
        world.input(client.address, &forged).unwrap().lifetime_s(),
        600,
        "not ended by an added LIFETIME"
    );
}

#[test]
fn a_nonce_is_one_clients_and_expires() {
    let mut world = World::new();
    let mut client = TestClient::new("203.0.113.7:4000", "a");
    client.allocate(&mut world);
    let mut moved = TestClient {
        address: addr("203.0.113.7:4001"),
        ..client.clone()
    };
    assert_eq!(
        moved.request(&mut world, Method::ALLOCATE, udp).code(),
        438,
        "another port"
    );
    let mut moved = TestClient {
        address: addr("203.0.113.8:4000"),
        ..client.clone()
    };
    let reply = moved.request(&mut world, Method::ALLOCATE, udp);
    assert_eq!(reply.code(), 438, "another address");
    moved.nonce = reply.nonce();
    moved.allocate(&mut world);

    let lifetime = Limits::default().nonce_lifetime;
    while world.now.monotonic < lifetime {
        world.advance(Duration::from_secs(300));
        if world.now.unix_s < START_UNIX_S + lifetime.as_secs() {
            assert_eq!(client.refresh(&mut world, 600).code(), 0);
        }
    }
    let stale = client.refresh(&mut world, 600);
    assert_eq!(stale.code(), 438);
    client.nonce = stale.nonce();
    assert_eq!(
        client.refresh(&mut world, 600).code(),
        0,
        "the allocation lives on"
    );
}

#[test]
fn two_epochs_are_good_while_the_secret_rotates() {
    let mut world = World::new();
    let mut old = TestClient::new("203.0.113.7:1", "old");
    old.allocate(&mut world);
    let next = Secret::new(2, "the secret of the second epoch");
    let mut new = TestClient::new("203.0.113.7:2", "new");
    new.password = next.password(&new.username);
    let allocate = |world: &mut World, client: &TestClient, port: u16| {
        let mut client = TestClient {
            address: SocketAddr::new(client.address.ip(), port),
            ..client.clone()
        };
        client.nonce.clear();
        client.request(world, Method::ALLOCATE, udp).code()
    };
    assert_eq!(allocate(&mut world, &new, 10), 401);
    world
        .server
        .set_secrets(Secrets::new(next.clone(), Some(secret())));
    assert_eq!(allocate(&mut world, &new, 11), 0);
    assert_eq!(allocate(&mut world, &old, 12), 0);
    world.server.set_secrets(Secrets::new(next, None));
    assert_eq!(allocate(&mut world, &old, 13), 401);
    assert_eq!(
        old.refresh(&mut world, 600).code(),
        0,
        "an allocation keeps the key it was made with"
    );
    world.server.set_secrets(Secrets::none());
    assert_eq!(allocate(&mut world, &new, 14), 401);
}

#[test]
fn answers_before_authentication_are_as_small_as_the_rfc_allows() {
    let mut world = World::new();
    let source = addr("203.0.113.7:4000");
    let allocate = udp(bare(&mut world, Method::ALLOCATE)).finish();
    // Header, ERROR-CODE, REALM, NONCE and PASSWORD-ALGORITHMS are all mandatory (RFC 8489
    // §9.2.4); nothing else is there.
    let challenge = world.input(source, &allocate).unwrap();
    assert_eq!(challenge.0.len(), 20 + 8 + (4 + 8) + (4 + 32) + (4 + 8));
    let binding = bare(&mut world, Method::BINDING).finish();
    assert_eq!(world.input(source, &binding).unwrap().0.len(), 20 + 12);
}

#[test]
fn unauthenticated_answers_stop_at_the_sources_limit_and_authenticated_ones_do_not() {
    let mut world = World::new();
    let mut client = TestClient::new("203.0.113.7:4000", "a");
    client.allocate(&mut world);
    let burst = Limits::default().unauthenticated_burst;
    let answered = (0..3 * burst).filter(|port| {
        let request = bare(&mut world, Method::ALLOCATE).finish();
        let source = SocketAddr::new(client.address.ip(), 10_000 + u16::try_from(*port).unwrap());
        world.input(source, &request).is_some()
    });
    assert_eq!(
        answered.count(),
        burst as usize - 1,
        "one went to the client's own challenge"
    );
    assert!(world.count(Counter::DropUnauthenticatedLimit) > 0);
    assert_eq!(client.refresh(&mut world, 600).code(), 0);
    let binding = bare(&mut world, Method::BINDING).finish();
    assert_eq!(
        world.input(client.address, &binding),
        None,
        "bindings share the limit"
    );
    world.advance(Duration::from_secs(1));
    assert!(world.input(client.address, &binding).unwrap().is_success());
}

#[test]
fn binding_says_where_one_comes_from() {
    let mut world = World::new();
    for source in ["203.0.113.7:4000", "[2001:db8::7]:4000"] {
        let request = bare(&mut world, Method::BINDING).fingerprint().finish();
        let reply = world.input(addr(source), &request).unwrap();
        assert_eq!(reply.addresses(attribute::XOR_MAPPED_ADDRESS), [addr(source)]);
        assert!(
            reply.get(attribute::FINGERPRINT).is_some(),
            "fingerprint for fingerprint"
        );
    }
    let odd = bare(&mut world, Method::BINDING).attribute(0x7777, &[]).finish();
    assert_eq!(world.input(addr("203.0.113.7:4000"), &odd).unwrap().code(), 420);
}
