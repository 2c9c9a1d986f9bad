//! A thousand words about health, pushed through everything a caller can write to; then looked for
//! in everything that is kept, copied or shown to operators.
//!
//! The node is a process of its own with the log of a production node, turned up; PostgreSQL has a
//! cluster of its own, set up as chattily as an operator might; Redis is listened to. An edge in a
//! third process hears offers, headers and what is said in a visit. Which places there are to write
//! to is read from the API's descriptions; what is found is named by its place.

mod call;
mod described;
mod edge;
mod push;
mod sinks;
mod taken;
mod walk;
mod ways;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use medmesh_base::telemetry::{self, LogFormat};
use medmesh_control::app::App;
use medmesh_control::config::Config;
use medmesh_tests::control::{Site, TestClinic, Wishes};
use medmesh_tests::postgres::{Cluster, Durability, Scratch, Settings};
use medmesh_tests::redis::Redis;
use medmesh_tests::smtp::SmtpSink;
use sqlx::{Connection as _, PgConnection};
use tokio::io::AsyncBufReadExt as _;

use push::Push;
use sinks::{Sinks, pg_dump};

/// Canaries the requirement asks for.
const CANARIES_MIN: usize = 1_000;
/// Names the file a child process takes its configuration from.
const NODE: &str = "MEDMESH_TEST_NODE";
/// The same for an edge.
const EDGE: &str = "MEDMESH_TEST_EDGE";
const DATABASE: &str = "medmesh";
/// Two of them have their connections broken.
const ROUNDS_MIN: usize = 6;

/// Not a test but what [`Node`] runs: a control node as `medmesh-control` runs it. Lines on its
/// standard input are work to panic over; it ends with the input.
#[test]
fn a_node_of_its_own() {
    let Some(path) = std::env::var_os(NODE) else {
        return;
    };
    let config = Config::load(Path::new(&path)).unwrap();
    let filter =
        "info,medmesh_control=trace,medmesh_store=trace,medmesh_consensus=debug,sqlx=debug,redis=debug";
    telemetry::init(filter, LogFormat::Json);
    telemetry::silence_panics();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.unwrap().block_on(async {
        let app = App::build(config).await.unwrap().mount(call::panicking());
        let running = app.spawn();
        let addresses = running.addresses();
        println!("NODE http://{} http://{}", addresses.http, addresses.admin);
        let mut lines = tokio::io::BufReader::new(tokio::io::stdin()).lines();
        while let Some(line) = lines.next_line().await.unwrap() {
            // In the middle of the é: the message of this panic quotes the text.
            let text = format!("é{line}");
            let panicked = tokio::spawn(async move { text[1..].len() }).await;
            assert!(panicked.is_err());
        }
        running.stop().await;
    });
}

/// Not a test but an edge, as `medmesh-edge` runs it.
#[test]
fn an_edge_of_its_own() {
    let Some(path) = std::env::var_os(EDGE) else {
        return;
    };
    let config = medmesh_edge::Config::load(Path::new(&path)).unwrap();
    telemetry::init(
        "info,medmesh_edge=trace,medmesh_sfu=trace,medmesh_link=debug",
        LogFormat::Json,
    );
    telemetry::silence_panics();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.unwrap().block_on(async {
        let edge = medmesh_edge::Edge::start(config).await.unwrap();
        println!("NODE {0} {0}", edge.addresses().admin_url);
        let mut lines = tokio::io::BufReader::new(tokio::io::stdin()).lines();
        while lines.next_line().await.unwrap().is_some() {}
        assert!(edge.drain().await);
    });
}

struct Node {
    child: Child,
    input: Option<ChildStdin>,
    url: String,
    admin_url: String,
}

