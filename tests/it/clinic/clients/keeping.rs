//! Keys change while requests run, and what an admin takes away is gone with the next request.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use medmesh_api_client::{Clinic, IdempotencyKey, Machine};
use medmesh_api_types::appointment::AppointmentQuery;
use medmesh_api_types::client::{
    Client, ClientCreate, ClientQuery, ClientScope, ClientUpdate, Jwks, TokenErrorCode,
};
use medmesh_base::ProblemCode;
use medmesh_tests::control::{TestClinic, Wishes};
use serde_json::{Map, Value, json};

use super::{CALENDAR, Pkcs8, jwks, machine, no_token, register};
use crate::clinic::{World, refused};

fn keys(keys: &[&Pkcs8]) -> ClientUpdate {
    ClientUpdate {
        jwks: Some(jwks(keys)),
        ..ClientUpdate::default()
    }
}

async fn list(clinic: &Clinic) -> Result<(), ProblemCode> {
    let listed = clinic.appointment_list(&AppointmentQuery::default()).await;
    match listed {
        Ok(_) => Ok(()),
        failed => Err(refused(failed)),
    }
}

/// Asks without a pause until told to stop; gives how often.
async fn keep_asking(machine: Machine, stop: Arc<AtomicBool>, asked: Arc<AtomicU64>) {
    while !stop.load(Ordering::Relaxed) {
        let clinic = machine.clinic().await.unwrap();
        assert_eq!(list(&clinic).await, Ok(()));
        asked.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_change_without_a_request_failing() {
    let (world, second) = World::of_two(&Wishes::default()).await;
    let admin = world.signed_in("admin").await;
    let mut present = Pkcs8::es384("key-0");
    let mut client = register(&admin, &CALENDAR, &[&present]).await;
    for next in [
        Pkcs8::rs384("key-1"),
        Pkcs8::es384("key-2"),
        Pkcs8::es384("key-3"),
    ] {
        let (stop, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let under = |key: &Pkcs8| machine(&second, client.id, key);
        let before = under(&present);
        let old = before.clinic().await.unwrap();
        let running = tokio::spawn(keep_asking(before, stop.clone(), asked.clone()));
        // The next key is good beside the present one; what was obtained with that goes on.
        client = admin
            .client_update(client.id, client.version, &keys(&[&present, &next]))
            .await
            .unwrap();
        assert_eq!(client.jwks.keys.len(), 2);
        let (stop_next, asked_next) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let running_next = tokio::spawn(keep_asking(
            machine(&second, client.id, &next),
            stop_next.clone(),
            asked_next.clone(),
        ));
        wait_for(&asked, 5).await;
        wait_for(&asked_next, 5).await;
        // The machine stops using the old one, then it goes, and nothing obtained with it is left.
        stop.store(true, Ordering::Relaxed);
        running.await.unwrap();
        assert_eq!(list(&old).await, Ok(()));
        client = admin
            .client_update(client.id, client.version, &keys(&[&next]))
            .await
            .unwrap();
        assert_eq!(list(&old).await, Err(ProblemCode::Unauthenticated));
        let more = asked_next.load(Ordering::Relaxed) + 5;
        wait_for(&asked_next, more).await;
        stop_next.store(true, Ordering::Relaxed);
        running_next.await.unwrap();
        let gone = machine(&second, client.id, &present).token().await;
        assert_eq!(no_token(gone), TokenErrorCode::InvalidClient);
        present = next;
    }
    let acts: Vec<String> = sqlx::query_scalar(
        "SELECT action FROM audit WHERE object_id = $1 AND actor_kind = 'person' ORDER BY id",
    )
    .bind(client.id.as_uuid())
    .fetch_all(&mut world.admin().await)
    .await
    .unwrap();
    assert_eq!(
        acts.iter().filter(|act| *act == "client_keys_update").count(),
        6,
        "{acts:?}"
    );
}

async fn wait_for(asked: &AtomicU64, count: u64) {
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(60);
    while asked.load(Ordering::Relaxed) < count {
        assert!(tokio::time::Instant::now() < deadline, "requests go on");
        tokio::task::yield_now().await;
    }
}

/// The same name for other numbers is another key: what was obtained with the one before ends.
#[tokio::test]
async fn what_is_taken_away_is_gone_with_the_next_request_on_every_node() {
    let (world, second) = World::of_two(&Wishes::default()).await;
    let admin = world.signed_in("admin").await;
    let (key, same_name) = (Pkcs8::es384("one"), Pkcs8::es384("one"));
    let mut client = register(&admin, &CALENDAR, &[&key]).await;
    let mut change = async |update: &ClientUpdate| {
        client = admin
            .client_update(client.id, client.version, update)
            .await
            .unwrap();
        client.clone()
    };
    let id = change(&ClientUpdate::default()).await.id;
    let here = machine(&world.node, id, &key).clinic().await.unwrap();
    let there = machine(&second, id, &key).clinic().await.unwrap();
    let both = [&here, &there];

    // A scope less: from the next request on, though the tokens were given for it.
    change(&ClientUpdate {
        scopes: Some(vec![ClientScope::AppointmentWrite]),
        ..ClientUpdate::default()
    })
    .await;
    for clinic in both {
        assert_eq!(list(clinic).await, Err(ProblemCode::Forbidden));
    }
    // One more than a token was given for does not come to it.
    change(&ClientUpdate {
        scopes: Some(vec![ClientScope::AppointmentRead, ClientScope::PersonRead]),
        ..ClientUpdate::default()
    })
    .await;
    assert_eq!(list(&here).await, Ok(()));
    let people = here
        .person_list(&medmesh_api_types::person::PersonQuery::default())
        .await;
    assert_eq!(refused(people), ProblemCode::Forbidden);

    let enabled = |enabled| ClientUpdate {
        enabled: Some(enabled),
        ..ClientUpdate::default()
    };
    change(&enabled(false)).await;
    for clinic in both {
        assert_eq!(list(clinic).await, Err(ProblemCode::Unauthenticated));
    }
    assert_eq!(
        no_token(machine(&second, id, &key).token().await),
        TokenErrorCode::InvalidClient
    );
    // Let in again, it begins anew.
    change(&enabled(true)).await;
    for clinic in both {
        assert_eq!(list(clinic).await, Err(ProblemCode::Unauthenticated));
    }
    let anew = machine(&second, id, &key).clinic().await.unwrap();
    assert_eq!(list(&anew).await, Ok(()));

    change(&keys(&[&same_name])).await;
    assert_eq!(list(&anew).await, Err(ProblemCode::Unauthenticated));
    assert_eq!(
        no_token(machine(&second, id, &key).token().await),
        TokenErrorCode::InvalidClient
    );
    let last = machine(&second, id, &same_name).clinic().await.unwrap();
    assert_eq!(list(&last).await, Ok(()));
    // Its time over, it is gone too, and swept.
    let mut database = world.admin().await;
    sqlx::query("UPDATE oauth_token SET expires_at = now() - interval '1 second'")
        .execute(&mut database)
        .await
        .unwrap();
    assert_eq!(list(&last).await, Err(ProblemCode::Unauthenticated));
    let store = world.scratch.store(1).await.unwrap();
    let swept = store.upkeep(time::OffsetDateTime::now_utc()).await.unwrap();
    assert_eq!(swept.tokens, 1);
    store.close().await;
}

#[tokio::test]
async fn machines_are_the_admin_s_of_their_clinic_who_has_just_proved_themselves() {
    let world = World::new().await;
    let other = TestClinic::open(&world.scratch, "hillside").await;
    let (admin, key) = (world.signed_in("admin").await, Pkcs8::es384("one"));
    let new = ClientCreate {
        name: "Riverside EHR".to_owned(),
        scopes: CALENDAR.to_vec(),
        jwks: jwks(&[&key]),
    };
    for login in ["clinician", "patient"] {
        let person = world.signed_in(login).await;
        let made = person.client_create(&IdempotencyKey::fresh(), &new).await;
        assert_eq!(refused(made), ProblemCode::Forbidden);
        assert_eq!(
            refused(person.client_list(&ClientQuery::default()).await),
            ProblemCode::Forbidden
        );
    }
    let client = register(&admin, &CALENDAR, &[&key]).await;
    assert_eq!(admin.client_get(client.id).await.unwrap(), client);
    assert_eq!(
        admin.client_list(&ClientQuery::default()).await.unwrap().items,
        std::slice::from_ref(&client)
    );
    // In another clinic there is no such machine.
    let elsewhere = world.node.signed_in_as(&other, "admin").await;
    assert_eq!(
        refused(elsewhere.client_get(client.id).await),
        ProblemCode::NotFound
    );
    assert!(
        elsewhere
            .client_list(&ClientQuery::default())
            .await
            .unwrap()
            .items
            .is_empty()
    );
    let update = ClientUpdate {
        name: Some("Renamed".to_owned()),
        ..ClientUpdate::default()
    };
    let theirs = elsewhere.client_update(client.id, client.version, &update).await;
    assert_eq!(refused(theirs), ProblemCode::NotFound);
    let stale = admin.client_update(client.id, 9, &update).await;
    assert_eq!(refused(stale), ProblemCode::VersionMismatch);
    let renamed = admin
        .client_update(client.id, client.version, &update)
        .await
        .unwrap();
    assert_eq!((renamed.name.as_str(), renamed.version), ("Renamed", 2));

    sqlx::query("UPDATE session SET authenticated_at = now() - interval '1 hour'")
        .execute(&mut world.admin().await)
        .await
        .unwrap();
    let made = admin.client_create(&IdempotencyKey::fresh(), &new).await;
    assert_eq!(refused(made), ProblemCode::StepUpRequired);
    let changed = admin.client_update(client.id, renamed.version, &update).await;
    assert_eq!(refused(changed), ProblemCode::StepUpRequired);
    assert_eq!(admin.client_get(client.id).await.unwrap(), renamed);
}

#[tokio::test]
async fn keys_that_will_not_do_are_not_registered() {
    let world = World::new().await;
    let (admin, ec, rsa) = (
        world.signed_in("admin").await,
        Pkcs8::es384("ec"),
        Pkcs8::rs384("rsa"),
    );
    let (ec, rsa) = (ec.key().public_jwk(), rsa.key().public_jwk());
    let with = |key: &Map<String, Value>, change: Value| {
        let mut key = key.clone();
        key.extend(change.as_object().unwrap().clone());
        key
    };
    let swapped = json!({"x": ec["y"], "y": ec["x"]});
    let sets = [
        vec![],
        vec![with(&ec, json!({"d": "AA"}))],
        vec![with(&rsa, json!({"d": "AA"}))],
        // No point on the curve: it would only be found out when it is needed.
        vec![with(&ec, swapped)],
        vec![with(&ec, json!({"crv": "P-256"}))],
        vec![with(&rsa, json!({"alg": "RS256"}))],
        vec![with(&rsa, json!({"n": "AQAB"}))],
        vec![with(&ec, json!({"kid": null}))],
        vec![ec.clone(), ec.clone()],
        vec![
            json!({"kty": "oct", "kid": "k", "k": "c2VjcmV0"})
                .as_object()
                .unwrap()
                .clone(),
        ],
    ];
    for keys in sets {
        let new = ClientCreate {
            name: "Riverside EHR".to_owned(),
            scopes: CALENDAR.to_vec(),
            jwks: Jwks { keys },
        };
        let made = admin.client_create(&IdempotencyKey::fresh(), &new).await;
        assert_eq!(refused(made), ProblemCode::InvalidRequest, "{:?}", new.jwks);
    }
    for name in ["", "   "] {
        let new = ClientCreate {
            name: name.to_owned(),
            scopes: CALENDAR.to_vec(),
            jwks: Jwks {
                keys: vec![ec.clone()],
            },
        };
        let made = admin.client_create(&IdempotencyKey::fresh(), &new).await;
        assert_eq!(refused(made), ProblemCode::InvalidRequest);
    }
    let made: Vec<Client> = admin.client_list(&ClientQuery::default()).await.unwrap().items;
    assert!(made.is_empty());
}
