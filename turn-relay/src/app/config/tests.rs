//! The file says what it means, and what is wrong with it.

use medmesh_turn::Limits;

use super::*;

const GOOD: &str = r#"
[turn]
listen = ["192.0.2.1:3478"]
relay = ["10.0.0.1=192.0.2.1"]
secrets_file = "/etc/medmesh/turn.secrets"
[turn.limits]
allocations_per_user = 3
[peers]
mode = "allow-list"
allow = ["192.0.2.9:10000-10007"]
[admin]
listen = "127.0.0.1:9478"
"#;

#[test]
fn a_short_file_is_enough() {
    let config = Config::parse(GOOD).unwrap();
    let relay = config.relay().unwrap();
    relay.validate().unwrap();
    assert_eq!(relay.limits.allocations_per_user, 3);
    assert_eq!(relay.relay[0].advertise.to_string(), "192.0.2.1");
    let policy = config.policy().unwrap();
    assert!(policy.permits("192.0.2.9:10003".parse().unwrap()));
    assert_eq!(policy.own_sockets, [config.admin.listen]);
}

#[test]
fn the_example_is_valid_and_says_the_defaults() {
    let config = Config::parse(include_str!("../../../turn.example.toml")).unwrap();
    let relay = config.relay().unwrap();
    relay.validate().unwrap();
    config.policy().unwrap();
    assert_eq!(relay.limits, Limits::default());
    assert_eq!(relay.ports, RelayConfig::default().ports);
    assert_eq!(relay.connections, ConnectionLimits::default());
    assert_eq!(config.turn.drain_s, default_drain_s());
}

#[test]
fn limits_fit_the_files_there_are() {
    let config = Config::parse(GOOD).unwrap();
    let mut relay = config.relay().unwrap();
    config.fit(&mut relay, 1024).unwrap();
    assert!(
        (900..1024).contains(&relay.limits.allocations),
        "{}",
        relay.limits.allocations
    );
    let mut relay = config.relay().unwrap();
    config.fit(&mut relay, 1 << 20).unwrap();
    assert_eq!(relay.limits, config.relay().unwrap().limits);

    let asks = Config::parse(&GOOD.replace("[turn.limits]", "[turn.limits]\nallocations = 20000")).unwrap();
    let error = asks
        .fit(&mut asks.relay().unwrap(), 1024)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("turn.limits.allocations") && error.contains("1024"),
        "{error}"
    );

    let streams = format!("{GOOD}\n[[turn.tcp]]\nlisten = \"192.0.2.1:443\"\n");
    let config = Config::parse(&streams).unwrap();
    let mut relay = config.relay().unwrap();
    config.fit(&mut relay, 20_000).unwrap();
    let files = relay.connections.connections + relay.limits.allocations as usize;
    assert!((19_000..20_000).contains(&files), "{files}");
}

#[test]
fn balancers_are_named() {
    let with = |lines: &str| {
        let text = format!("{GOOD}\n[[turn.tls]]\nlisten = \"192.0.2.1:443\"\n{lines}");
        Config::parse(&text)
            .and_then(|config| config.relay())
            .map_err(|error| format!("{error:#}"))
    };
    let named = with("proxy_protocol = true\nproxies = [\"10.0.0.0/8\"]").unwrap();
    assert_eq!(named.streams[0].proxies, ["10.0.0.0/8".parse().unwrap()]);
    named.validate().unwrap_err();
    let error = with("proxy_protocol = true").unwrap_err();
    assert!(error.contains("192.0.2.1:443: proxy_protocol"), "{error}");
    with("proxies = [\"10.0.0.0/8\"]").unwrap_err();
    let error = with("proxy_protocol = true\nproxies = [\"10.0.0.0/33\"]").unwrap_err();
    assert!(error.contains("turn.tls[0].proxies[0]"), "{error}");
    let error = with("proxy_protocol = 1").unwrap_err();
    assert!(error.contains("line 16"), "{error}");
}

#[test]
fn the_fast_path_is_named_and_checked() {
    let with = |lines: &str| {
        let config = Config::parse(&GOOD.replace("[peers]", &format!("[xdp]\n{lines}\n[peers]")));
        let checked = config.and_then(|config| Ok(config.relay()?.validate()?));
        checked.map_err(|error| format!("{error:#}"))
    };
    assert!(Config::parse(GOOD).unwrap().relay().unwrap().fast_path.is_empty());
    for (lines, said) in [
        ("interfaces = \"eth0\"", "line 9"),
        ("interface = [\"eth0\"]", "line 9"),
        (
            "interfaces = [\"medmesh-none\"]",
            "xdp.interfaces: there is no \"medmesh-none\"",
        ),
        ("interfaces = [\"lo\"]", "\"lo\" is not an Ethernet interface"),
        (
            &format!("interfaces = {:?}", ["lo"; 9]),
            "xdp.interfaces: 8 at most",
        ),
    ] {
        let error = with(lines).unwrap_err();
        assert!(error.contains(said), "{error}");
    }
    let both = GOOD.replace("allocations_per_user = 3", "bytes_per_second = 1000");
    let both = Config::parse(&format!("{both}\n[xdp]\ninterfaces = [\"lo\"]\n")).unwrap();
    let error = both.relay().unwrap().validate().unwrap_err().to_string();
    assert!(error.contains("limits of bandwidth"), "{error}");
}

#[test]
fn errors_say_where() {
    for (from, to, said) in [
        ("allocations_per_user = 3", "allocations_per_usr = 3", "line 7"),
        (
            "listen = [\"192.0.2.1:3478\"]",
            "listen = [\"192.0.2.1\"]",
            "line 3",
        ),
        ("mode = \"allow-list\"", "mode = \"allow\"", "line 9"),
    ] {
        let error = format!("{:#}", Config::parse(&GOOD.replace(from, to)).unwrap_err());
        assert!(error.contains(said), "{error}");
    }
    let config = Config::parse(&GOOD.replace("10.0.0.1=", "10.0.0=")).unwrap();
    assert!(format!("{:#}", config.relay().unwrap_err()).contains("turn.relay"));
    let config = Config::parse(&GOOD.replace("10000-10007", "2-1")).unwrap();
    assert!(format!("{:#}", config.policy().unwrap_err()).contains("peers.allow"));
}
