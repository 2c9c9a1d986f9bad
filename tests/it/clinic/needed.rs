//! Whom the clinic cannot do without is not erased: asked for, and when the time has come.

use medmesh_api_client::Clinic;
use medmesh_api_types::person::{PersonUpdate, Role};
use medmesh_api_types::rights::RecordRightsSet;
use medmesh_base::{PersonId, ProblemCode};
use medmesh_clinic::Refusal;
use medmesh_store::{Erased, Store};
use time::OffsetDateTime;

use super::{World, refused};

const GOES: RecordRightsSet = RecordRightsSet {
    restricted: false,
    erasure: true,
};
const STAYS: RecordRightsSet = RecordRightsSet {
    restricted: false,
    erasure: false,
};

/// Two admins who have a record here, too.
struct TwoAdmins {
    world: World,
    first: (PersonId, Clinic),
    second: (PersonId, Clinic),
}

impl TwoAdmins {
    async fn new() -> Self {
        let world = World::new().await;
        let both = PersonUpdate {
            roles: Some(vec![Role::Admin, Role::Patient]),
            active: None,
        };
        let (one, two) = (world.clinic.person("admin"), world.clinic.person("colleague"));
        let first = world.signed_in("admin").await;
        first.person_update(two, 1, &both).await.unwrap();
        let second = world.signed_in("colleague").await;
        second.person_update(one, 1, &both).await.unwrap();
        Self {
            world,
            first: (one, first),
            second: (two, second),
        }
    }

    async fn is_true(&self, sql: &'static str) -> bool {
        let mut database = self.world.admin().await;
        sqlx::query_scalar(sql).fetch_one(&mut database).await.unwrap()
    }

    /// Wishes of both, as if nobody had asked whether the clinic can do without them. No job looks at them.
    async fn both_wish(&self) {
        let sql = "INSERT INTO record_rights (clinic_id, patient_id, restricted_at, erasure_requested_at, retained_until)
            SELECT clinic_id, id, now(), now(), now() FROM person WHERE id = $1";
        for person in [self.first.0, self.second.0] {
            let query = sqlx::query(sql).bind(person.as_uuid());
            query.execute(&mut self.world.admin().await).await.unwrap();
        }
    }

    async fn erase(&self, store: &Store, person: PersonId) -> Erased {
        let now = OffsetDateTime::now_utc();
        store
            .record_erase(self.world.clinic.id, person, now)
            .await
            .unwrap()
    }
}

