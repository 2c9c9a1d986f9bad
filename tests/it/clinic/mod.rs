//! The clinic API over the real router and a real PostgreSQL.

mod auth;
mod booking;
mod border;
mod cells;
pub(crate) mod clients;
mod corrections;
mod credentials;
mod devices;
mod erasures;
mod exports;
mod factor_names;
mod factors;
mod fhir;
mod flood;
mod idle;
mod leaves;
mod limits;
mod links;
mod live;
mod long_copies;
mod needed;
mod officer;
mod oidc;
mod people;
mod pool;
mod proofs;
mod protocols;
mod quiet;
mod registration;
mod relations;
mod rights;
mod shared;
pub(crate) mod visit;
mod walk;

use medmesh_api_client::{ClientError, Clinic, IdempotencyKey};
use medmesh_api_types::appointment::{Appointment, AppointmentCreate, Segment};
use medmesh_api_types::session::SESSION_COOKIE;
use medmesh_base::{Phi, ProblemCode};
use medmesh_tests::control::{ControlNode, Site, TestClinic, Wishes};
use medmesh_tests::postgres::Scratch;
use sqlx::{Connection as _, PgConnection};
use time::{Duration, OffsetDateTime};

/// A node over a fresh database with one clinic in it.
pub(crate) struct World {
    pub(crate) scratch: Scratch,
    pub(crate) node: ControlNode,
    pub(crate) clinic: TestClinic,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(&Wishes::default()).await
    }

    pub(crate) async fn with(wishes: &Wishes) -> Self {
        let scratch = Scratch::database().await.unwrap();
        let clinic = TestClinic::open(&scratch, "riverside").await;
        let node = ControlNode::start(&scratch, wishes).await;
        ready(&node).await;
        Self {
            scratch,
            node,
            clinic,
        }
    }

    /// Two nodes of one cluster; the second is the caller's to hold.
    async fn of_two(wishes: &Wishes) -> (Self, ControlNode) {
        let scratch = Scratch::database().await.unwrap();
        let clinic = TestClinic::open(&scratch, "riverside").await;
        let site = Site::new(2);
        let node = ControlNode::start_in(&site, 1, &scratch, wishes).await;
        let second = ControlNode::start_in(&site, 2, &scratch, wishes).await;
        ready(&node).await;
        ready(&second).await;
        (
            Self {
                scratch,
                node,
                clinic,
            },
            second,
        )
    }

    pub(crate) async fn signed_in(&self, login: &str) -> Clinic {
        self.node.signed_in_as(&self.clinic, login).await
    }

    /// Cookie header and CSRF token of somebody signed in, for requests made by hand.
    pub(crate) async fn credentials(&self, login: &str) -> (String, String) {
        let client = self.signed_in(login).await;
        let csrf = client.session().await.unwrap().csrf_token;
        let cookie = client.cookie().unwrap();
        let cookie = format!("{SESSION_COOKIE}={}", cookie.expose());
        (cookie, csrf.expose().to_owned())
    }

    /// Behind the scenes: past row-level security.
    pub(crate) async fn admin(&self) -> PgConnection {
        PgConnection::connect(&self.scratch.admin_url).await.unwrap()
    }

    /// A time of half an hour, `minutes` from now.
    pub(crate) fn booking(&self, patient: &str, clinician: &str, minutes: i64) -> AppointmentCreate {
        let starts_at = OffsetDateTime::now_utc() + Duration::minutes(minutes);
        AppointmentCreate {
            patient_id: self.clinic.person(patient),
            clinician_id: self.clinic.person(clinician),
            starts_at,
            ends_at: starts_at + Duration::minutes(30),
            reason: Some(Phi::new("a persistent cough".into())),
            segment: Segment::General,
        }
    }

    /// An appointment whose visit can begin at once.
    pub(crate) async fn booked_now(&self) -> Appointment {
        let clinician = self.signed_in("clinician").await;
        let booking = self.booking("patient", "clinician", 1);
        clinician
            .appointment_create(&IdempotencyKey::fresh(), &booking)
            .await
            .unwrap()
    }
}

/// Waits until the node says that it can work.
pub(crate) async fn ready(node: &ControlNode) {
    let url = format!("{}/readyz", node.admin_url());
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(20);
    let http = plain_http();
    while !http.get(&url).send().await.unwrap().status().is_success() {
        assert!(tokio::time::Instant::now() < deadline, "the node becomes ready");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

/// Until it holds; the limit is for a machine that is busy with other things.
pub(crate) async fn eventually(mut holds: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !holds().await {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), waiting)
        .await
        .expect("it never came to be");
}

/// A bare HTTP client, for what the typed one cannot get wrong.
pub(crate) fn plain_http() -> reqwest::Client {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap()
}

#[track_caller]
pub(crate) fn refused<T: std::fmt::Debug>(result: Result<T, ClientError>) -> ProblemCode {
    match result {
        Err(ClientError::Problem(problem)) => {
            assert_eq!(problem.status, problem.code.status());
            problem.code
        }
        other => panic!("expected a problem, got {other:?}"),
    }
}
