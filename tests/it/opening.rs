//! From an empty PostgreSQL of one's own to an admin who has signed in, as the README says it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Parser as _;
use medmesh_api_types::factor::Standing;
use medmesh_base::ProblemCode;
use medmesh_clinic::identity::{TotpSecret, totp_step};
use medmesh_control::command::Arguments;
use medmesh_tests::control::{ControlNode, Site, Wishes};
use medmesh_tests::postgres::{Cluster, Durability, Scratch, Settings};
use sqlx::{Connection as _, PgConnection};
use tempfile::TempDir;

use crate::audit::eventually;
use crate::clinic::{plain_http, refused};

const ROLES: &str = include_str!("../../control-plane/migrations/provision/roles.sql");
const DATABASE: &str = include_str!("../../control-plane/migrations/provision/database.sql");
const PASSWORD: &str = "nine lamps by the water";
const EMAIL: &str = "ada@riverside.test";

/// A PostgreSQL with nothing in it but what an administrator makes once.
struct External {
    scratch: Scratch,
    site: Arc<Site>,
    _cluster: Cluster,
    _dir: TempDir,
}

impl External {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let settings = Settings {
            dir: dir.path().to_owned(),
            durability: Durability::None,
            ephemeral: true,
            max_connections: 60,
        };
        let started = tokio::task::spawn_blocking(move || Cluster::start(&settings));
        let cluster = started.await.unwrap().unwrap();
        let site = Site::new(1);
        let scratch = Scratch {
            service_url: cluster.service_url("riverside"),
            owner_url: cluster.owner_url("riverside"),
            admin_url: cluster.admin_url("riverside"),
            root_key_file: site.dir().join("vault.keys"),
            unlock_file: site.dir().join("vault.unlock"),
        };
        sql(&cluster.admin_url("postgres"), ROLES).await;
        sql(
            &cluster.admin_url("postgres"),
            "CREATE DATABASE riverside OWNER medmesh_owner",
        )
        .await;
        sql(&scratch.admin_url, DATABASE).await;
        Self {
            scratch,
            site,
            _cluster: cluster,
            _dir: dir,
        }
    }

    /// As `medmesh-control` is called.
    async fn control(&self, words: &[&str]) -> anyhow::Result<String> {
        let words = std::iter::once("medmesh-control").chain(words.iter().copied());
        let command = Arguments::try_parse_from(words).unwrap().command.unwrap();
        command.run(Some(&self.scratch.owner_url)).await
    }

    async fn open(&self, config: &Path, clinic: &Path) -> anyhow::Result<String> {
        let (config, clinic) = (config.to_str().unwrap(), clinic.to_str().unwrap());
        self.control(&["open-clinic", "--config", config, "--clinic", clinic])
            .await
    }

    fn clinic_file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.site.dir().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    async fn acts(&self) -> Vec<String> {
        let mut admin = PgConnection::connect(&self.scratch.admin_url).await.unwrap();
        sqlx::query_scalar("SELECT action FROM audit WHERE action <> 'key_open' ORDER BY id")
            .fetch_all(&mut admin)
            .await
            .unwrap()
    }
}

async fn sql(url: &str, statements: &'static str) {
    let mut connection = PgConnection::connect(url).await.unwrap();
    sqlx::raw_sql(statements).execute(&mut connection).await.unwrap();
}

fn clinic(name: &str, email: &str) -> String {
    format!(
        "name = \"{name}\"\ntime_zone = \"Europe/Berlin\"\nhome_region = \"eu-central\"\n\
         [admin]\ndisplay_name = \"Ada Admin\"\nemail = \"{email}\"\nlocale = \"en\"\n"
    )
}

/// The token in what was printed.
fn token(said: &str) -> String {
    let (_, after) = said.split_once("/admin/#set-password=").expect("there is a link");
    after.split_whitespace().next().unwrap().to_owned()
}

