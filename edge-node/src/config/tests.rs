use std::path::Path;

use super::Config;

const GOOD: &str = r#"
[edge]
name = "fra-1"
region = "eu-central"
data_dir = "/var/lib/medmesh"

[link]
listen = "127.0.0.1:0"

[signalling]
listen = "127.0.0.1:0"

[media]
address = "127.0.0.1"
port_base = 40000
shards = 2

[admin]
listen = "127.0.0.1:0"
"#;

fn error(text: &str) -> String {
    Config::from_text(Path::new("edge.toml"), text)
        .unwrap_err()
        .to_string()
}

#[test]
fn a_short_file_is_enough() {
    let config = Config::from_text(Path::new("edge.toml"), GOOD).unwrap();
    assert_eq!(config.media.shard_count(), 2);
    assert!(!config.turn.enabled);
}

#[test]
fn faults_name_their_line() {
    assert_eq!(
        error(&GOOD.replace("shards = 2", "shards = \"two\"")),
        "edge.toml:16: media.shards: invalid type: found string \"two\", expected u16"
    );
    assert!(
        error(&GOOD.replace("shards = 2", "shads = 2"))
            .starts_with("edge.toml:16: media.shads: unknown field")
    );
    assert!(error(&GOOD.replace("port_base =", "port_base")).starts_with("edge.toml:15: "));
    assert!(error(&GOOD.replace("eu-central", "EU")).starts_with("edge.toml:4: edge.region: not a region"));
    assert!(error(&GOOD.replace("40000", "65535")).starts_with("edge.toml:15: media.port_base: "));
}

#[test]
fn plain_http_stays_on_loopback() {
    let open = GOOD.replace(
        "[signalling]\nlisten = \"127.0.0.1:0\"",
        "[signalling]\nlisten = \"0.0.0.0:80\"",
    );
    assert!(error(&open).contains("plain HTTP only on loopback"));
}

#[test]
fn relays_over_tls_need_a_certificate_and_name_their_balancers() {
    let with = |section: &str| {
        error(&format!(
            "{GOOD}\n[turn]\nenabled = true\nlisten = \"127.0.0.1:0\"\n{section}"
        ))
    };
    let tls = "[turn.tls]\nlisten = \"127.0.0.1:0\"\n";
    assert!(
        with(tls).starts_with("edge.toml:24: turn.tls.cert_file: "),
        "{}",
        with(tls)
    );
    let half = format!("{tls}cert_file = \"c.pem\"");
    assert!(with(&half).starts_with("edge.toml:24: turn.tls.key_file: "));
    let tcp = "[turn.tcp]\nlisten = \"127.0.0.1:0\"\nproxies = [\"10.0.0.0/33\"]";
    assert!(
        with(tcp).starts_with("edge.toml:26: turn.tcp.proxies: \"10.0.0.0/33\""),
        "{}",
        with(tcp)
    );
}

#[test]
fn the_example_is_a_configuration() {
    let config = Config::from_text(
        Path::new("edge.example.toml"),
        include_str!("../../edge.example.toml"),
    )
    .unwrap();
    assert!(config.turn.enabled && config.turn.tcp.is_some() && config.turn.tls.is_some());
}
