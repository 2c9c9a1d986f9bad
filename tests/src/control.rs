//! A control node in this process, over a database of its own.

use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use medmesh_api_client::Clinic as ClinicClient;
use medmesh_base::{ClinicId, PersonId, Region};
use medmesh_clinic::{Clinic, NewPerson, Role, Roles};
use medmesh_control::app::{Addresses, App, Running};
use medmesh_control::config::Config;
use medmesh_control::http::password_hash;
use medmesh_control::setup::cluster;
use medmesh_store::Store;
use medmesh_store::seed::{Seed, SeedPerson};
use tempfile::TempDir;

use crate::passkey::SoftPasskey;
use crate::postgres::Scratch;

/// The password of everybody in a test clinic.
pub const PASSWORD: &str = "seven quiet herons";

/// What a test wants of its control node.
#[derive(Clone, Debug, Default)]
pub struct Wishes {
    /// Database URL; the scratch database's when absent.
    pub database_url: Option<String>,
    /// Redis URL.
    pub redis_url: Option<String>,
    /// The authority of Redis' certificate, PEM.
    pub redis_ca_file: Option<PathBuf>,
    /// The portals' builds.
    pub portals: Option<PathBuf>,
    /// How long certificates of machines live, seconds; a day when absent.
    pub certificate_lifetime_seconds: Option<u64>,
    /// Factor on how often somebody may ask; so high when absent that no test is slowed by it.
    pub limits_scale: Option<f64>,
    /// More of what `[limits]` says.
    pub limits: Option<&'static str>,
    /// Port of a mail server on this machine.
    pub smtp_port: Option<u16>,
    /// Whether outside providers may be on this machine.
    pub oidc_loopback: bool,
    /// Whether `X-Forwarded-For` says who the client is.
    pub trust_forwarded_for: bool,
    /// Certificate and key for HTTPS.
    pub https: Option<(PathBuf, PathBuf)>,
    /// Connections to the database at once; 12 when absent.
    pub max_connections: Option<u32>,
    /// How long unwrapped keys are used, seconds; five minutes when absent.
    pub key_cache_seconds: Option<u64>,
    /// The table of `[vault]` that names a KMS; the embedded one when absent.
    pub kms: Option<String>,
    /// What `[objects]` says; a directory of the site when absent.
    pub objects: Option<String>,
    /// What `[audit]` says; nothing when absent.
    pub audit: Option<String>,
    /// What `[turn]` says, with its tables; nothing when absent.
    pub turn: Option<String>,
    /// Where browsers are; [`ORIGIN`] when absent.
    pub public_url: Option<String>,
}

/// What the control nodes of one cluster share: keys, and each other's addresses.
#[derive(Debug)]
pub struct Site {
    dir: TempDir,
    links: Vec<SocketAddr>,
    founders: usize,
}

impl Site {
    /// Keys and addresses for this many nodes.
    #[must_use]
    pub fn new(nodes: usize) -> Arc<Self> {
        Self::with_later(nodes, 0)
    }

    /// Keys and addresses for this many nodes, and for some with higher numbers that join when those have
    /// founded the cluster.
    #[must_use]
    pub fn with_later(founders: usize, later: usize) -> Arc<Self> {
        let dir = tempfile::tempdir().expect("a temporary directory");
        cluster::init(dir.path(), CLUSTER).expect("keys can be made in a fresh directory");
        // Bound all at once, so that no port is given twice; free again when the sockets go.
        let sockets: Vec<UdpSocket> = (0..founders + later)
            .map(|_| UdpSocket::bind("127.0.0.1:0").expect("loopback has free ports"))
            .collect();
        let links = sockets
            .iter()
            .map(|socket| socket.local_addr().expect("a bound socket has an address"));
        Arc::new(Self {
            links: links.collect(),
            dir,
            founders,
        })
    }

    /// Where its keys and its nodes' files are.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Writes the configuration of a node; numbers begin with 1.
    ///
    /// # Panics
    /// When the directory cannot be written to.
    #[must_use]
    pub fn config_file(&self, id: usize, scratch: &Scratch, wishes: &Wishes) -> PathBuf {
        let path = self.dir.path().join(format!("control-{id}.toml"));
        std::fs::write(&path, toml(self, id, scratch, wishes)).expect("the directory is writable");
        path
    }

    /// Where a node is reached by the others.
    #[must_use]
    pub fn link(&self, id: usize) -> SocketAddr {
        self.links[id - 1]
    }

    /// The operator's token.
    #[must_use]
    pub fn operator_token(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("operator.token")).expect("made with the site")
    }
}

/// Name of every test cluster.
const CLUSTER: &str = "test";

/// A running control node. Dropping it leaves its tasks to the test's runtime, which ends them.
pub struct ControlNode {
    running: Option<Running>,
    addresses: Addresses,
    site: Arc<Site>,
}

