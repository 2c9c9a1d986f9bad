//! Bookings against a model, one at a time and all at once.

use std::collections::HashMap;

use medmesh_base::AppointmentId;
use medmesh_clinic::{Actor, Slot, Version};
use medmesh_store::{AppointmentChange, NewAppointment, StoreError};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use time::Duration;

use crate::support::{World, slot, world};

/// Half hours of one case's day that people compete for.
const DAY: i64 = 12;

#[derive(Clone, Copy, Debug)]
enum Op {
    Book {
        patient: usize,
        clinician: usize,
        at: i64,
        length: i64,
    },
    Move {
        which: usize,
        at: i64,
        length: i64,
    },
    Cancel {
        which: usize,
    },
}

fn op() -> impl Strategy<Value = Op> {
    let span = (0..DAY, 1..4_i64);
    prop_oneof![
        3 => (0..2_usize, 0..2_usize, span.clone())
            .prop_map(|(patient, clinician, (at, length))| Op::Book { patient, clinician, at, length }),
        2 => (0..8_usize, span).prop_map(|(which, (at, length))| Op::Move { which, at, length }),
        1 => (0..8_usize).prop_map(|which| Op::Cancel { which }),
    ]
}

/// One appointment as the model has it.
#[derive(Clone, Copy, Debug)]
struct Booked {
    id: AppointmentId,
    patient: usize,
    clinician: usize,
    slot: Slot,
    version: Version,
    open: bool,
}

impl Booked {
    fn clashes(&self, patient: usize, clinician: usize, slot: &Slot) -> bool {
        let shared = self.patient == patient || self.clinician == clinician;
        self.open && shared && self.slot.overlaps(slot)
    }
}

/// Cases do not meet: each has a day of its own.
fn span(case: i64, at: i64, length: i64) -> Slot {
    let starts_at = slot(at).starts_at() + Duration::days(case);
    Slot::new(starts_at, starts_at + Duration::minutes(30 * length)).unwrap()
}

fn new(world: &World, patient: usize, clinician: usize, slot: Slot) -> NewAppointment {
    let people = world.people;
    NewAppointment {
        patient_id: [people.patient, people.other_patient][patient].person_id,
        clinician_id: [people.clinician, people.colleague][clinician].person_id,
        slot,
        reason: None,
        segment: medmesh_clinic::Segment::General,
    }
}

fn to(slot: Slot) -> AppointmentChange {
    AppointmentChange {
        starts_at: Some(slot.starts_at()),
        ends_at: Some(slot.ends_at()),
        reason: None,
        segment: None,
    }
}

fn run_cases(cases: u32, ops: usize, test: impl Fn(&World, &tokio::runtime::Runtime, i64, Vec<Op>)) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let world = runtime.block_on(world());
    let case = std::cell::Cell::new(0);
    let config = Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    };
    TestRunner::new(config)
        .run(&prop::collection::vec(op(), 1..ops), |ops| {
            case.set(case.get() + 1);
            test(&world, &runtime, case.get(), ops);
            Ok(())
        })
        .unwrap();
    runtime.block_on(check_invariants(&world));
}

#[test]
fn one_at_a_time_the_store_says_what_the_model_says() {
    run_cases(24, 24, |world, runtime, case, ops| {
        let mut model: Vec<Booked> = Vec::new();
        for op in ops {
            runtime.block_on(step(world, case, op, &mut model));
        }
    });
}

async fn step(world: &World, case: i64, op: Op, model: &mut Vec<Booked>) {
    let mut tx = world.begin(world.people.admin).await;
    match op {
        Op::Book {
            patient,
            clinician,
            at,
            length,
        } => {
            let slot = span(case, at, length);
            let clash = model
                .iter()
                .any(|booked| booked.clashes(patient, clinician, &slot));
            match tx.appointment_create(&new(world, patient, clinician, slot)).await {
                Ok(made) if !clash => {
                    tx.commit().await.unwrap();
                    let (id, version) = (made.id, made.version);
                    model.push(Booked {
                        id,
                        patient,
                        clinician,
                        slot,
                        version,
                        open: true,
                    });
                }
                Err(StoreError::SlotTaken) if clash => {}
                other => panic!("{op:?} gave {other:?}, clash: {clash}"),
            }
        }
        Op::Move { which, at, length } => {
            let Some(at_hand) = model.get(which).copied() else {
                return;
            };
            let slot = span(case, at, length);
            let clash = model
                .iter()
                .enumerate()
                .any(|(n, other)| n != which && other.clashes(at_hand.patient, at_hand.clinician, &slot));
            match tx
                .appointment_update(at_hand.id, at_hand.version, &to(slot))
                .await
            {
                Ok(moved) if at_hand.open && !clash => {
                    tx.commit().await.unwrap();
                    model[which] = Booked {
                        slot,
                        version: moved.version,
                        ..at_hand
                    };
                }
                Err(StoreError::SlotTaken) if at_hand.open && clash => {}
                Err(StoreError::Refused(_)) if !at_hand.open => {}
                other => panic!("{op:?} gave {other:?}, clash: {clash}, open: {}", at_hand.open),
            }
        }
        Op::Cancel { which } => {
            let Some(at_hand) = model.get(which).copied() else {
                return;
            };
            match tx.appointment_cancel(at_hand.id, at_hand.version, None).await {
                Ok(gone) if at_hand.open => {
                    tx.commit().await.unwrap();
                    model[which] = Booked {
                        open: false,
                        version: gone.version,
                        ..at_hand
                    };
                }
                Err(StoreError::Refused(_)) if !at_hand.open => {}
                other => panic!("{op:?} gave {other:?}, open: {}", at_hand.open),
            }
        }
    }
}