async fn ready(node: &ControlNode) -> bool {
    let url = format!("{}/readyz", node.admin_url());
    plain_http().get(url).send().await.unwrap().status().is_success()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_postgresql_becomes_a_clinic_with_an_admin() {
    let outside = External::new().await;
    let config = outside.site.config_file(1, &outside.scratch, &Wishes::default());
    let file = outside.clinic_file("clinic.toml", &clinic("Riverside", EMAIL));
    let node = ControlNode::start_in(&outside.site, 1, &outside.scratch, &Wishes::default()).await;
    // A node, and who opens a clinic, want the schema first.
    let early = outside.open(&config, &file).await.unwrap_err();
    assert!(format!("{early:#}").contains("run the migrations"), "{early:#}");
    assert!(!ready(&node).await);
    outside.control(&["migrate"]).await.unwrap();
    eventually(async || ready(&node).await.then_some(())).await;

    let first = outside.open(&config, &file).await.unwrap();
    let second = outside.open(&config, &file).await.unwrap();
    assert_eq!(first.lines().next(), second.lines().next(), "one clinic");
    let client = node.client();
    let spent = refused(client.link_redeem(&token(&first), PASSWORD).await);
    assert_eq!(spent, ProblemCode::LinkSpent, "the newest link counts");
    client.link_redeem(&token(&second), PASSWORD).await.unwrap();
    let session = client.login(EMAIL, PASSWORD).await.unwrap();
    assert_eq!(session.standing, Standing::MfaEnrolmentRequired);
    let setup = client.totp_begin().await.unwrap();
    let secret = TotpSecret::from_base32(setup.secret.expose()).unwrap();
    let now = time::OffsetDateTime::now_utc().unix_timestamp();
    let code = secret.code(totp_step(u64::try_from(now).unwrap()));
    let enrolment = client.totp_confirm(&code).await.unwrap();
    assert_eq!(enrolment.session.standing, Standing::Full);
    assert_eq!(enrolment.session.clinic.name, "Riverside");

    // Whoever has the owner's password gets no second way into a clinic that is somebody's.
    for (name, email) in [("Riverside", EMAIL), (" RIVERSIDE ", "other@riverside.test")] {
        let again = outside.clinic_file("again.toml", &clinic(name, email));
        let error = outside.open(&config, &again).await.unwrap_err().to_string();
        assert!(
            error.contains("somebody in it") && !error.contains('@'),
            "{error}"
        );
    }
    let acts = outside.acts().await;
    let begin: Vec<&str> = acts.iter().take(4).map(String::as_str).collect();
    assert_eq!(
        begin,
        ["clinic_update", "person_create", "link_issue", "link_issue"]
    );
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_an_opening_is_said_without_saying_who() {
    let outside = External::new().await;
    let config = outside.site.config_file(1, &outside.scratch, &Wishes::default());
    outside.control(&["migrate"]).await.unwrap();
    let good = clinic("Hillside", EMAIL);
    for (from, to, key) in [
        // Which there are, the database knows.
        ("Europe/Berlin", "Europe/Nowhere", "not the name of a time zone"),
        ("Europe/Berlin", "half past nine", "wrong.toml: time_zone"),
        ("eu-central", "No Region", "wrong.toml: home_region"),
        (EMAIL, "ada at riverside.test", "wrong.toml: admin.email"),
        ("locale", "language", "wrong.toml: admin"),
        ("Hillside", "", "wrong.toml: name"),
    ] {
        let file = outside.clinic_file("wrong.toml", &good.replace(from, to));
        let error = format!("{:#}", outside.open(&config, &file).await.unwrap_err());
        assert!(error.contains(key), "{error}");
        assert!(
            !error.contains("Ada") && !error.contains("riverside.test"),
            "{error}"
        );
    }
    assert!(outside.acts().await.is_empty());

    // Two at once open one clinic.
    let file = outside.clinic_file("clinic.toml", &good);
    let (one, other) = tokio::join!(outside.open(&config, &file), outside.open(&config, &file));
    let (one, other) = (one.unwrap(), other.unwrap());
    assert_eq!(one.lines().next(), other.lines().next());
    // An address that has a login elsewhere is refused, and the clinic waits for another.
    let taken = outside.clinic_file("taken.toml", &clinic("Lakeside", EMAIL));
    assert!(outside.open(&config, &taken).await.is_err());
    let free = outside.clinic_file("free.toml", &clinic("Lakeside", "bea@lakeside.test"));
    outside.open(&config, &free).await.unwrap();
    // Not without saying as whom.
    let migrate = Arguments::try_parse_from(["medmesh-control", "migrate"]).unwrap();
    let migrate = migrate.command.unwrap();
    assert!(migrate.run(None).await.is_err());
    let far = "postgres://medmesh_owner:geheim@db.example.net/medmesh";
    let error = migrate.run(Some(far)).await.unwrap_err().to_string();
    assert!(
        error.contains("verify-full") && !error.contains("geheim"),
        "{error}"
    );
}
