//! Whatever happens to a creating request, it has one effect: repeated, sent by several at once,
//! cut off before its answer came.

use medmesh_api_types::session::IDEMPOTENCY_HEADER;
use serde_json::json;
use sqlx::Connection as _;
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::super::World;
use super::{Desk, Operation, Said, code, operations};

/// Requests with one key at once.
const AT_ONCE: usize = 8;
/// Different requests a walk makes of one route.
const REQUESTS: usize = 4;
/// Longest wait for something that is about to happen.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(20);

/// Operations that answer 201 and need no key, and why.
const WITHOUT_KEY: &[(&str, &str)] = &[(
    "signaling_session",
    "each answer holds tokens that are good once; a repeated one must hold new ones",
)];

/// What exists before the walk.
struct Ground {
    visits: Vec<Uuid>,
    /// The clinician treats them.
    patient: Uuid,
    /// One for each request that is let in.
    others: [Uuid; REQUESTS],
    colleague: Uuid,
    from: OffsetDateTime,
}

impl Ground {
    async fn lay(world: &World) -> Self {
        let clinician = world.signed_in("clinician").await;
        let mut visits = Vec::new();
        for n in 0..REQUESTS {
            let minutes = 1 + 30 * i64::try_from(n).unwrap();
            let booking = world.booking("patient", "clinician", minutes);
            let key = medmesh_api_client::IdempotencyKey::fresh();
            let booked = clinician.appointment_create(&key, &booking).await.unwrap();
            visits.push(booked.visit_id.as_uuid());
        }
        let person = |login| world.clinic.person(login).as_uuid();
        Self {
            visits,
            patient: person("patient"),
            others: ["patient", "second", "second", "third"].map(person),
            colleague: person("colleague"),
            from: OffsetDateTime::now_utc() + Duration::days(2),
        }
    }

    /// The `n`th request of a route, and the table in which its effect is one row.
    fn say(&self, operation: &str, n: usize) -> (Said, &'static str) {
        let said = |login, path: &str, body| Said {
            login,
            path: path.to_owned(),
            body,
        };
        let hours = Duration::hours(i64::try_from(n).unwrap());
        let at = |time: OffsetDateTime| time.format(&Rfc3339).unwrap();
        let visit = self.visits[n];
        match operation {
            "appointment_create" => {
                let body = json!({
                    "patient_id": self.patient, "clinician_id": self.colleague,
                    "starts_at": at(self.from + hours), "ends_at": at(self.from + hours + Duration::minutes(20)),
                });
                (said("admin", "/v1/appointments", body), "appointment")
            }
            "person_create" => {
                let body = json!({
                    "display_name": "Walter Walker", "email": format!("walker{n}@riverside.test"),
                    "roles": ["patient"], "locale": "en", "password": "nine brown otters",
                });
                (said("admin", "/v1/people", body), "person")
            }
            "invitation_create" => {
                let body = json!({
                    "display_name": "Ina Invited", "email": format!("invited{n}@riverside.test"),
                    "roles": ["nurse"], "locale": "en",
                });
                (said("admin", "/v1/invitations", body), "account_link")
            }
            "message_create" => {
                let path = format!("/v1/visits/{visit}/messages");
                (
                    said("clinician", &path, json!({"body": "good morning"})),
                    "message",
                )
            }
            "participant_add" => {
                let path = format!("/v1/visits/{visit}/participants");
                let body = json!({"person_id": self.colleague});
                (said("clinician", &path, body), "visit_participant")
            }
            "care_team_add" => {
                let body = json!({"person_id": self.colleague, "role": "clinician"});
                (
                    said("admin", &of_patient(self.others[n], "care-team"), body),
                    "care_team",
                )
            }
            "referral_create" => {
                let body = json!({"to_id": self.colleague, "reason": format!("opinion {n}")});
                (
                    said("clinician", &of_patient(self.patient, "referrals"), body),
                    "referral",
                )
            }
            "consent_record" => {
                let body = json!({
                    "purpose": "treatment", "decision": "granted", "signed_by": "witness", "document": "treatment/1",
                    "segment": (["part2", "hiv", "mental_health", "reproductive_health"][n]),
                });
                (
                    said("clinician", &of_patient(self.patient, "consents"), body),
                    "consent",
                )
            }
            "break_glass_open" => {
                let body = json!({"reason": "found unconscious"});
                (
                    said("clinician", &of_patient(self.others[n], "break-glass"), body),
                    "break_glass",
                )
            }
            "disclosure_create" => {
                let body = json!({
                    "disclosed_at": at(self.from - Duration::days(30) - hours), "recipient": "county health office",
                    "description": "a notifiable illness", "purpose": "as the law asks", "basis": "public_health",
                });
                (
                    said("clinician", &of_patient(self.patient, "disclosures"), body),
                    "disclosure",
                )
            }
            "correction_create" => {
                let body = json!({"what": format!("line {n}"), "why": "it never happened"});
                (
                    said("patient", &of_patient(self.patient, "corrections"), body),
                    "correction",
                )
            }
            // The body is always the same: what differs is whose record it is, and of three of them
            // there is none.
            "record_export_create" => {
                let whose = if n == 1 { self.others[1] } else { self.patient };
                (
                    said("patient", &of_patient(whose, "exports"), json!({})),
                    "record_export",
                )
            }
            "credential_submit" => {
                let body = json!({
                    "kind": "license", "profession": "clinician", "state": (["CA", "NY", "TX", "FL"][n]),
                    "number": "A123456", "expires_on": "2030-06-30",
                });
                (said("clinician", "/v1/credentials", body), "credential")
            }
            "client_create" => {
                let jwk = json!({"kid": format!("key-{n}"), "kty": "RSA", "n": format!("{}w", "_".repeat(341)), "e": "AQAB"});
                let body = json!({
                    "name": format!("system {n}"), "scopes": ["system/Appointment.rs"], "jwks": {"keys": [jwk]},
                });
                (said("admin", "/v1/clients", body), "oauth_client")
            }
            other => {
                panic!("{other} creates something: say here what to ask it, and where the effect is a row")
            }
        }
    }
}

