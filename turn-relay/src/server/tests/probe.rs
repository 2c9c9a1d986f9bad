//! The probe of those who hand relays out, against the server.

use super::*;
use crate::probe::{Outcome, Probe, Step};

fn newer(epoch: u64) -> Secret {
    Secret::new(epoch, &format!("the secret of epoch {epoch}"))
}

fn username() -> String {
    format!("{}:probe", START_UNIX_S + 60)
}

/// One conversation; the outcome and how many answers it took.
fn ask(world: &mut World, secrets: &Secrets) -> (Outcome, usize) {
    let mut probe = Probe::new(secrets, username());
    let mut request = probe.first(world.transaction());
    for answers in 1..20 {
        let reply = world
            .input(addr("203.0.113.9:4000"), &request)
            .expect("an answer");
        match probe.handle(&reply.0, world.transaction()) {
            Some(Step::Send(next)) => request = next,
            Some(Step::Done(outcome)) => return (outcome, answers),
            None => panic!("it is an answer"),
        }
    }
    panic!("it does not end");
}

#[test]
fn a_relay_that_serves_is_left_as_it_was() {
    let mut world = World::new();
    for _ in 0..100 {
        assert_eq!(
            ask(&mut world, &Secrets::new(secret(), None)),
            (Outcome::Serves { epoch: 1 }, 3)
        );
        assert!(world.relays.is_empty(), "the allocation was given back");
    }
}

#[test]
fn it_finds_the_newest_secret_the_relay_knows() {
    let mut world = World::new();
    let ahead = Secrets::new(newer(2), Some(secret()));
    assert_eq!(
        ask(&mut world, &ahead).0,
        Outcome::Serves { epoch: 1 },
        "the relay is behind"
    );
    world.server.set_secrets(Secrets::new(newer(2), Some(secret())));
    assert_eq!(ask(&mut world, &ahead).0, Outcome::Serves { epoch: 2 });
    let behind = Secrets::new(secret(), None);
    assert_eq!(
        ask(&mut world, &behind).0,
        Outcome::Serves { epoch: 1 },
        "the relay is ahead"
    );
    world.server.set_secrets(Secrets::new(newer(2), None));
    assert_eq!(ask(&mut world, &ahead).0, Outcome::Serves { epoch: 2 });
    assert_eq!(ask(&mut world, &behind).0, Outcome::Stranger);
    let strangers = Secrets::new(newer(9), Some(newer(8)));
    assert_eq!(ask(&mut world, &strangers), (Outcome::Stranger, 3));
    assert_eq!(ask(&mut world, &Secrets::none()), (Outcome::Stranger, 1));
    assert!(world.relays.is_empty());
}

#[test]
fn a_relay_that_drains_or_is_full_serves_nobody() {
    let secrets = Secrets::new(secret(), None);
    let mut world = World::new();
    world.server.set_draining(true);
    assert_eq!(ask(&mut world, &secrets).0, Outcome::Refuses(508));

    let limits = Limits {
        allocations: 1,
        ..Limits::default()
    };
    let mut full = World::with(limits, PeerPolicy::default());
    TestClient::new("203.0.113.1:1", "a").allocate(&mut full);
    assert_eq!(ask(&mut full, &secrets).0, Outcome::Refuses(508));
}

#[test]
fn what_is_no_answer_is_passed_over_and_nonsense_ends_it() {
    let secrets = Secrets::new(secret(), None);
    let first = [1; 12];
    let begun = || {
        let mut probe = Probe::new(&secrets, username());
        probe.first(first);
        probe
    };
    let message = |class, id| Builder::new(class, Method::ALLOCATE, id);
    for passed in [
        Vec::new(),
        b"hello, this is no STUN at all".to_vec(),
        vec![0x40, 0, 0, 1, 7],
        message(Class::Error, [2; 12]).error_code(401).finish(),
        message(Class::Request, first).finish(),
    ] {
        assert_eq!(begun().handle(&passed, [3; 12]), None, "{passed:?}");
    }
    for (nonsense, why) in [
        (
            message(Class::Success, first),
            "an allocation for whoever asks, without credentials",
        ),
        (message(Class::Error, first), "an error without a code"),
        (message(Class::Error, first).error_code(401), "no realm, no nonce"),
    ] {
        let step = begun().handle(&nonsense.finish(), [3; 12]);
        assert_eq!(step, Some(Step::Done(Outcome::Nonsense)), "{why}");
    }
    let challenge = |id, code| {
        message(Class::Error, id)
            .error_code(code)
            .attribute(attribute::REALM, b"r")
            .attribute(attribute::NONCE, b"n")
            .finish()
    };
    let mut probe = begun();
    assert!(matches!(
        probe.handle(&challenge(first, 401), [3; 12]),
        Some(Step::Send(_))
    ));
    let unsigned = message(Class::Success, [3; 12]).finish();
    assert_eq!(
        probe.handle(&unsigned, [4; 12]),
        Some(Step::Done(Outcome::Nonsense)),
        "anybody on the way could have said so"
    );
    // One stale nonce is renewed, and the next is not.
    let mut probe = begun();
    let mut id = first;
    for (code, ends) in [(401, false), (438, false), (438, true)] {
        let next = [id[0] + 1; 12];
        let step = probe.handle(&challenge(id, code), next);
        assert_eq!(matches!(step, Some(Step::Done(Outcome::Refuses(438)))), ends);
        id = next;
    }
}
