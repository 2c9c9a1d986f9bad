//! The relay against a real PostgreSQL and a real RabbitMQ.

mod broker;

use std::collections::BTreeSet;
use std::time::Duration;

use lapin::options::BasicGetOptions;
use lapin::{Channel, Connection, ConnectionProperties};
use medmesh_base::RequestId;
use medmesh_base::drain::Drain;
use medmesh_clinic::{Actor, Clinic, Locale, NewPerson, Role, Roles, Slot, SystemActor};
use medmesh_store::embedded::scratch::Scratch;
use medmesh_store::seed::{Seed, SeedPerson, Seeded};
use medmesh_store::{JobOptions, NewAppointment, PasswordHash, Relay, Store};
use prometheus::Registry;
use sqlx::{Connection as _, PgConnection};
use time::OffsetDateTime;

use super::rabbit::EventPublish;
use super::{OutboxMetrics, Rabbit, hear, relay};
use crate::config::RabbitMq;
use crate::ephemeral::News;
use crate::jobs::{self, Handlers, JobMetrics};
use broker::Broker;

const PHC: &str = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0$aGFzaA";

/// Until it holds; the limit is for a machine that is busy with other things.
async fn eventually(mut holds: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(120), waiting)
        .await
        .expect("it never came to be");
}

/// A clinic in which appointments can be made.
struct World {
    scratch: Scratch,
    store: Store,
    clinic: medmesh_base::ClinicId,
    patient: Seeded,
    clinician: Seeded,
    next: i64,
}

impl World {
    async fn open() -> Self {
        let scratch = Scratch::database().await.unwrap();
        let store = scratch.store(8).await.unwrap();
        let clinic = Clinic {
            id: medmesh_base::ClinicId::generate(),
            name: "Clinic".into(),
            time_zone: "America/New_York".parse().unwrap(),
            home_region: "us-east".parse().unwrap(),
        };
        let people =
            [("patient", Role::Patient), ("clinician", Role::Clinician)].map(|(name, role)| SeedPerson {
                person: NewPerson {
                    display_name: name.parse().unwrap(),
                    email: format!("{name}@a.example").parse().unwrap(),
                    roles: Roles::only(role),
                    locale: Locale::En,
                },
                password: PasswordHash::from_phc(PHC.to_owned()),
                totp: None,
                passkey: None,
                credentials: medmesh_clinic::credential::Claim::made_up(role),
            });
        let seed = Seed {
            clinic,
            people: people.to_vec(),
            appointments: Vec::new(),
        };
        let seeded = store.seed(&scratch.owner_url, &seed).await.unwrap();
        let [patient, clinician] = seeded.try_into().unwrap();
        Self {
            clinic: seed.clinic.id,
            scratch,
            store,
            patient,
            clinician,
            next: 1,
        }
    }

    /// Books the next half hour: two events.
    async fn book(&mut self) -> medmesh_base::VisitId {
        let midnight = OffsetDateTime::now_utc().replace_time(time::Time::MIDNIGHT);
        let starts_at = midnight + time::Duration::days(1) + time::Duration::minutes(30 * self.next);
        self.next += 1;
        let new = NewAppointment {
            patient_id: self.patient.person_id,
            clinician_id: self.clinician.person_id,
            slot: Slot::new(starts_at, starts_at + time::Duration::minutes(30)).unwrap(),
            reason: Some("a very private reason".parse().unwrap()),
            segment: medmesh_clinic::Segment::General,
        };
        let actor = Actor::System(SystemActor::Seed);
        let mut tx = self
            .store
            .begin(self.clinic, actor, RequestId::generate())
            .await
            .unwrap();
        let booked = tx.appointment_create(&new).await.unwrap();
        tx.commit().await.unwrap();
        booked.visit_id
    }

    fn url(&self) -> String {
        self.scratch.service_url.clone()
    }

