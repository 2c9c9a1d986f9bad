//! Writes with their leaves per second, beside what `pgbench` inserts.

use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use futures::future::BoxFuture;
use medmesh_base::drain::Drain;
use medmesh_base::{ClinicId, RequestId, SessionId, VisitId};
use medmesh_clinic::{Actor, Caller, Clinic, Locale, NewPerson, Role, Roles, Segment, Slot};
use medmesh_control::audit::{AuditMetrics, Publisher, Shelf, Witness, sequence};
use medmesh_ledger::{AuditAlarm, AuditLog, Command as LedgerCommand, Response, State};
use medmesh_store::seed::{Seed, SeedPerson};
use medmesh_store::{NewAppointment, PasswordHash};
use prometheus::Registry;
use time::OffsetDateTime;

use super::{CONNECTIONS, DATABASE, Options, Place, program};
use crate::report::{self, Better, Other, Row};

/// Nobody signs in with it.
const PHC: &str = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0$aGFzaA";
/// What a plain insert writes: as long as a sealed message.
const PLAIN_SQL: &str = "INSERT INTO plain (id, body) VALUES (gen_random_uuid(), repeat('x', 120));";

/// A log that takes longer does not keep up.
const CATCH_UP_MAX: Duration = Duration::from_secs(30);

/// A clinic with a visit under way for each connection.
pub(super) struct Busy {
    pub(super) id: ClinicId,
    visits: Vec<(Caller, VisitId)>,
}

fn person(name: &str, role: Role) -> anyhow::Result<SeedPerson> {
    Ok(SeedPerson {
        person: NewPerson {
            display_name: name.parse()?,
            email: format!("{name}@bench.test").parse()?,
            roles: Roles::only(role),
            locale: Locale::En,
        },
        password: PasswordHash::from_phc(PHC.to_owned()),
        totp: None,
        passkey: None,
        credentials: medmesh_clinic::credential::Claim::made_up(role),
    })
}

pub(super) async fn clinic(place: &Place) -> anyhow::Result<Busy> {
    let mut people = Vec::new();
    for n in 0..CONNECTIONS {
        people.push(person(&format!("clinician{n}"), Role::Clinician)?);
        people.push(person(&format!("patient{n}"), Role::Patient)?);
    }
    let seed = Seed {
        clinic: Clinic {
            id: ClinicId::generate(),
            name: "Bench".to_owned(),
            time_zone: "America/New_York".parse()?,
            home_region: "us-east".parse()?,
        },
        people,
        appointments: Vec::new(),
    };
    let seeded = place.store.seed(&place.owner_url(), &seed).await?;
    let mut visits = Vec::new();
    for pair in seeded.chunks_exact(2) {
        let login = place
            .store
            .login_lookup(&pair[0].email)
            .await?
            .context("seeded")?;
        let caller = Caller {
            account_id: login.memberships[0].account_id,
            person_id: pair[0].person_id,
            session_id: SessionId::generate(),
            roles: pair[0].roles,
            second_factor: true,
            stepped_up_at: None,
            licensed: medmesh_clinic::credential::LICENSED,
        };
        let now = OffsetDateTime::now_utc();
        let new = NewAppointment {
            patient_id: pair[1].person_id,
            clinician_id: pair[0].person_id,
            slot: Slot::new(now, now + time::Duration::hours(8))?,
            reason: None,
            segment: Segment::General,
        };
        let actor = Actor::Person(caller);
        let mut tx = place
            .store
            .begin(seed.clinic.id, actor, RequestId::generate())
            .await?;
        let visit = tx.appointment_create(&new).await?.visit_id;
        tx.visit_open(visit).await?;
        tx.commit().await?;
        visits.push((caller, visit));
    }
    Ok(Busy {
        id: seed.clinic.id,
        visits,
    })
}

