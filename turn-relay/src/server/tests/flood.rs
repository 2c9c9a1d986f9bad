//! Senders that only want to do harm.

use super::*;

#[test]
fn a_flood_from_spoofed_sources_leaves_no_trace() {
    let mut world = World::new();
    let mut client = TestClient::new("203.0.113.7:4000", "a");
    let relayed = client.allocate(&mut world);
    assert_eq!(client.bind(&mut world, 0x4000, "192.0.2.1:9"), 0);
    let relay = world.relay_at(relayed);
    let mut answers = 0_u64;
    let requests = 100_000_u32;
    for n in 0..requests {
        let source = SocketAddr::new(std::net::Ipv4Addr::from_bits(0x0B00_0000 + n * 7).into(), 1024);
        let request = udp(Builder::new(Class::Request, Method::ALLOCATE, [5; 12]));
        // Every other one pretends to have credentials.
        let request = if n % 2 == 0 {
            request.finish()
        } else {
            let liar = TestClient {
                nonce: b"0123456789abcdef".to_vec(),
                ..client.clone()
            };
            liar.seal(request.attribute(attribute::LIFETIME, &n.to_be_bytes()))
        };
        assert_eq!(
            world.server.handle_input(world.now, source, LISTENER, &request),
            None
        );
        while let Some(command) = world.server.poll_command() {
            assert!(matches!(command, Command::Send { .. }), "{command:?}");
            answers += 1;
        }
    }
    assert!(answers <= u64::from(requests));
    assert_eq!(world.server.table.len(), 1);
    assert_eq!(world.server.table.timers(), 2, "the client's own");
    assert!(world.server.commands.capacity() <= 64);
    // The one that belongs here has not noticed.
    let data = [0x40, 0, 0, 1, 9];
    assert!(
        world
            .server
            .handle_input(world.now, client.address, LISTENER, &data)
            .is_some()
    );
    assert!(
        world
            .server
            .handle_relayed(world.now, relay, addr("192.0.2.1:9"), 1)
            .is_some()
    );
}

#[test]
fn one_source_gets_no_more_bytes_than_its_limit_however_much_it_sends() {
    let mut world = World::new();
    let source = addr("203.0.113.7:4000");
    let request = udp(Builder::new(Class::Request, Method::ALLOCATE, [5; 12])).finish();
    let mut bytes = 0;
    for _ in 0..10 {
        for _ in 0..5_000 {
            bytes += world.input(source, &request).map_or(0, |reply| reply.0.len());
        }
        world.advance(Duration::from_secs(1));
    }
    let limits = Limits::default();
    let answers = limits.unauthenticated_burst + 10 * limits.unauthenticated_per_second;
    assert!(bytes <= answers as usize * 88, "{bytes}");
    assert!(
        bytes < 50_000 * request.len() / 10,
        "less than a tenth of what was sent"
    );
}
