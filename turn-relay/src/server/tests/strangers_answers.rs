//! What a source that has not authenticated can make the server send to it, or to whom it pretends to be.

use super::*;

/// RFC 8489 §9.2.4 wants realm, nonce and algorithms in a 401, so it is larger than the smallest request
/// for one: this is how large with our realm, on the wire over IPv4 less than four times such a request.
const CHALLENGE_BYTES_MAX: usize = 112;

fn bare(world: &mut World, method: Method) -> Builder {
    Builder::new(Class::Request, method, world.transaction())
}

#[test]
fn a_challenge_is_small_and_nothing_else_is_larger_than_what_it_answers() {
    let mut world = World::new();
    let from = addr("203.0.113.9:4000");
    for method in [
        Method::ALLOCATE,
        Method::REFRESH,
        Method::CREATE_PERMISSION,
        Method::CHANNEL_BIND,
        Method::CONNECT,
        Method::CONNECTION_BIND,
    ] {
        let request = udp(bare(&mut world, method)).finish();
        let answer = world.input(from, &request).expect("an answer");
        assert_eq!(answer.code(), 401, "{method:?}");
        assert!(
            answer.0.len() <= CHALLENGE_BYTES_MAX,
            "{method:?}: {} bytes for {}",
            answer.0.len(),
            request.len()
        );
    }
    // With everything wrong that can be: no answer grows with what was asked.
    let noisy = (0..60_u16).fold(bare(&mut world, Method::ALLOCATE), |request, n| {
        request.attribute(0x7000 + n, &[7; 8])
    });
    let noisy = noisy.finish();
    let answer = world.input(from, &noisy).expect("an answer");
    assert!(answer.0.len() <= CHALLENGE_BYTES_MAX, "{}", answer.0.len());
    let unknown = bare(&mut world, Method::from_code(0x7F)).finish();
    if let Some(answer) = world.input(from, &unknown) {
        assert!(answer.0.len() <= CHALLENGE_BYTES_MAX, "{}", answer.0.len());
    }
    for silent in [
        Builder::new(Class::Indication, Method::SEND, [1; 12]).finish(),
        Builder::new(Class::Indication, Method::BINDING, [1; 12]).finish(),
        Builder::new(Class::Success, Method::ALLOCATE, [1; 12]).finish(),
        Builder::new(Class::Error, Method::ALLOCATE, [1; 12]).finish(),
        vec![0x40, 0, 0, 4, 1, 2, 3, 4],
        vec![0; 40],
    ] {
        assert_eq!(world.input(from, &silent), None, "{silent:?}");
    }
}