impl ControlNode {
    /// Starts a node that is alone in its cluster.
    pub async fn start(scratch: &Scratch, wishes: &Wishes) -> Self {
        Self::start_in(&Site::new(1), 1, scratch, wishes).await
    }

    /// Starts a node of a cluster; numbers begin with 1.
    pub async fn start_in(site: &Arc<Site>, id: usize, scratch: &Scratch, wishes: &Wishes) -> Self {
        let path = site.config_file(id, scratch, wishes);
        let config = Config::load(&path).expect("the harness writes valid configurations");
        let app = App::build(config).await.expect("the node can be built");
        let running = app.spawn();
        Self {
            addresses: running.addresses(),
            running: Some(running),
            site: site.clone(),
        }
    }

    /// Base URL of its plain HTTP.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.addresses.http)
    }

    /// Base URL of its admin listener.
    #[must_use]
    pub fn admin_url(&self) -> String {
        format!("http://{}", self.addresses.admin)
    }

    /// Where HTTPS listens.
    #[must_use]
    pub fn https(&self) -> SocketAddr {
        self.addresses.https.expect("the test asked for HTTPS")
    }

    /// The cluster it belongs to.
    #[must_use]
    pub const fn site(&self) -> &Arc<Site> {
        &self.site
    }

    /// A client that has not signed in.
    #[must_use]
    pub fn client(&self) -> ClinicClient {
        ClinicClient::new(&self.url(), None).expect("the URL is one")
    }

    /// A signed-in patient.
    pub async fn signed_in(&self, email: &str) -> ClinicClient {
        let client = self.client();
        client
            .login(email, PASSWORD)
            .await
            .expect("a seeded person signs in");
        client
    }

    /// A client signed in as one of the people: staff with their passkey, patients with their password.
    pub async fn signed_in_as(&self, clinic: &TestClinic, login: &str) -> ClinicClient {
        let Some(passkey) = clinic.passkey(login) else {
            return self.signed_in(&clinic.email(login)).await;
        };
        let client = self.client();
        let options = client
            .passkey_options()
            .await
            .expect("a challenge is given to everybody");
        client
            .passkey_login(&passkey.get(&options, clinic.person(login)))
            .await
            .expect("a seeded person signs in");
        client
    }

    /// Resolves when the node says that its process should end, with the reason.
    pub async fn failed(&self) -> String {
        let running = self.running.as_ref().expect("not stopped yet");
        running.failed().await
    }

    /// Stops the node; panics when a task had to be left behind.
    pub async fn stop(mut self) {
        let running = self.running.take().expect("stopped once");
        assert_eq!(running.stop().await, 0, "every task ends");
    }
}

fn toml(site: &Site, id: usize, scratch: &Scratch, wishes: &Wishes) -> String {
    let dir = site.dir.path().display();
    let kms = wishes.kms.clone().unwrap_or_else(|| {
        let (key, unlock) = (scratch.root_key_file.display(), scratch.unlock_file.display());
        format!("[vault.file]\nkey_file = \"{key}\"\ncredential_file = \"{unlock}\"")
    });
    let database = wishes.database_url.as_ref().unwrap_or(&scratch.service_url);
    let link = site.links[id - 1];
    let connections = wishes.max_connections.unwrap_or(12);
    let life = wishes.certificate_lifetime_seconds.unwrap_or(86_400);
    let (forwarded, loopback) = (wishes.trust_forwarded_for, wishes.oidc_loopback);
    let peers: String = site
        .links
        .iter()
        .enumerate()
        .filter(|(index, _)| *index < site.founders || index + 1 == id)
        .map(|(index, link)| {
            format!(
                "{{ id = {}, link = \"{link}\", http = \"http://127.0.0.1\" }},",
                index + 1
            )
        })
        .collect();
    let join = id > site.founders;
    let key_cache = wishes.key_cache_seconds.unwrap_or(300);
    let scale = wishes.limits_scale.unwrap_or(1000.0);
    let per_node = wishes.redis_url.is_none();
    let limits = wishes.limits.unwrap_or_default();
    let public_url = wishes.public_url.as_deref().unwrap_or(ORIGIN);
    let mut text = format!(
        r#"
[node]
id = {id}
cluster = "{CLUSTER}"
data_dir = "{dir}/{id}"
[cluster]
secret_file = "{dir}/cluster.secret"
ca_cert_file = "{dir}/ca.pem"
ca_key_file = "{dir}/ca.key"
peers = [{peers}]
join = {join}
certificate_lifetime_seconds = {life}
[link]
listen = "{link}"
advertise = "{link}"
[http]
listen = "127.0.0.1:0"
public_url = "{public_url}"
trust_forwarded_for = {forwarded}
[oidc]
allow_loopback = {loopback}
[admin]
listen = "127.0.0.1:0"
[database]
url = "{database}"
max_connections = {connections}
[vault]
cache_seconds = {key_cache}
{kms}
[operator]
token_file = "{dir}/operator.token"
[limits]
scale = {scale:?}
per_node = {per_node}
{limits}
"#
    );
    match &wishes.objects {
        Some(objects) => text += &format!("[objects]\n{objects}\n"),
        None => text += &format!("[objects]\ndir = \"{dir}/objects\"\n"),
    }
    if let Some(audit) = &wishes.audit {
        text += &format!("[audit]\n{audit}\n");
    }
    if let Some(turn) = &wishes.turn {
        text += &format!("[turn]\n{turn}\n");
    }
    if let Some(url) = &wishes.redis_url {
        text += &format!("[redis]\nurl = \"{url}\"\n");
        if let Some(file) = &wishes.redis_ca_file {
            text += &format!("ca_file = \"{}\"\n", file.display());
        }
    }
    if let Some(portals) = &wishes.portals {
        text += &format!("[portals]\ndir = \"{}\"\n", portals.display());
    }
    if let Some(port) = wishes.smtp_port {
        text += &format!(
            "[mail]\nhost = \"127.0.0.1\"\nport = {port}\ntls = \"none\"\nfrom = \"no-reply@portal.test\"\n"
        );
    }
    if let Some((cert, key)) = &wishes.https {
        let (cert, key) = (cert.display(), key.display());
        text += &format!("[https]\nlisten = \"127.0.0.1:0\"\ncert_file = \"{cert}\"\nkey_file = \"{key}\"\n");
    }
    text
}