    async fn waiting(&self) -> i64 {
        let mut admin = PgConnection::connect(&self.scratch.admin_url).await.unwrap();
        let count = sqlx::query_scalar("SELECT count(*) FROM outbox");
        count.fetch_one(&mut admin).await.unwrap()
    }

    /// A node's relay.
    fn relay(&self, sink: Option<Rabbit>) -> Drain {
        let drain = Drain::new();
        let metrics = OutboxMetrics::new(&Registry::new());
        drain.spawn(relay(
            self.url(),
            self.store.clone(),
            sink,
            metrics,
            drain.clone(),
        ));
        drain
    }
}

fn sink(url: &str) -> Rabbit {
    Rabbit::new(&RabbitMq {
        url: url.to_owned(),
        exchange: "medmesh.events".into(),
        queue: "medmesh.events".into(),
    })
}

async fn consumer(url: &str) -> (Connection, Channel) {
    let connection = Connection::connect(url, ConnectionProperties::default())
        .await
        .unwrap();
    let channel = connection.create_channel().await.unwrap();
    (connection, channel)
}

/// What lies in the queue, taken away: ids in their order, and the bodies as one text.
async fn consume(url: &str) -> (Vec<String>, String) {
    let (_connection, channel) = consumer(url).await;
    let (mut ids, mut text) = (Vec::new(), String::new());
    let taking = BasicGetOptions { no_ack: true };
    while let Some(message) = channel.basic_get("medmesh.events".into(), taking).await.unwrap() {
        let id = message.delivery.properties.message_id().clone().unwrap();
        ids.push(id.to_string());
        text.push_str(std::str::from_utf8(&message.delivery.data).unwrap());
    }
    (ids, text)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_node_relays_when_one_stops_and_streams_hear_of_it() {
    let mut world = World::open().await;
    let (news, ear) = (News::default(), Drain::new());
    ear.spawn(hear(world.url(), news.clone(), ear.clone()));
    let mut listener = news.listen();
    let (first, second) = (world.relay(None), world.relay(None));
    // The ear may open after the first was told.
    world.book().await;
    eventually(async || world.waiting().await == 0).await;
    for (at, stops) in [first, second].into_iter().enumerate() {
        // News from before may come first, and none while nobody relays or hears.
        let heard = async {
            let mut booked = BTreeSet::new();
            loop {
                booked.insert(world.book().await);
                let told = tokio::time::timeout(Duration::from_secs(1), listener.recv()).await;
                if matches!(told, Ok(Ok(told)) if booked.contains(&told)) {
                    return;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(60), heard)
            .await
            .unwrap_or_else(|_| panic!("nobody relays after {at} stopped"));
        assert_eq!(stops.finish(Duration::from_secs(30)).await, 0);
    }
    let free = Relay::try_lead(&world.url()).await.unwrap();
    assert!(free.is_some(), "who stops gives the power up");
    assert_eq!(ear.finish(Duration::from_secs(30)).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_when_the_broker_or_the_relay_dies() {
    let mut world = World::open().await;
    let mut broker = Broker::start();
    let url = broker.url();
    let mut wanted = BTreeSet::new();
    let admin_url = world.scratch.admin_url.clone();
    let remember = async |wanted: &mut BTreeSet<String>| {
        let mut admin = PgConnection::connect(&admin_url).await.unwrap();
        let ids: Vec<uuid::Uuid> = sqlx::query_scalar("SELECT event_id FROM outbox")
            .fetch_all(&mut admin)
            .await
            .unwrap();
        wanted.extend(ids.iter().map(ToString::to_string));
    };

    // Published, and the relay dies before it can mark anything.
    let mut dying = Relay::try_lead(&world.url()).await.unwrap().unwrap();
    for _ in 0..3 {
        world.book().await;
    }
    remember(&mut wanted).await;
    assert_eq!(dying.notify(true).await.unwrap(), 6);
    let events = dying.to_publish().await.unwrap();
    let taken = sink(&url).publish(&events).await.unwrap();
    assert_eq!((taken.confirmed.len(), taken.refused.len()), (6, 0));
    drop(dying);
    let (seen, text) = consume(&url).await;
    let in_order: Vec<String> = events.iter().map(|event| event.event_id.to_string()).collect();
    assert_eq!(seen, in_order);
    assert!(
        !text.contains("private") && text.contains("appointment_changed"),
        "{text}"
    );

    let node = world.relay(Some(sink(&url)));
    eventually(async || world.waiting().await == 0).await;
    let (again, _) = consume(&url).await;
    assert_eq!(
        again, in_order,
        "they come again under the same ids, and are known by them"
    );

    // The broker dies without a word; care goes on, and events wait.
    broker.kill();
    for _ in 0..5 {
        world.book().await;
    }
    remember(&mut wanted).await;
    assert!(world.waiting().await >= 10);
    broker.restart();
    eventually(async || world.waiting().await == 0).await;
    let (later, _) = consume(&url).await;
    let mut got: BTreeSet<String> = seen.into_iter().collect();
    got.extend(later);
    assert_eq!(got, wanted, "each at least once, and nothing else");
    assert_eq!(node.finish(Duration::from_secs(30)).await, 0);

    refused_events_wait_for_a_person(&mut world, &url).await;
}

/// A queue that takes nothing: the broker refuses, and a person can have it tried again.
async fn refused_events_wait_for_a_person(world: &mut World, url: &str) {
    let (_connection, channel) = consumer(url).await;
    let unbound = Rabbit::new(&RabbitMq {
        url: url.to_owned(),
        exchange: "medmesh.events".into(),
        queue: "medmesh.events".into(),
    });
    let mut leader = Relay::try_lead(&world.url()).await.unwrap().unwrap();
    world.book().await;
    leader.notify(true).await.unwrap();
    let events = leader.to_publish().await.unwrap();
    unbound.publish(&events[..1]).await.unwrap(); // the channel is open now
    let arguments = lapin::types::FieldTable::default;
    channel
        .queue_unbind(
            "medmesh.events".into(),
            "medmesh.events".into(),
            "#".into(),
            arguments(),
        )
        .await
        .unwrap();
    let taken = unbound.publish(&events).await.unwrap();
    assert_eq!((taken.confirmed.len(), taken.refused.len()), (0, 2));
    let work = EventPublish {
        event: taken.refused[0],
    };
    world.store.job_add(&work, JobOptions::default()).await.unwrap();
    let job = world
        .store
        .job_claim(
            &["event_publish"],
            OffsetDateTime::now_utc(),
            medmesh_store::JOB_LEASE,
            1,
        )
        .await
        .unwrap();
    assert!(
        world
            .store
            .job_failed(&job[0], "broker_refused", None)
            .await
            .unwrap()
    );
    let dead = world.store.job_list(Some(true), None, 10).await.unwrap();
    assert_eq!(dead[0].kind, "event_publish");
    // Mended, and tried again as `medmesh jobs retry` does.
    let bind = lapin::options::QueueBindOptions::default();
    channel
        .queue_bind(
            "medmesh.events".into(),
            "medmesh.events".into(),
            "#".into(),
            bind,
            arguments(),
        )
        .await
        .unwrap();
    consume(url).await;
    world
        .store
        .job_retry(dead[0].id, OffsetDateTime::now_utc())
        .await
        .unwrap();
    let drain = Drain::new();
    let handlers = super::handlers(Some(&unbound), Handlers::default());
    let metrics = JobMetrics::new(&Registry::new());
    drain.spawn(jobs::work(world.store.clone(), handlers, metrics, drain.clone()));
    eventually(async || world.store.job_list(None, None, 10).await.unwrap().is_empty()).await;
    let (ids, _) = consume(url).await;
    assert_eq!(ids, [work.event.event_id.to_string()]);
    assert_eq!(drain.finish(Duration::from_secs(30)).await, 0);
}