impl Node {
    fn start((test, variable): (&str, &str), config: &Path, log: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture"])
            .env(variable, config)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(log).unwrap())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = said
            .by_ref()
            .map(Result::unwrap)
            .find(|line| line.contains("NODE "));
        let line = line.unwrap_or_else(|| panic!("{}", std::fs::read_to_string(log).unwrap()));
        // Whatever else the test harness prints there is read, so that it never waits.
        std::thread::spawn(move || said.for_each(drop));
        let mut words = line.split("NODE ").nth(1).unwrap().split(' ').map(str::to_owned);
        Self {
            input: child.stdin.take(),
            url: words.next().unwrap(),
            admin_url: words.next().unwrap(),
            child,
        }
    }

    fn panic_over(&mut self, canary: &str) {
        writeln!(self.input.as_mut().unwrap(), "{canary}").unwrap();
    }

    fn stop(&mut self) {
        drop(self.input.take());
        assert!(self.child.wait().unwrap().success(), "the node ends in order");
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // An error means that it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server whose operator logs all they can: what a role says about itself must win.
async fn chatty(cluster: &Cluster) {
    let mut admin = PgConnection::connect(&cluster.admin_url(DATABASE)).await.unwrap();
    for setting in [
        "log_statement = 'all'",
        "log_min_error_statement = 'error'",
        "log_error_verbosity = 'verbose'",
        "log_min_duration_statement = 0",
        "log_parameter_max_length = -1",
        "log_parameter_max_length_on_error = -1",
    ] {
        let sql = format!("ALTER DATABASE {DATABASE} SET {setting}");
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql))
            .execute(&mut admin)
            .await
            .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_canaries_are_found_nowhere() {
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    let settings = Settings {
        dir: dir.path().join("postgres"),
        durability: Durability::None,
        ephemeral: false,
        max_connections: 60,
    };
    std::fs::create_dir(&settings.dir).unwrap();
    sinks::open_to_postgres(dir.path());
    let cluster = tokio::task::block_in_place(|| Cluster::start(&settings)).unwrap();
    cluster.provision(DATABASE).await.unwrap();
    chatty(&cluster).await;
    let site = Site::new(1);
    let scratch = Scratch {
        service_url: cluster.service_url(DATABASE),
        owner_url: cluster.owner_url(DATABASE),
        admin_url: cluster.admin_url(DATABASE),
        root_key_file: site.dir().join("vault.keys"),
        unlock_file: site.dir().join("vault.unlock"),
    };
    let clinic = TestClinic::open(&scratch, "riverside").await;
    let redis = Redis::start();
    let mail = SmtpSink::start().await;
    let wishes = Wishes {
        redis_url: Some(redis.url()),
        smtp_port: Some(mail.port()),
        ..Wishes::default()
    };
    let heard = dir.path().join("redis.log");
    let listener = sinks::Listener::start(redis.port(), &heard);
    let log = dir.path().join("node.log");
    let config = site.config_file(1, &scratch, &wishes);
    let mut node = Node::start(("canary::a_node_of_its_own", NODE), &config, &log);
    let (edge_dir, edge_log) = (dir.path().join("edge"), dir.path().join("edge.log"));
    let token = site.operator_token().trim().to_owned();
    let edge = edge::prepared(&node.url, &token, &edge_dir).await;
    let mut edge = Node::start(("canary::an_edge_of_its_own", EDGE), &edge, &edge_log);

    let push = Push::prepare(&node.url, &clinic, &scratch, &token, mail).await;
    push.at_the_edge().await;
    let mut round = 0;
    while round < ROUNDS_MIN {
        push.round(round).await;
        node.panic_over(&push.canary());
        if round % 5 == 0 {
            push.break_connections().await;
        }
        round += 1;
    }
    let amiss = walk::walk(&push, &clinic).await;
    assert!(amiss.is_empty(), "{amiss:#?}");
    assert!(push.count() >= CANARIES_MIN, "{} canaries", push.count());
    let (metrics, edge_metrics) = (
        dir.path().join("metrics.txt"),
        dir.path().join("edge-metrics.txt"),
    );
    let counted = "medmesh_http_requests_total";
    push.save(&format!("{}/metrics", node.admin_url), counted, &metrics)
        .await;
    let counted = "medmesh_edge_joins_total{outcome=\"joined\"}";
    push.save(&format!("{}/metrics", edge.admin_url), counted, &edge_metrics)
        .await;
    let mut sinks = Sinks {
        places: vec![
            ("database files, WAL and log", settings.dir.clone()),
            ("Raft log, object store and configuration", site.dir().to_owned()),
            ("log", log),
            ("metrics", metrics),
            ("Redis", heard),
            ("backup", dir.path().join("backup.sql")),
            ("log of an edge", edge_log),
            ("metrics of an edge", edge_metrics),
            ("files of an edge", edge_dir.clone()),
        ],
    };
    let arguments = sinks::arguments_of_processes();
    edge.stop();
    node.stop();
    let mut admin = PgConnection::connect(&scratch.admin_url).await.unwrap();
    sqlx::raw_sql("CHECKPOINT").execute(&mut admin).await.unwrap();
    pg_dump(&scratch.admin_url, &dir.path().join("backup.sql"));
    let found = sinks.search();
    let tables = sinks::tables(&dir.path().join("backup.sql"));
    let made_for = push.made_for();
    let named: Vec<_> = found
        .iter()
        .map(|(place, file)| (place, file, sinks::named(file, &made_for)))
        .collect();
    assert!(found.is_empty(), "{named:#?} in tables {tables:?}");
    assert_eq!(arguments, Vec::<String>::new(), "arguments of processes");
    assert!(push.panics() >= round, "handlers panic with words in them");
    let echoes = push.echoes();
    assert!(echoes.is_empty(), "told back in problems: {echoes:?}");
    println!(
        "{} canaries in {round} rounds, {} bytes searched",
        push.count(),
        sinks.searched()
    );

    // And each of these places would have told.
    let planted = push.word("what this test planted");
    let sql = format!("CREATE TABLE planted AS SELECT '{planted}'::text; SELECT '{planted}'::integer");
    let _ = sqlx::raw_sql(sqlx::AssertSqlSafe(sql.clone()))
        .execute(&mut admin)
        .await;
    let (table, _) = sql.split_once(';').unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(table.to_owned()))
        .execute(&mut admin)
        .await
        .unwrap();
    sqlx::raw_sql("CHECKPOINT").execute(&mut admin).await.unwrap();
    pg_dump(&scratch.admin_url, &dir.path().join("backup.sql"));
    std::fs::create_dir_all(site.dir().join("objects")).unwrap();
    std::fs::write(site.dir().join("objects/planted"), hex(planted.as_bytes())).unwrap();
    for at in [2, 3, 6, 7] {
        std::fs::write(&sinks.places[at].1, &planted).unwrap();
    }
    std::fs::write(edge_dir.join("planted"), &planted).unwrap();
    for (argument, variable) in [(planted.as_str(), ""), ("", planted.as_str())] {
        let mut waiting = Command::new("sh")
            .args(["-c", "read line", argument])
            .env("PLANTED", variable)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        assert_eq!(
            sinks::arguments_of_processes().len(),
            1,
            "arguments and environments"
        );
        // Its input ends, and so does it.
        drop(waiting.stdin.take());
        waiting.wait().unwrap();
    }
    listener.plant(&planted);
    let found = sinks.search();
    for (place, _) in &sinks.places {
        assert!(
            found.iter().any(|(name, _)| name == place),
            "nothing planted found in: {place}"
        );
    }
    let (made_for, mut names) = (push.made_for(), BTreeSet::new());
    for (_, file) in &found {
        names.append(&mut sinks::named(file, &made_for));
    }
    assert_eq!(names, BTreeSet::from(["what this test planted".to_owned()]));
    let in_wal = found
        .iter()
        .any(|(_, file)| file.to_string_lossy().contains("pg_wal"));
    assert!(in_wal, "{found:?}");
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
