use std::io::Write as _;

use super::{Config, ConfigError};

const GOOD: &str = r#"
[node]
id = 1
cluster = "test"
data_dir = "/var/lib/medmesh"

[cluster]
secret_file = "cluster.secret"
ca_cert_file = "ca.pem"
ca_key_file = "ca.key"
certificate_lifetime_seconds = 86400
peers = [
  { id = 1, link = "127.0.0.1:7001", http = "http://127.0.0.1:8001" },
  { id = 2, link = "127.0.0.1:7002", http = "http://127.0.0.1:8002" },
]

[link]
listen = "127.0.0.1:7001"
advertise = "127.0.0.1:7001"

[http]
listen = "127.0.0.1:8001"
public_url = "https://clinic.example.org"

[admin]
listen = "127.0.0.1:9001"

[database]
url = "postgres://medmesh:geheim@localhost/medmesh"

[objects]
dir = "/srv/medmesh/objects"

[vault]
cache_seconds = 300

[vault.file]
key_file = "vault.keys"
credential_file = "vault.unlock"

[limits]
per_node = true
"#;

/// What allows several nodes without a Redis, in [`GOOD`].
const APART: &str = "per_node = true";

fn load(text: &str) -> Result<Config, ConfigError> {
    let mut file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    Config::load(file.path())
}

fn fault(text: &str) -> String {
    load(text).expect_err("the configuration is wrong").to_string()
}

#[test]
fn a_complete_file_loads_with_its_defaults() {
    let config = load(GOOD).unwrap();
    assert_eq!(config.database.max_connections, 16);
    assert_eq!(config.control_nodes().len(), 2);
    assert_eq!(config.origins(), ["https://clinic.example.org"]);
    assert!(!format!("{config:?}").contains("geheim"));
}

#[test]
fn faults_name_the_line_and_the_key() {
    let line = |text: &str, needle: &str| text.lines().position(|l| l.contains(needle)).unwrap() + 1;
    for (from, to, key) in [
        (
            "listen = \"127.0.0.1:8001\"",
            "listen = \"0.0.0.0:8001\"",
            "http.listen",
        ),
        (
            "listen = \"127.0.0.1:8001\"",
            "listen = \"nowhere\"",
            "http.listen",
        ),
        ("cluster = \"test\"", "cluster = \"Te st\"", "node.cluster"),
        ("url = \"postgres", "url = \"mysql", "database.url"),
        (
            "link = \"127.0.0.1:7002\"",
            "link = \"7002\"",
            "cluster.peers[1].link",
        ),
        ("id = 1\n", "id = \"one\"\n", "node.id"),
        (
            "certificate_lifetime_seconds = 86400",
            "certificate_lifetime_seconds = 0",
            "cluster.certificate_lifetime_seconds",
        ),
        (
            "certificate_lifetime_seconds = 86400",
            "certificate_lifetime_seconds = 700000",
            "cluster.certificate_lifetime_seconds",
        ),
        ("cache_seconds = 300", "cache_seconds = 0", "vault.cache_seconds"),
        (
            "credential_file = \"vault.unlock\"",
            "credential_file = 7",
            "vault.file.credential_file",
        ),
    ] {
        let text = GOOD.replacen(from, to, 1);
        let fault = fault(&text);
        let expected = format!(".toml:{}: {key}: ", line(&text, to.trim()));
        assert!(fault.contains(&expected), "{fault:?} should contain {expected:?}");
    }
}

#[test]
fn broken_syntax_and_unknown_keys_name_their_line() {
    let text = GOOD.replace("[admin]", "[admin");
    let line = text.lines().position(|l| l == "[admin").unwrap() + 1;
    assert!(
        fault(&text).contains(&format!(".toml:{line}: ")),
        "{}",
        fault(&text)
    );
    let text = GOOD.replace("[admin]", "[admin]\nlissten = 1");
    assert!(fault(&text).contains("lissten"), "{}", fault(&text));
}

#[test]
fn several_faults_are_told_at_once() {
    let text = GOOD
        .replace("127.0.0.1:8001\"\npublic", "192.0.2.1:8001\"\npublic")
        .replace("postgres://", "mysql://");
    assert_eq!(fault(&text).lines().count(), 2, "{}", fault(&text));
}

