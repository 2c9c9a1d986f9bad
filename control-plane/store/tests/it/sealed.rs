//! What is in the tables is ciphertext, bound to its place; and without keys there is nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use medmesh_base::ProblemCode;
use medmesh_store::{Column, Keyring, KeyringSettings, PageRequest, Store, StoreError};
use medmesh_vault::kms::{Context, Wrapped};
use medmesh_vault::{DataKey, Kms, KmsError};
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use crate::support::{World, add_clinic, slot, slot_now, world};

/// Runs SQL behind the scenes and says how many rows it touched.
async fn tamper(world: &World, sql: &str) -> u64 {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
        .execute(&mut world.admin().await)
        .await
        .unwrap()
        .rows_affected()
}

fn is_refused<T: std::fmt::Debug>(result: Result<T, StoreError>) -> bool {
    match result {
        Err(error @ StoreError::Internal(_)) => {
            assert_eq!(error.problem(), ProblemCode::Internal);
            error.to_string().contains("does not open") || error.to_string().contains("unexpected content")
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_ciphertext_opens_in_its_own_place_alone() {
    let world = world().await;
    let (other_clinic, other_people) = add_clinic(&world.scratch, &world.store, "b").await;
    let first = world.book(slot(0)).await;
    let second = world.book(slot(2)).await;
    let (id, other) = (first.id.as_uuid(), second.id.as_uuid());
    let patient = world.people.patient.person_id.as_uuid();
    let stranger = world.people.other_patient.person_id.as_uuid();
    let abroad = other_people.patient.person_id.as_uuid();
    let clinician = world.people.clinician.person_id.as_uuid();
    let original: Vec<u8> = reason(&world, id).await;

    // Read and put back: the harness itself does no harm.
    assert_eq!(set_reason(&world, id, &original).await, 1);
    assert!(read(&world, &first).await.is_ok());

    let moved = reason(&world, other).await;
    let name_of = |person: Uuid| format!("SELECT display_name FROM person WHERE id = '{person}'");
    let mut forged: Vec<(&str, Vec<u8>)> = vec![
        ("another row of the same patient", moved),
        ("another column", value(&world, &name_of(patient)).await),
        ("another patient", value(&world, &name_of(stranger)).await),
        ("another clinic", value(&world, &name_of(abroad)).await),
        ("staff", value(&world, &name_of(clinician)).await),
        ("truncated", original[..original.len() - 1].to_vec()),
        ("truncated to a header", original[..34].to_vec()),
        ("nothing", Vec::new()),
        ("plain text", b"a very private reason, in plain".to_vec()),
    ];
    let (head, body) = original.split_at(18);
    let mut reordered = body.to_vec();
    reordered.rotate_left(16);
    forged.push(("reordered", [head, &reordered].concat()));
    for at in [0, 1, 5, 8, 20, original.len() - 1] {
        let mut flipped = original.clone();
        flipped[at] ^= 1;
        forged.push(("a bit flipped", flipped));
    }
    for (what, bytes) in &forged {
        set_reason(&world, id, bytes).await;
        assert!(is_refused(read(&world, &first).await), "{what}");
    }

    // Rolled back: the row moved on, the old ciphertext comes back.
    set_reason(&world, id, &original).await;
    let mut tx = world.begin(world.people.clinician).await;
    let change = medmesh_store::AppointmentChange {
        reason: Some("another reason".parse().unwrap()),
        ..Default::default()
    };
    let changed = tx
        .appointment_update(first.id, first.version, &change)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    assert!(read(&world, &changed).await.is_ok());
    set_reason(&world, id, &original).await;
    assert!(is_refused(read(&world, &changed).await), "rolled back");

    // A key moved to another patient, or a clinic's to another clinic, opens nothing.
    let swap = format!(
        "UPDATE patient_key k SET wrapped = o.wrapped FROM patient_key o
         WHERE k.patient_id = '{stranger}' AND o.patient_id = '{patient}'"
    );
    assert_eq!(tamper(&world, &swap).await, 1);
    world.store.keyring().forget();
    let mut tx = world.begin(world.people.clinician).await;
    assert!(
        is_refused(tx.person_list(None, PageRequest::default()).await),
        "key of another patient"
    );
    drop(tx);
    let swap = format!(
        "UPDATE clinic_key k SET wrapped = o.wrapped FROM clinic_key o
         WHERE k.clinic_id = '{}' AND o.clinic_id = '{other_clinic}'",
        world.clinic
    );
    assert_eq!(tamper(&world, &swap).await, 1);
    world.store.keyring().forget();
    let mut tx = world.begin(world.people.clinician).await;
    let refused = tx.person_list(None, PageRequest::default()).await;
    assert!(
        matches!(refused, Err(StoreError::Unavailable(_))),
        "key of another clinic: {refused:?}"
    );
}

async fn value(world: &World, sql: &str) -> Vec<u8> {
    sqlx::query_scalar(AssertSqlSafe(sql.to_owned()))
        .fetch_one(&mut world.admin().await)
        .await
        .unwrap()
}

async fn reason(world: &World, appointment: Uuid) -> Vec<u8> {
    value(
        world,
        &format!("SELECT reason FROM appointment WHERE id = '{appointment}'"),
    )
    .await
}

async fn set_reason(world: &World, appointment: Uuid, bytes: &[u8]) -> u64 {
    sqlx::query("UPDATE appointment SET reason = $2 WHERE id = $1")
        .bind(appointment)
        .bind(bytes)
        .execute(&mut world.admin().await)
        .await
        .unwrap()
        .rows_affected()
}

async fn read(
    world: &World,
    appointment: &medmesh_clinic::Appointment,
) -> Result<medmesh_clinic::Appointment, StoreError> {
    let mut tx = world.begin(world.people.clinician).await;
    tx.appointment_get(appointment.id).await
}

/// A real KMS behind a wire that can be cut.
#[derive(Debug)]
struct Cut {
    kms: Arc<dyn Kms>,
    is_cut: AtomicBool,
}

impl Cut {
    fn check(&self) -> Result<(), KmsError> {
        if self.is_cut.load(Ordering::SeqCst) {
            return Err(KmsError::Unavailable("cut".into()));
        }
        Ok(())
    }
}

impl Kms for Cut {
    fn name(&self) -> &'static str {
        "cut"
    }
    fn generate(&self, context: Context) -> BoxFuture<'_, Result<(DataKey, Wrapped), KmsError>> {
        Box::pin(async move {
            self.check()?;
            self.kms.generate(context).await
        })
    }
    fn wrap<'a>(&'a self, context: Context, key: &'a DataKey) -> BoxFuture<'a, Result<Wrapped, KmsError>> {
        Box::pin(async move {
            self.check()?;
            self.kms.wrap(context, key).await
        })
    }
    fn unwrap<'a>(
        &'a self,
        context: Context,
        wrapped: &'a Wrapped,
    ) -> BoxFuture<'a, Result<DataKey, KmsError>> {
        Box::pin(async move {
            self.check()?;
            self.kms.unwrap(context, wrapped).await
        })
    }
    fn rewrap<'a>(
        &'a self,
        context: Context,
        wrapped: &'a Wrapped,
    ) -> BoxFuture<'a, Result<Wrapped, KmsError>> {
        Box::pin(async move {
            self.check()?;
            self.kms.rewrap(context, wrapped).await
        })
    }
    fn rotate(&self) -> BoxFuture<'_, Result<(), KmsError>> {
        self.kms.rotate()
    }
    fn root(&self) -> BoxFuture<'_, Result<String, KmsError>> {
        self.kms.root()
    }
}