/// A clinic with an admin, two clinicians, three patients and a person with both roles of staff.
#[derive(Clone, Debug)]
pub struct TestClinic {
    /// Part of every address, so that clinics do not collide.
    pub name: &'static str,
    /// The clinic.
    pub id: ClinicId,
    people: Vec<(String, PersonId)>,
    passkeys: Arc<HashMap<&'static str, SoftPasskey>>,
}

/// Where the portals of a test node are.
pub const ORIGIN: &str = "http://portal.test";

/// Who is in every test clinic.
const PEOPLE: [(&str, &str, Role); 6] = [
    ("admin", "Ada Admin", Role::Admin),
    ("clinician", "Clara Clinician", Role::Clinician),
    ("colleague", "Colin Colleague", Role::Clinician),
    ("patient", "Paula Patient", Role::Patient),
    ("second", "Serge Second", Role::Patient),
    ("third", "Theo Third", Role::Patient),
];

impl TestClinic {
    /// Opens a clinic with its people.
    pub async fn open(scratch: &Scratch, name: &'static str) -> Self {
        let store = scratch.store(2).await.expect("the database is there");
        Self::open_in(store, scratch, name).await
    }

    /// Opens it through this store, whose keys may come from any KMS; the store is closed then.
    pub async fn open_in(store: Store, scratch: &Scratch, name: &'static str) -> Self {
        let id = ClinicId::generate();
        let clinic = Clinic {
            id,
            name: format!("{name} clinic"),
            time_zone: "Europe/Berlin".parse().expect("a time zone's name"),
            home_region: "eu-central".parse::<Region>().expect("a region's name"),
        };
        let hash = password_hash(PASSWORD);
        let staff = PEOPLE.iter().filter(|(_, _, role)| *role != Role::Patient);
        let passkeys: HashMap<_, _> = staff
            .map(|(login, ..)| (*login, SoftPasskey::generate(ORIGIN)))
            .collect();
        let people = PEOPLE.map(|(login, display_name, role)| SeedPerson {
            person: NewPerson {
                display_name: display_name.parse().expect("a name"),
                email: format!("{login}@{name}.test").parse().expect("an address"),
                roles: Roles::only(role),
                locale: medmesh_clinic::Locale::En,
            },
            password: hash.clone(),
            totp: None,
            passkey: passkeys.get(login).map(SoftPasskey::credential),
            credentials: medmesh_clinic::credential::Claim::made_up(role),
        });
        let seed = Seed {
            clinic,
            people: people.into(),
            appointments: Vec::new(),
        };
        let seeded = store
            .seed(&scratch.owner_url, &seed)
            .await
            .expect("a fresh clinic seeds");
        store.close().await;
        let people = seeded
            .into_iter()
            .map(|person| (person.email.expose().to_owned(), person.person_id));
        Self {
            name,
            id,
            people: people.collect(),
            passkeys: Arc::new(passkeys),
        }
    }

    /// The passkey of one of the staff.
    #[must_use]
    pub fn passkey(&self, login: &str) -> Option<&SoftPasskey> {
        self.passkeys.get(login)
    }

    /// The address of one of the people: `patient`, `clinician`, ….
    #[must_use]
    pub fn email(&self, login: &str) -> String {
        format!("{login}@{}.test", self.name)
    }

    /// One of the people.
    #[must_use]
    pub fn person(&self, login: &str) -> PersonId {
        let email = self.email(login);
        let found = self.people.iter().find(|(known, _)| *known == email);
        found.expect("one of the seeded people").1
    }
}