#[test]
fn several_nodes_count_together_unless_somebody_says_otherwise() {
    let apart = load(GOOD).unwrap();
    assert!(!apart.shares_limits());
    let text = GOOD.replace(APART, "");
    let line = text.lines().position(|l| l.starts_with("peers")).unwrap() + 1;
    let fault = fault(&text);
    assert!(
        fault.contains(&format!(".toml:{line}: cluster.peers: ")),
        "{fault}"
    );
    assert!(
        fault.contains("[redis]") && fault.contains("limits.per_node"),
        "{fault}"
    );
    let together = format!("{text}\n[redis]\nurl = \"redis://localhost\"\n");
    assert!(load(&together).unwrap().shares_limits());
    let alone = text.replace(
        "  { id = 2, link = \"127.0.0.1:7002\", http = \"http://127.0.0.1:8002\" },\n",
        "",
    );
    assert!(load(&alone).unwrap().shares_limits());
}

#[test]
fn several_nodes_say_on_purpose_which_storage_they_share() {
    let text = GOOD.replace(DIRECTORY, "");
    let line = text.lines().position(|l| l.starts_with("peers")).unwrap() + 1;
    let fault = fault(&text);
    assert!(
        fault.contains(&format!(".toml:{line}: cluster.peers: ")),
        "{fault}"
    );
    assert!(fault.contains("objects.dir"), "{fault}");
    let bucket = format!("{text}\n[objects.s3]\nbucket = \"clinic\"\nregion = \"eu-central-1\"\n");
    load(&bucket).unwrap();
    let alone = text.replace(
        "  { id = 2, link = \"127.0.0.1:7002\", http = \"http://127.0.0.1:8002\" },\n",
        "",
    );
    load(&alone).unwrap();
}

#[test]
fn a_node_must_be_among_its_peers_and_once() {
    assert!(fault(&GOOD.replacen("id = 1", "id = 3", 1)).contains("must include this node"));
    assert!(fault(&GOOD.replace("{ id = 2", "{ id = 1")).contains("listed twice"));
}

const DIRECTORY: &str = "[objects]\ndir = \"/srv/medmesh/objects\"\n";

const BUCKETS: &str = r#"
[objects.s3]
bucket = "clinic-audit"
region = "eu-central-1"
lock_days = 2192
erasures_bucket = "clinic-erasures"
erasures_lock_days = 3650
copies_bucket = "clinic-copies"
"#;

#[test]
fn what_must_stay_and_what_must_go_are_in_different_buckets() {
    let good = format!("{}{BUCKETS}", GOOD.replace(DIRECTORY, ""));
    let days = |text: &str| load(text).unwrap().objects.s3.unwrap().erasures_days();
    assert_eq!(days(&good), Some(3650));
    // In the bucket of the audit log its lock is the register's, if it is the longer one.
    let together = good.replace("erasures_bucket = \"clinic-erasures\"\n", "");
    assert_eq!(days(&together), Some(3650));
    assert_eq!(
        days(&together.replace("erasures_lock_days = 3650\n", "")),
        Some(2192)
    );
    assert_eq!(days(&good.replace("erasures_lock_days = 3650\n", "")), None);
    for (from, to, key) in [
        (
            "erasures_lock_days = 3650",
            "erasures_lock_days = 0",
            "erasures_lock_days",
        ),
        ("lock_days = 2192", "lock_days = 36501", "lock_days"),
        ("\"clinic-erasures\"", "\"Clinic\"", "erasures_bucket"),
        ("\"clinic-copies\"", "\"c\"", "copies_bucket"),
        ("\"clinic-erasures\"", "\"clinic-audit\"", "erasures_bucket"),
        ("\"clinic-copies\"", "\"clinic-audit\"", "copies_bucket"),
        ("\"clinic-copies\"", "\"clinic-erasures\"", "copies_bucket"),
    ] {
        let text = good.replacen(from, to, 1);
        let at = text
            .lines()
            .position(|line| line.starts_with(&format!("{key} = ")));
        let expected = format!(".toml:{}: objects.s3.{key}: ", at.unwrap() + 1);
        let fault = fault(&text);
        assert_eq!(fault.lines().count(), 1, "{fault}");
        assert!(fault.contains(&expected), "{fault:?} should contain {expected:?}");
    }
    // A bucket that locks takes no copies, whichever lock it is for.
    for without in [
        "copies_bucket = \"clinic-copies\"\n",
        "copies_bucket = \"clinic-copies\"\nlock_days = 2192\n",
    ] {
        let text = without.lines().fold(together.clone(), |text, line| {
            text.replacen(&format!("{line}\n"), "", 1)
        });
        assert!(
            fault(&text).contains("objects.s3.copies_bucket: must name another"),
            "{text}"
        );
    }
    let apart = good
        .replacen("lock_days = 2192\n", "", 1)
        .replace("copies_bucket = \"clinic-copies\"\n", "");
    assert_eq!(days(&apart), Some(3650), "only the register's bucket locks");
}