#[test]
fn all_at_once_nobody_is_in_two_places() {
    run_cases(8, 60, |world, runtime, case, ops| {
        let acknowledged = runtime.block_on(storm(world, case, ops));
        runtime.block_on(check_acknowledged(world, &acknowledged));
    });
}

/// Runs every operation at once. Gives the last version that was acknowledged
/// for each appointment. Nothing but the expected answers may come, which also
/// says that no two waited for each other.
async fn storm(world: &World, case: i64, ops: Vec<Op>) -> HashMap<AppointmentId, Version> {
    let mut seeded = Vec::new();
    for n in 0..4_usize {
        let mut tx = world.begin(world.people.admin).await;
        let at = i64::try_from(n).unwrap() * 3;
        let made = tx
            .appointment_create(&new(world, n % 2, n % 2, span(case, at, 1)))
            .await
            .unwrap();
        tx.commit().await.unwrap();
        seeded.push(made);
    }
    let outcomes = futures::future::join_all(ops.into_iter().map(|op| {
        let target = |which: usize| &seeded[which % seeded.len()];
        async move {
            let actor = Actor::Person(world.people.admin);
            let request = medmesh_base::RequestId::generate();
            let mut tx = world.store.begin(world.clinic, actor, request).await?;
            let done = match op {
                Op::Book {
                    patient,
                    clinician,
                    at,
                    length,
                } => {
                    tx.appointment_create(&new(world, patient, clinician, span(case, at, length)))
                        .await?
                }
                Op::Move { which, at, length } => {
                    let known = tx.appointment_get(target(which).id).await?;
                    tx.appointment_update(known.id, known.version, &to(span(case, at, length)))
                        .await?
                }
                Op::Cancel { which } => {
                    let known = tx.appointment_get(target(which).id).await?;
                    tx.appointment_cancel(known.id, known.version, None).await?
                }
            };
            tx.commit().await?;
            Ok::<_, StoreError>((done.id, done.version))
        }
    }))
    .await;
    let mut acknowledged: HashMap<_, _> = seeded.iter().map(|made| (made.id, made.version)).collect();
    for outcome in outcomes {
        match outcome {
            Ok((id, version)) => {
                let last = acknowledged.entry(id).or_insert(version);
                *last = version.max(*last);
            }
            Err(StoreError::SlotTaken | StoreError::VersionMismatch { .. } | StoreError::Refused(_)) => {}
            Err(other) => panic!("{other:?}"),
        }
    }
    acknowledged
}

async fn check_acknowledged(world: &World, acknowledged: &HashMap<AppointmentId, Version>) {
    let mut tx = world.begin(world.people.admin).await;
    for (id, version) in acknowledged {
        assert_eq!(tx.appointment_get(*id).await.unwrap().version, *version);
    }
}

/// What must hold whatever happened: no two booked appointments share a person
/// and an instant, and claims are exactly the booked appointments' people and times.
async fn check_invariants(world: &World) {
    let overlaps = "SELECT count(*) FROM appointment a JOIN appointment b ON a.id < b.id
        AND ARRAY[a.patient_id, a.clinician_id] && ARRAY[b.patient_id, b.clinician_id]
        AND tstzrange(a.starts_at, a.ends_at) && tstzrange(b.starts_at, b.ends_at)
        WHERE a.status = 'booked' AND b.status = 'booked'";
    assert_eq!(world.count(overlaps).await, 0);
    let strays = "SELECT count(*) FROM (
        SELECT id, unnest(ARRAY[patient_id, clinician_id]) AS person, tstzrange(starts_at, ends_at) AS during
        FROM appointment WHERE status = 'booked') wanted
        FULL JOIN slot_claim c
            ON (c.appointment_id, c.person_id, c.during) = (wanted.id, wanted.person, wanted.during)
        WHERE c.person_id IS NULL OR wanted.person IS NULL";
    assert_eq!(world.count(strays).await, 0);
    assert!(
        world.count("SELECT count(*) FROM slot_claim").await > 0,
        "something was booked at all"
    );
}
