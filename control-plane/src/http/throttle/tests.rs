use super::*;

fn throttle() -> Throttle {
    Throttle::new(Counters::in_process(), b"test")
}

fn ip(last: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, last])
}

#[tokio::test]
async fn a_pair_is_stopped_and_told_when() {
    let throttle = throttle();
    for _ in 0..PAIR_MAX {
        throttle.enter("a@b.c", ip(1), None).await.unwrap();
    }
    let refused = throttle.enter("A@b.C ", ip(1), None).await.err().unwrap();
    assert_eq!(refused.code, ProblemCode::RateLimited);
    assert!(refused.retry_after_seconds.unwrap() <= WINDOW.as_secs());
    assert!(
        throttle.enter("a@b.c", ip(2), None).await.is_ok(),
        "another address may try"
    );
    assert!(
        throttle.enter("d@b.c", ip(1), None).await.is_ok(),
        "another account may try"
    );
}

#[tokio::test]
async fn an_attack_from_many_addresses_stops_but_the_victim_still_gets_in() {
    let throttle = throttle();
    let home = throttle.enter("v@b.c", ip(200), None).await.unwrap();
    throttle.succeeded(home).await;
    let mut refused = 0;
    for n in 0..100 {
        refused += u32::from(throttle.enter("v@b.c", ip(n), None).await.is_err());
    }
    assert!(refused >= 49, "{refused}");
    assert!(throttle.enter("v@b.c", ip(200), None).await.is_ok());
}

#[tokio::test]
async fn an_attack_from_next_door_does_not_lock_a_known_browser_out() {
    let throttle = throttle();
    let token = throttle.device_token("V@b.c");
    for _ in 0..2 * ADDRESS_MAX {
        let _ = throttle.enter("v@b.c", ip(1), None).await;
    }
    assert!(throttle.enter("v@b.c", ip(1), None).await.is_err());
    for _ in 0..PAIR_MAX {
        throttle.enter("v@b.c", ip(1), Some(&token)).await.unwrap();
    }
    assert!(
        throttle.enter("v@b.c", ip(1), Some(&token)).await.is_err(),
        "a stolen one tries no more than anybody"
    );
    assert!(
        throttle.enter("w@b.c", ip(1), Some(&token)).await.is_err(),
        "it is for one account"
    );
    assert!(throttle.is_known("v@B.c", Some(&token)) && !throttle.is_known("w@b.c", Some(&token)));
    assert!(!throttle.is_known("v@b.c", None));
    let other = Throttle::new(Counters::in_process(), b"other");
    assert!(
        throttle
            .known_device("v@b.c", &other.device_token("v@b.c"))
            .is_none()
    );
    assert!(throttle.known_device("v@b.c", "").is_none() && throttle.known_device("v@b.c", "AAAA").is_none());
}

#[tokio::test]
async fn a_system_with_the_wrong_key_keeps_no_other_out() {
    let throttle = throttle();
    let (wrong, right) = (ClientId::generate(), ClientId::generate());
    for _ in 0..ADDRESS_MAX {
        throttle.enter_machine(wrong, ip(1)).await.unwrap();
    }
    let refused = throttle.enter_machine(wrong, ip(1)).await.err().unwrap();
    assert_eq!(refused.code, ProblemCode::RateLimited);
    assert!(
        throttle.enter_machine(wrong, ip(2)).await.is_ok(),
        "from elsewhere it may try"
    );
    for _ in 0..2 * ADDRESS_MAX {
        let attempt = throttle.enter_machine(right, ip(1)).await.unwrap();
        throttle.machine_proved(attempt).await;
    }
    let mut refused = 0;
    for _ in 0..2 * MACHINES_ADDRESS_MAX {
        let guessed = throttle.enter_machine(ClientId::generate(), ip(3)).await;
        refused += u64::from(guessed.is_err());
    }
    assert_eq!(refused, MACHINES_ADDRESS_MAX, "whoever guesses names is stopped");
}

#[tokio::test]
async fn one_machine_trying_many_accounts_is_stopped() {
    let throttle = throttle();
    let mut refused = 0;
    for n in 0..ADDRESS_MAX + 5 {
        refused += u32::from(throttle.enter(&format!("{n}@b.c"), ip(1), None).await.is_err());
    }
    assert_eq!(refused, 5);
}

#[tokio::test]
async fn a_whole_clinic_signs_in_from_one_address() {
    let throttle = throttle();
    for n in 0..3 * ADDRESS_MAX {
        let attempt = throttle
            .enter(&format!("{}@b.c", n % 7), ip(1), None)
            .await
            .unwrap();
        throttle.succeeded(attempt).await;
    }
}

#[test]
fn an_ipv6_subscriber_is_one_and_v4_in_v6_is_v4() {
    let a: IpAddr = "2001:db8:1:2:3::1".parse().unwrap();
    let b: IpAddr = "2001:db8:1:2:ffff::9".parse().unwrap();
    assert_eq!(subscriber(a), subscriber(b));
    assert_eq!(subscriber("::ffff:192.0.2.1".parse().unwrap()), ip(1));
}

#[test]
fn keys_hold_no_address() {
    let attempt = throttle().attempt("canary@example.org", ip(1));
    for key in [attempt.pair, attempt.address, attempt.account, attempt.known] {
        assert!(!key.contains("canary") && !key.contains("192.0.2"), "{key}");
    }
}

fn ours() -> Result<(), ApiError> {
    Err(ProblemCode::Unavailable.into())
}

/// Our own faults count for nobody in any of the ways in; being wrong does.
#[tokio::test]
async fn what_fails_by_our_own_fault_is_counted_for_nobody() {
    let throttle = throttle();
    let (session, person, client) = (SessionId::generate(), PersonId::generate(), ClientId::generate());
    for _ in 0..2 * MACHINES_ADDRESS_MAX {
        let tried = throttle.enter("a@b.c", ip(1), None).await.unwrap();
        assert!(throttle.unless_ours(tried, ours()).await.is_err());
        let tried = throttle.enter_factor(session, person).await.unwrap();
        assert!(throttle.unless_ours(tried, ours()).await.is_err());
        let tried = throttle.enter_machine(client, ip(1)).await.unwrap();
        assert!(throttle.unless_ours(tried, ours()).await.is_err());
        let tried = throttle.enter_reset("a@b.c", ip(1)).await.unwrap();
        assert!(tried.may_send);
        assert!(throttle.unless_ours(tried, ours()).await.is_err());
        let tried = throttle.enter_registration("a@b.c", ip(1)).await.unwrap();
        assert!(tried.may_send);
        assert!(throttle.unless_ours(tried, ours()).await.is_err());
        throttle.enter_provider(ip(1)).await.unwrap();
        let back = throttle.went_to_provider(ip(1));
        assert!(throttle.unless_ours(back, ours()).await.is_err());
    }
    for _ in 0..SESSION_MAX {
        let tried = throttle.enter_factor(session, person).await.unwrap();
        let wrong: Result<(), ApiError> = Err(ProblemCode::SecondFactorRefused.into());
        assert!(throttle.unless_ours(tried, wrong).await.is_err());
    }
    assert!(throttle.enter_factor(session, person).await.is_err());
    // A provider that is away is not our fault: going there again and again still is a flood.
    for _ in 0..ADDRESS_MAX {
        let tried = throttle.enter_provider(ip(2)).await.unwrap();
        let away: Result<(), ApiError> = Err(ProblemCode::ProviderUnavailable.into());
        assert!(throttle.unless_ours(tried, away).await.is_err());
    }
    assert!(throttle.enter_provider(ip(2)).await.is_err());
}
