//! Control nodes whose root key is a network away: what goes on while the KMS is gone, what does
//! not, and that it comes back by itself.

mod drivers;
mod tries;

use std::sync::Arc;
use std::time::{Duration, Instant};

use medmesh_api_client::{ClientError, Clinic, IdempotencyKey};
use medmesh_base::{AppointmentId, ProblemCode};
use medmesh_cli::operator::{KeyRotate, KeyVerb, Verb};
use medmesh_control::config::Config;
use medmesh_control::keys;
use medmesh_store::Store;
use medmesh_tests::control::{ControlNode, PASSWORD, Site, TestClinic, Wishes};
use medmesh_tests::kms::{AwsSimulator, Simulator, TransitSimulator};
use medmesh_tests::postgres::Scratch;
use sqlx::{Connection as _, PgConnection};

use crate::clinic::{World, eventually, plain_http, ready, refused};
use crate::keys::{medmesh, show};

/// How long the nodes here keep keys: the shortest the configuration takes.
const KEYS_KEPT: Duration = Duration::from_secs(5);
/// A machine that is too slow to read a record while its keys are in memory may try again so often.
const TRIES: usize = 20;
const REASON: &str = "a persistent cough";

struct Over {
    kms: Arc<dyn Simulator>,
    name: &'static str,
    site: Arc<Site>,
    wishes: Wishes,
    world: World,
}

impl Over {
    /// A clinic whose keys were under this KMS from the first, and a node from its configuration.
    async fn new(kms: Arc<dyn Simulator>, name: &'static str) -> Self {
        let (scratch, site) = (Scratch::database().await.unwrap(), Site::new(1));
        let wishes = Wishes {
            kms: Some(kms.config(site.dir())),
            key_cache_seconds: Some(KEYS_KEPT.as_secs()),
            ..Wishes::default()
        };
        let _ = plain_http();
        let config = Config::load(&site.config_file(1, &scratch, &wishes)).unwrap();
        let keyring = keys::open(&config.vault).unwrap();
        assert_eq!(keyring.kms().name(), name);
        // Nobody is erased in a database that is new.
        keyring.open_patients();
        let store = Store::connect(&scratch.service_url, 2, keyring).await.unwrap();
        let clinic = TestClinic::open_in(store, &scratch, "riverside").await;
        let node = ControlNode::start_in(&site, 1, &scratch, &wishes).await;
        ready(&node).await;
        Self {
            kms,
            name,
            site,
            wishes,
            world: World {
                scratch,
                node,
                clinic,
            },
        }
    }

    /// Status of readiness, what it says of keys, and the KMS as the metrics have it.
    async fn said(&self) -> (u16, bool, i64) {
        let http = plain_http();
        let url = self.world.node.admin_url();
        let ready = http.get(format!("{url}/readyz")).send().await.unwrap();
        let status = ready.status().as_u16();
        let ready: serde_json::Value = ready.json().await.unwrap();
        let metrics = http.get(format!("{url}/metrics")).send().await.unwrap();
        let metrics = metrics.text().await.unwrap();
        let value = |name: &str| -> i64 {
            let wanted = format!("{name}{{kms=\"{}\"}} ", self.name);
            let line = metrics.lines().find_map(|line| line.strip_prefix(&wanted));
            line.unwrap_or_else(|| panic!("{wanted} is not in {metrics}"))
                .parse()
                .unwrap()
        };
        let available = value("medmesh_kms_available");
        assert!(available == 1 || value("medmesh_kms_failures_total") > 0);
        (status, ready["keys"].as_bool().unwrap(), available)
    }

    /// Waits until no key is in memory any more, and looks at what is refused, and how.
    async fn until_refused(&self, clinician: &Clinic, id: AppointmentId) {
        // The clinic's keys, and the system's.
        let email = self.world.clinic.email("patient");
        eventually(async || clinician.appointment_get(id).await.is_err()).await;
        eventually(async || self.world.node.client().login(&email, PASSWORD).await.is_err()).await;
        match clinician.appointment_get(id).await {
            Err(ClientError::Problem(problem)) => {
                assert_eq!((problem.status, problem.code), (503, ProblemCode::Unavailable));
                let text = format!("{problem:?}");
                assert!(!text.contains("127.0.0.1") && !text.contains("cough"), "{text}");
            }
            other => panic!("{other:?}"),
        }
        let bookings = self.bookings().await;
        let booking = self.world.booking("patient", "clinician", 600);
        let tried = clinician
            .appointment_create(&IdempotencyKey::fresh(), &booking)
            .await;
        assert_eq!(refused(tried), ProblemCode::Unavailable);
        assert_eq!(
            self.bookings().await,
            bookings,
            "nothing is written without a key"
        );
        assert_eq!(self.said().await, (200, false, 0), "told, and in rotation");
    }

    async fn bookings(&self) -> i64 {
        let sql = "SELECT count(*) FROM appointment";
        let mut database = self.world.admin().await;
        sqlx::query_scalar(sql).fetch_one(&mut database).await.unwrap()
    }