const ASKED: &str = "SELECT count(*) = 1 FROM record_rights WHERE erasure_requested_at IS NOT NULL";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_admins_who_ask_to_go_at_the_same_moment_one_is_refused() {
    let two = TwoAdmins::new().await;
    // The retention of what they have here; without it a job would be as fast as the second question.
    let (one, other) = ((&two.first.1, two.first.0), (&two.second.1, two.second.0));
    sqlx::query(
        "INSERT INTO appointment (clinic_id, id, patient_id, clinician_id, starts_at, ends_at, status, created_at)
         SELECT clinic_id, gen_random_uuid(), id, $1, now() - interval '2 hours', now() - interval '1 hour',
             'completed', now()
         FROM person WHERE id = ANY ($2)",
    )
    .bind(two.world.clinic.person("clinician").as_uuid())
    .bind(vec![one.1.as_uuid(), other.1.as_uuid()])
    .execute(&mut two.world.admin().await)
    .await
    .unwrap();
    let (a, b) = tokio::join!(
        one.0.record_rights_set(one.1, 0, GOES),
        other.0.record_rights_set(other.1, 0, GOES),
    );
    assert!(a.is_ok() != b.is_ok(), "{a:?} {b:?}");
    let (stays, goes) = if a.is_ok() { (other, one) } else { (one, other) };
    assert!(two.is_true(ASKED).await);
    let again = stays.0.record_rights_set(stays.1, 0, GOES).await;
    assert_eq!(refused(again), ProblemCode::StateConflict);
    // Rest may be asked for by everybody; and who stays after all makes room for the other.
    let rests = RecordRightsSet {
        restricted: true,
        erasure: false,
    };
    let resting = stays.0.record_rights_set(stays.1, 0, rests).await.unwrap();
    goes.0.record_rights_set(goes.1, 1, STAYS).await.unwrap();
    stays
        .0
        .record_rights_set(stays.1, resting.version, GOES)
        .await
        .unwrap();
    assert!(two.is_true(ASKED).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_admins_whose_time_has_come_at_the_same_moment_one_waits() {
    let two = TwoAdmins::new().await;
    two.both_wish().await;
    let store = two.world.scratch.store(4).await.unwrap();
    let (a, b) = tokio::join!(two.erase(&store, two.first.0), two.erase(&store, two.second.0));
    let needed = Erased::Needed(Refusal::LastAdmin);
    assert!(
        [(Erased::Now, needed), (needed, Erased::Now)].contains(&(a, b)),
        "{a:?} {b:?}"
    );
    let left = if a == needed { two.first.0 } else { two.second.0 };
    let waits = "SELECT count(*) = 1 AND min(due_at) > now() + interval '23 hours' FROM job WHERE kind = 'record_erase'";
    assert!(two.is_true(waits).await, "it is looked again tomorrow");
    let kept = "SELECT count(*) = 1 FROM person p JOIN person_role r ON r.person_id = p.id AND r.role = 'admin'
        WHERE p.active AND p.erased_at IS NULL AND EXISTS (SELECT FROM patient_key k WHERE k.patient_id = p.id)";
    assert!(two.is_true(kept).await);
    let told = "SELECT count(*) = 1 FROM job WHERE kind = 'erasure_held'";
    assert!(two.is_true(told).await, "they are told");
    let logged =
        "SELECT count(*) = 1 AND bool_and(actor_kind = 'upkeep' AND patient_id IS NOT NULL) FROM audit
        WHERE action = 'record_erase_hold'";
    assert!(two.is_true(logged).await, "and the log says so");
    assert_eq!(two.erase(&store, left).await, needed, "still");
    assert!(two.is_true(told).await, "one mail that waits is enough");
    // Another admin, and they may go.
    let client = if left == two.first.0 {
        &two.first.1
    } else {
        &two.second.1
    };
    let admin = PersonUpdate {
        roles: Some(vec![Role::Clinician, Role::Admin]),
        active: None,
    };
    let next = two.world.clinic.person("clinician");
    client.person_update(next, 1, &admin).await.unwrap();
    assert_eq!(two.erase(&store, left).await, Erased::Now);
    assert_eq!(two.erase(&store, left).await, Erased::Before);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_privacy_officer_is_replaced_before_they_are_erased() {
    let two = TwoAdmins::new().await;
    let (officer, client) = &two.second;
    let named = two.first.1.privacy_officer_set(*officer, 0).await.unwrap();
    let asked = client.record_rights_set(*officer, 0, GOES).await;
    assert_eq!(refused(asked), ProblemCode::StateConflict);
    two.both_wish().await;
    let store = two.world.scratch.store(2).await.unwrap();
    assert_eq!(
        two.erase(&store, *officer).await,
        Erased::Needed(Refusal::StillOfficer)
    );
    // The officer, who is asked to hand over, and the other admin, who can name somebody.
    let told = "SELECT count(*) = 2 AND count(DISTINCT payload->>'person_id') = 2 FROM job WHERE kind = 'erasure_held'";
    assert!(two.is_true(told).await);
    // Not every day: a week later again.
    let later = async |days: i64| {
        let now = OffsetDateTime::now_utc() + time::Duration::days(days);
        let clear = "DELETE FROM job WHERE kind = 'erasure_held'";
        sqlx::query(clear)
            .execute(&mut two.world.admin().await)
            .await
            .unwrap();
        store
            .record_erase(two.world.clinic.id, *officer, now)
            .await
            .unwrap()
    };
    assert_eq!(later(1).await, Erased::Needed(Refusal::StillOfficer));
    assert!(
        two.is_true("SELECT NOT EXISTS (SELECT FROM job WHERE kind = 'erasure_held')")
            .await
    );
    assert_eq!(later(7).await, Erased::Needed(Refusal::StillOfficer));
    assert!(two.is_true(told).await);
    let next = two.world.clinic.person("clinician");
    two.first
        .1
        .privacy_officer_set(next, named.version)
        .await
        .unwrap();
    assert_eq!(two.erase(&store, *officer).await, Erased::Now);
    store.close().await;
}