/// The example as it stands, and with its files in a directory that has them: what `--check` looks at.
#[test]
fn the_example_is_a_configuration_and_names_every_file_it_needs() {
    let example = include_str!("../../control.example.toml");
    let config = load(example).unwrap();
    assert!(config.https.is_some() && config.redis.is_some() && config.mail.is_some());
    assert_eq!(config.control_nodes().len(), 3);
    assert!(!config.oidc.allow_loopback, "that is for tests");

    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    crate::setup::cluster::init(&at("cluster"), "north").unwrap();
    std::fs::create_dir_all(at("tls")).unwrap();
    for name in ["tls/fullchain.pem", "tls/privkey.pem"] {
        std::fs::write(at(name), "").unwrap();
    }
    std::fs::create_dir(at("portals")).unwrap();
    let here = example
        .replace("/etc/medmesh", &dir.path().display().to_string())
        .replace("/usr/share/medmesh/portals", &at("portals").display().to_string());
    assert_eq!(load(&here).unwrap().missing_files(), Vec::<String>::new());
    std::fs::remove_file(at("tls/privkey.pem")).unwrap();
    let missing = load(&here).unwrap().missing_files();
    assert!(
        missing.len() == 1 && missing[0].starts_with("https.key_file: "),
        "{missing:?}"
    );
}

#[test]
fn nothing_is_spoken_in_the_clear_over_a_network() {
    let database = |url: &str| load(&GOOD.replace("postgres://medmesh:geheim@localhost/medmesh", url));
    for here in [
        "postgres://medmesh@127.0.0.1:5433/medmesh",
        "postgres://medmesh@[::1]/medmesh",
        "postgres://medmesh@db.example.net/medmesh?host=/run/postgresql",
        "postgres://medmesh@db.example.net/medmesh?sslmode=verify-full",
    ] {
        assert!(database(here).is_ok(), "{here}");
    }
    for open in [
        "",
        "?sslmode=disable",
        "?sslmode=prefer",
        "?sslmode=require",
        "?sslmode=verify-ca",
    ] {
        let said = database(&format!("postgres://medmesh:geheim@db.example.net/medmesh{open}"));
        let said = said.expect_err(open).to_string();
        assert!(
            said.contains("database.url: ") && said.contains("verify-full"),
            "{said}"
        );
        assert!(!said.contains("geheim"));
    }

    let direct = GOOD.replace(
        "\n[objects]",
        "direct_url = \"postgres://db.example.net/medmesh\"\n\n[objects]",
    );
    assert!(fault(&direct).contains("database.direct_url: "));

    let redis = |said: &str| load(&format!("{GOOD}\n[redis]\n{said}\n"));
    for here in [
        "url = \"redis://127.0.0.1:6379\"",
        "url = \"redis://localhost\"",
        "url = \"redis://[::1]:6379/2\"",
        "url = \"unix:///run/redis.sock\"",
        "url = \"rediss://:geheim@redis.example.net:6380\"",
        "url = \"rediss://redis.example.net\"\nca_file = \"ca.pem\"",
    ] {
        assert!(redis(here).is_ok(), "{here}");
    }
    for (open, key) in [
        ("url = \"redis://:geheim@redis.example.net:6379\"", "redis.url: "),
        ("url = \"redis://192.0.2.7\"", "redis.url: "),
        ("url = \"rediss://redis.example.net/#insecure\"", "redis.url: "),
        ("url = \"http://redis.example.net\"", "redis.url: "),
        (
            "url = \"redis://localhost\"\nca_file = \"ca.pem\"",
            "redis.ca_file: ",
        ),
    ] {
        let said = redis(open).expect_err(open).to_string();
        assert!(said.contains(key) && !said.contains("geheim"), "{said}");
    }
}