    /// Waits until the KMS that is back was asked, and everything is served again.
    async fn until_served(&self, clinician: &Clinic, id: AppointmentId) {
        eventually(async || clinician.appointment_get(id).await.is_ok()).await;
        let read = clinician.appointment_get(id).await.unwrap();
        assert_eq!(read.reason.unwrap().expose(), REASON);
        assert_eq!(self.said().await, (200, true, 1));
    }
}

async fn lives_through(over: Over) {
    let Over { world, kms, .. } = &over;
    let clinician = world.signed_in("clinician").await;
    let booking = world.booking("patient", "clinician", 60);
    let booked = clinician
        .appointment_create(&IdempotencyKey::fresh(), &booking)
        .await
        .unwrap();
    assert_eq!(booked.reason.as_ref().unwrap().expose(), REASON);
    assert!(kms.opened() > 0, "the node's keys come from there");

    kms.goes();
    over.until_refused(&clinician, booked.id).await;
    served_from_memory(&over, &clinician, booked.id).await;
    kms.fails(503);
    over.until_refused(&clinician, booked.id).await;
    kms.returns();
    over.until_served(&clinician, booked.id).await;

    root_is_replaced(&over).await;
    // Under the new root, and asked for anew.
    let opened = kms.opened();
    eventually(async || clinician.appointment_get(booked.id).await.is_ok() && kms.opened() > opened).await;
    over.until_served(&clinician, booked.id).await;
    tries::nobody_is_locked_out(&over).await;
    starts_without(over, booked.id).await;
}

/// Keys that were unwrapped before it went serve what is read and written until their time is over.
async fn served_from_memory(over: &Over, clinician: &Clinic, id: AppointmentId) {
    for attempt in 0..TRIES {
        // Nothing is in memory now, so that whatever is later was unwrapped after this.
        let before = Instant::now();
        over.kms.returns();
        over.until_served(clinician, id).await;
        over.kms.goes();
        let minutes = 120 + 40 * i64::try_from(attempt).unwrap();
        let booking = over.world.booking("patient", "clinician", minutes);
        let read = clinician.appointment_get(id).await;
        let wrote = clinician
            .appointment_create(&IdempotencyKey::fresh(), &booking)
            .await;
        match (read, wrote) {
            (Ok(read), Ok(wrote)) => {
                assert_eq!(read.reason.unwrap().expose(), REASON);
                assert_eq!(wrote.reason.unwrap().expose(), REASON);
                return;
            }
            (read, wrote) => assert!(
                before.elapsed() >= KEYS_KEPT,
                "keys are in memory: {read:?} {wrote:?}"
            ),
        }
        over.until_refused(clinician, id).await;
    }
    panic!("this machine is too slow to see it");
}

async fn root_is_replaced(over: &Over) {
    let dir = tempfile::tempdir().unwrap();
    let before = show(&over.world, dir.path()).await;
    assert_eq!(over.kms.versions(), 1);
    let verb = KeyVerb::Rotate(KeyRotate::Root {
        without_rewrap: false,
        only_rewrap: false,
    });
    medmesh(&over.world, dir.path(), Verb::Keys { verb })
        .await
        .unwrap();
    assert_eq!(over.kms.versions(), 2);
    crate::keys::eventually(async || {
        let now = show(&over.world, dir.path()).await;
        now.root != before.root && now.keys.iter().all(|key| Some(&key.root) == now.root.as_ref())
    })
    .await;
}

/// A node that is started while its KMS is gone serves nothing that needs a key, and then everything.
async fn starts_without(over: Over, id: AppointmentId) {
    let Over {
        kms,
        site,
        wishes,
        world,
        ..
    } = over;
    world.node.stop().await;
    kms.goes();
    let node = ControlNode::start_in(&site, 1, &world.scratch, &wishes).await;
    ready(&node).await;
    let email = world.clinic.email("patient");
    let tried = node.client().login(&email, PASSWORD).await;
    assert_eq!(refused(tried), ProblemCode::Unavailable);
    kms.returns();
    eventually(async || node.client().login(&email, PASSWORD).await.is_ok()).await;
    let patient = node.signed_in_as(&world.clinic, "patient").await;
    let read = patient.appointment_get(id).await.unwrap();
    assert_eq!(read.reason.unwrap().expose(), REASON);
    // Whatever was written meanwhile, no word of it can be read in the database.
    let sql = "SELECT count(*) FROM appointment WHERE position('cough'::bytea IN reason) > 0";
    let mut database = PgConnection::connect(&world.scratch.admin_url).await.unwrap();
    let plain: i64 = sqlx::query_scalar(sql).fetch_one(&mut database).await.unwrap();
    assert_eq!(plain, 0);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_over_transit_lives_through_an_outage_and_a_new_root() {
    let kms = TransitSimulator::start().await;
    lives_through(Over::new(kms, "transit").await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_over_aws_lives_through_an_outage_and_a_new_root() {
    let kms = AwsSimulator::start().await;
    lives_through(Over::new(kms, "aws").await).await;
}