#[tokio::test]
async fn without_the_kms_keys_last_for_their_time_and_then_nothing_is_read_or_written() {
    let world = world().await;
    let cut = Arc::new(Cut {
        kms: world.scratch.keyring().kms().clone(),
        is_cut: AtomicBool::new(false),
    });
    let keyring = Keyring::new(cut.clone(), KeyringSettings::default());
    let store = Store::connect(&world.scratch.service_url, 4, keyring)
        .await
        .unwrap();
    let begin = |caller| {
        let (store, clinic) = (store.clone(), world.clinic);
        async move {
            let actor = medmesh_clinic::Actor::Person(caller);
            let request = medmesh_base::RequestId::generate();
            store.begin(clinic, actor, request).await.unwrap()
        }
    };
    let booked = world.book(slot_now()).await;
    let mut tx = begin(world.people.clinician).await;
    tx.appointment_get(booked.id).await.unwrap();
    drop(tx);

    cut.is_cut.store(true, Ordering::SeqCst);
    let mut tx = begin(world.people.clinician).await;
    tx.appointment_get(booked.id)
        .await
        .expect("keys in memory still work");
    tx.message_create(booked.visit_id, &"while the KMS is away".parse().unwrap())
        .await
        .expect("for writing too");
    tx.commit().await.unwrap();

    store.keyring().forget(); // as when their time is over
    let rows = world.count("SELECT count(*) FROM message").await;
    let mut tx = begin(world.people.clinician).await;
    let read = tx.appointment_get(booked.id).await;
    assert!(matches!(read, Err(StoreError::Unavailable(_))), "{read:?}");
    drop(tx);
    let mut tx = begin(world.people.clinician).await;
    let written = tx
        .message_create(booked.visit_id, &"never in plain text".parse().unwrap())
        .await;
    let error = written.unwrap_err();
    assert_eq!(error.problem(), ProblemCode::Unavailable);
    drop(tx);
    assert_eq!(world.count("SELECT count(*) FROM message").await, rows);
    // What needs no key goes on.
    let mut tx = begin(world.people.clinician).await;
    tx.visit_pulse(booked.visit_id).await.unwrap();
    drop(tx);

    cut.is_cut.store(false, Ordering::SeqCst);
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    loop {
        let mut tx = begin(world.people.clinician).await;
        match tx.appointment_get(booked.id).await {
            Ok(_) => break,
            Err(error) => assert_eq!(error.problem(), ProblemCode::Unavailable),
        }
        assert!(tokio::time::Instant::now() < deadline, "it comes back by itself");
        tokio::task::yield_now().await;
    }
}

/// The columns the code calls sealed are bytes, and no text column is left that could hold a name.
#[tokio::test]
async fn sealed_columns_hold_bytes() {
    let world = world().await;
    for column in Column::ALL {
        let (table, name) = column.names();
        let found: String = sqlx::query_scalar(
            "SELECT format_type(atttypid, atttypmod) FROM pg_attribute
             WHERE attrelid = to_regclass($1) AND attname = $2",
        )
        .bind(table)
        .bind(name)
        .fetch_one(&mut world.admin().await)
        .await
        .unwrap();
        assert_eq!(found, "bytea", "{}", column.path());
    }
}