const RELAYS: &str = r#"
[turn]
probe_seconds = 5
[[turn.external]]
name = "hospital-1"
region = "eu-central"
urls = ["turn:t1.example.org:3478?transport=udp", "turns:t1.example.org:443?transport=tcp"]
secrets_file = "/etc/medmesh/turn-1.secrets"
[[turn.external]]
name = "hospital-2"
region = "eu-west"
serves = ["eu-west", "eu-central"]
urls = ["turn:t2.example.org"]
secrets_file = "/etc/medmesh/turn-2.secrets"
probe_urls = ["turn:10.0.0.7:3478?transport=tcp"]
"#;

#[test]
fn relays_are_checked_line_by_line() {
    let good = format!("{GOOD}{RELAYS}");
    let relays = load(&good).unwrap().turn.external;
    let serves = |index: usize| {
        let regions = ["eu-central", "eu-west"].map(|region| region.parse().unwrap());
        regions.map(|region| relays[index].is_for(&region))
    };
    assert_eq!((serves(0), serves(1)), ([true, false], [true, true]));
    assert!(load(GOOD).unwrap().turn.external.is_empty());
    for (from, to, key, told) in [
        (
            "probe_seconds = 5",
            "probe_seconds = 0",
            "turn.probe_seconds",
            "must be 1 to 60",
        ),
        (
            "\"hospital-1\"",
            "\"Hospital 1\"",
            "turn.external[0].name",
            "must be 1 to 32",
        ),
        (
            "\"hospital-2\"",
            "\"hospital-1\"",
            "turn.external[1].name",
            "listed twice",
        ),
        (
            "[\"turn:t2.example.org\"]",
            "[]",
            "turn.external[1].urls",
            "must be 1 to 6",
        ),
        (
            "\"turn:t2.example.org\"",
            "\"stun:t2.example.org\"",
            "turn.external[1].urls[0]",
            "must be turn:",
        ),
        (
            "\"turn:t2.example.org\"",
            "\"turns:t2.example.org?transport=udp\"",
            "turn.external[1].urls[0]",
            "DTLS",
        ),
        (
            "\"turn:10.0.0.7:3478?transport=tcp\"",
            "\"10.0.0.7:3478\"",
            "turn.external[1].probe_urls[0]",
            "must be turn:",
        ),
        (
            "region = \"eu-west\"",
            "region = \"EU West\"",
            "turn.external",
            "region",
        ),
        ("serves =", "server =", "turn.external", "server"),
    ] {
        let text = good.replacen(from, to, 1);
        let fault = fault(&text);
        let lines = text.lines().enumerate().filter(|(_, line)| line.contains(to));
        let broken = lines.last().unwrap().0 + 1;
        assert!(fault.contains(key) && fault.contains(told), "{fault}");
        if key.contains('.') && key.contains('[') || key.ends_with("seconds") {
            assert!(
                fault.contains(&format!(".toml:{broken}: {key}: ")),
                "{fault} at {broken}"
            );
        }
    }
}

#[test]
fn check_reads_the_secrets_of_relays() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().display();
    let good = format!("{GOOD}{RELAYS}").replace("/etc/medmesh", &at.to_string());
    let write = |name: &str, text: &str, mode| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let secret = "0123456789abcdef0123456789abcdef";
    write("turn-1.secrets", &format!("1 {secret}\n"), 0o600);
    let said = || {
        let missing = load(&good).unwrap().missing_files();
        let of_relays = missing.into_iter().filter(|line| line.starts_with("turn."));
        of_relays.collect::<Vec<_>>()
    };
    let missing = said();
    assert!(
        missing.len() == 1 && missing[0].starts_with("turn.external[1].secrets_file: cannot read "),
        "{missing:?}"
    );
    write("turn-2.secrets", &format!("2 {secret}\n1 {secret}9\n"), 0o640);
    assert_eq!(said(), Vec::<String>::new());
    write("turn-2.secrets", &format!("2 {secret}\n1 short\n"), 0o640);
    let wrong = said();
    assert!(
        wrong.len() == 1 && wrong[0].ends_with("line 2: a secret needs 32 characters"),
        "{wrong:?}"
    );
    assert!(
        !wrong[0].contains(secret) && !wrong[0].contains("short"),
        "{wrong:?}"
    );
    write("turn-2.secrets", &format!("2 {secret}\n"), 0o644);
    assert!(said()[0].contains("everybody may read it"));
}