pub(super) async fn row(place: &Place, busy: &Busy, options: &Options) -> anyhow::Result<Row> {
    let script = place.dir.path().join("insert.sql");
    std::fs::write(&script, PLAIN_SQL)?;
    sql(
        place,
        "CREATE TABLE plain (id uuid PRIMARY KEY, body text NOT NULL)",
    )?;
    let length = Duration::from_secs_f64(options.audit_seconds);
    let (drain, witness) = (Drain::new(), Arc::new(Voter::default()));
    let shelf = Shelf::local(&place.dir.path().join("objects"))?;
    let publisher = Publisher::new(place.store.clone(), place.keys.clone(), shelf, witness);
    let metrics = AuditMetrics::new(&Registry::new());
    drain.spawn(sequence(publisher, 1, metrics, drain.clone()));
    // One unmeasured round each.
    ours(place, busy, length / 4).await?;
    pgbench(place, &script, length / 4)?;
    let (mut us, mut peer) = (Vec::new(), Vec::new());
    for _ in 0..options.audit_runs {
        us.push(ours(place, busy, length).await?);
        caught_up(place).await?;
        peer.push(pgbench(place, &script, length)?);
    }
    drain.finish(Duration::from_secs(10)).await;
    Ok(Row {
        bench: format!("audit_writes_c{CONNECTIONS}"),
        unit: "writes/s".to_owned(),
        better: Better::Higher,
        us,
        peer: None,
        limit: Some(Other {
            name: "pgbench, one plain INSERT each".to_owned(),
            runs: peer,
        }),
    })
}

/// The ledger's own state machine; what agreeing costs is the `raft` bench's.
#[derive(Default)]
pub(super) struct Voter(Mutex<State>);

impl Witness for Voter {
    fn log(&self, clinic: ClinicId) -> Option<Arc<AuditLog>> {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.audit_logs.get(&clinic).cloned()
    }

    fn alarms(&self, _: ClinicId) -> Vec<AuditAlarm> {
        Vec::new()
    }

    fn propose(&self, command: LedgerCommand) -> BoxFuture<'_, Result<Response, String>> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let response = state.apply(&command).response;
        Box::pin(async move { Ok(response) })
    }
}

/// Until every leaf is under a signed head, so that `pgbench` has the machine for itself. Says how far
/// behind the log was.
async fn caught_up(place: &Place) -> anyhow::Result<()> {
    let behind = place.store.audit_backlog().await?;
    let began = Instant::now();
    loop {
        let backlog = place.store.audit_backlog().await?;
        if backlog.pending == 0 && backlog.unpublished == 0 {
            break;
        }
        anyhow::ensure!(
            began.elapsed() < CATCH_UP_MAX,
            "the log stays behind: {backlog:?}"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    report::print(&format!(
        "  {} leaves without a place and {} under no head at the end; all of them {:.1} s later",
        behind.pending,
        behind.unpublished,
        began.elapsed().as_secs_f64()
    ));
    Ok(())
}

/// Messages stored per second, each with its leaf.
async fn ours(place: &Place, busy: &Busy, length: Duration) -> anyhow::Result<f64> {
    let started = Instant::now();
    let mut workers = tokio::task::JoinSet::new();
    for (caller, visit) in busy.visits.clone() {
        let (store, clinic) = (place.store.clone(), busy.id);
        workers.spawn(async move {
            let body = "It began on Monday, and is worse in the evening.".parse()?;
            let mut written = 0_u64;
            while started.elapsed() < length {
                let actor = Actor::Person(caller);
                let mut tx = store.begin(clinic, actor, RequestId::generate()).await?;
                tx.message_create(visit, &body).await?;
                tx.commit().await?;
                written += 1;
            }
            anyhow::Ok(written)
        });
    }
    let mut written = 0;
    while let Some(worker) = workers.join_next().await {
        written += worker??;
    }
    // Counts stay far below 2^52.
    Ok(written as f64 / started.elapsed().as_secs_f64())
}

fn pgbench(place: &Place, script: &std::path::Path, length: Duration) -> anyhow::Result<f64> {
    let output = Command::new(program("pgbench"))
        .args(["-n", "-M", "prepared", "-f"])
        .arg(script)
        .args(["-c", &CONNECTIONS.to_string(), "-j", "2", "-T"])
        .arg(length.as_secs().max(1).to_string())
        .arg(place.admin_url())
        .output()
        .context("pgbench comes with postgresql")?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let rate = said
        .lines()
        .find_map(|line| line.strip_prefix("tps = ")?.split(' ').next());
    rate.and_then(|rate| rate.parse().ok()).with_context(|| {
        format!(
            "pgbench on {DATABASE}: {said}{}",
            String::from_utf8_lossy(&output.stderr)
        )
    })
}

/// Runs a statement as the administrator.
pub(super) fn sql(place: &Place, statement: &str) -> anyhow::Result<String> {
    let output = Command::new(program("psql"))
        .args(["-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", statement])
        .arg(place.admin_url())
        .output()
        .context("psql comes with postgresql")?;
    anyhow::ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