fn of_patient(patient: Uuid, what: &str) -> String {
    format!("/v1/patients/{patient}/{what}")
}

/// Makes the clinician the privacy officer, who alone notes disclosures.
async fn name_privacy_officer(desk: &Desk<'_>) {
    let operation = operations()
        .into_iter()
        .find(|one| one.id == "privacy_officer_set");
    let said = Said {
        login: "admin",
        path: "/v1/privacy-officer".to_owned(),
        body: json!({"person_id": desk.world.clinic.person("clinician")}),
    };
    let request = desk.request(&operation.unwrap(), &said);
    let named = request.header("if-match", "\"0\"").send().await.unwrap();
    assert_eq!(named.status(), 200);
}

#[test]
fn what_creates_takes_a_key() {
    for operation in operations() {
        let is_exempt = WITHOUT_KEY.iter().any(|(id, _)| *id == operation.id);
        if operation.answers("201") && !is_exempt {
            assert!(
                operation.takes(IDEMPOTENCY_HEADER),
                "{} takes no key",
                operation.id
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_creating_request_has_one_effect_however_often_it_comes() {
    let world = World::new().await;
    let desk = Desk::open(&world).await;
    let ground = Ground::lay(&world).await;
    name_privacy_officer(&desk).await;
    let mut walked = 0;
    for operation in operations() {
        if operation.takes(IDEMPOTENCY_HEADER) {
            let walk = Walk {
                desk: &desk,
                ground: &ground,
                operation: &operation,
            };
            walk.one_after_the_other().await;
            walk.all_at_once().await;
            walk.cut_off_while_it_runs().await;
            walked += 1;
        }
    }
    assert!(walked >= 5, "{walked}");
}

struct Walk<'a> {
    desk: &'a Desk<'a>,
    ground: &'a Ground,
    operation: &'a Operation,
}

impl Walk<'_> {
    async fn send(&self, n: usize, key: &str) -> reqwest::Response {
        let (said, _) = self.ground.say(&self.operation.id, n);
        let request = self.desk.request(self.operation, &said);
        request.header(IDEMPOTENCY_HEADER, key).send().await.unwrap()
    }

    /// Rows where the effects are.
    async fn effects(&self) -> i64 {
        let (_, table) = self.ground.say(&self.operation.id, 0);
        let mut admin = self.desk.world.admin().await;
        let sql = sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
        let rows = sqlx::query_scalar(sql).fetch_one(&mut admin).await.unwrap();
        admin.close().await.unwrap();
        rows
    }

    async fn one_after_the_other(&self) {
        let id = &self.operation.id;
        let before = self.effects().await;
        let (said, _) = self.ground.say(id, 0);
        let bare = self.desk.request(self.operation, &said).send().await.unwrap();
        assert_eq!(
            code(bare).await,
            (400, "idempotency_key_missing".to_owned()),
            "{id}"
        );
        let key = Uuid::now_v7().to_string();
        let first = answer(self.send(0, &key).await).await;
        assert_eq!(first.0, 201, "{id}: {}", String::from_utf8_lossy(&first.2));
        for _ in 0..3 {
            assert_eq!(answer(self.send(0, &key).await).await, first, "{id}");
        }
        let other = code(self.send(1, &key).await).await;
        assert_eq!(other, (422, "idempotency_key_reused".to_owned()), "{id}");
        assert_eq!(self.effects().await, before + 1, "{id}");
    }

    async fn all_at_once(&self) {
        let id = &self.operation.id;
        let before = self.effects().await;
        let key = Uuid::now_v7().to_string();
        let answers = futures::future::join_all((0..AT_ONCE).map(|_| self.send(2, &key))).await;
        let mut made = Vec::new();
        for given in answers {
            if given.status() == 409 {
                assert_eq!(code(given).await.1, "request_in_flight", "{id}");
            } else {
                made.push(answer(given).await);
            }
        }
        assert!(!made.is_empty(), "{id}: somebody was first");
        assert!(
            made.iter().all(|one| one.0 == 201 && *one == made[0]),
            "{id}: {made:?}"
        );
        assert_eq!(answer(self.send(2, &key).await).await, made[0], "{id}");
        assert_eq!(self.effects().await, before + 1, "{id}");
    }

    /// The first request is held up in the database; a second one with its key comes meanwhile; the
    /// first one's connection goes away; whoever sent it tries again.
    async fn cut_off_while_it_runs(&self) {
        let id = &self.operation.id;
        let before = self.effects().await;
        let key = Uuid::now_v7().to_string();
        let mut admin = self.desk.world.admin().await;
        let mut lock = admin.begin().await.unwrap();
        sqlx::query("LOCK TABLE idempotency IN EXCLUSIVE MODE")
            .execute(&mut *lock)
            .await
            .unwrap();
        let mut first = Box::pin(self.send(3, &key));
        let until = tokio::time::Instant::now() + PATIENCE;
        while !is_waited_for(&mut lock).await {
            assert!(tokio::time::Instant::now() < until, "{id} waits for the table");
            assert!(futures::poll!(&mut first).is_pending(), "{id}");
        }
        let second = code(self.send(3, &key).await).await;
        assert_eq!(second, (409, "request_in_flight".to_owned()), "{id}");
        drop(first);
        lock.commit().await.unwrap();
        let again = loop {
            let again = answer(self.send(3, &key).await).await;
            assert!(tokio::time::Instant::now() < until, "{id} is answered in the end");
            if again.0 != 409 {
                break again;
            }
        };
        assert_eq!(again.0, 201, "{id}: {}", String::from_utf8_lossy(&again.2));
        assert_eq!(answer(self.send(3, &key).await).await, again, "{id}");
        assert_eq!(self.effects().await, before + 1, "{id}");
    }
}

/// Whether somebody waits for the table that is locked.
async fn is_waited_for(lock: &mut sqlx::PgConnection) -> bool {
    let sql = "SELECT EXISTS (SELECT FROM pg_locks WHERE relation = 'idempotency'::regclass AND NOT granted)";
    sqlx::query_scalar(sql).fetch_one(lock).await.unwrap()
}

/// Status, the headers that belong to an answer, and its bytes.
async fn answer(response: reqwest::Response) -> (u16, Vec<Option<String>>, Vec<u8>) {
    let header = |name: &str| Some(response.headers().get(name)?.to_str().unwrap().to_owned());
    let headers = ["content-type", "location", "etag"].map(header).to_vec();
    let status = response.status().as_u16();
    (status, headers, response.bytes().await.unwrap().to_vec())
}
