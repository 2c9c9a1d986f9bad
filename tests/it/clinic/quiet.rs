//! Nothing about people reaches the log, the metrics or a problem document.

use std::io;
use std::sync::{Arc, Mutex};

use medmesh_api_client::IdempotencyKey;
use medmesh_api_types::appointment::{AppointmentCancel, AppointmentUpdate};
use medmesh_base::Phi;
use tracing_subscriber::fmt::MakeWriter;

use super::{World, plain_http};

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl io::Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Captured {
    type Writer = Self;
    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// Keeps `tracing` asking every subscriber whether a line is wanted. With a single one it asks the
/// one of the thread that comes by a line first, and remembers the answer for all: a test beside this
/// one, which listens to nothing, would silence the line here.
fn ask_every_subscriber() -> tracing::Dispatch {
    tracing::Dispatch::new(tracing::subscriber::NoSubscriber::new())
}

/// On one thread, so that the thread's subscriber hears every task of the node.
#[tokio::test(flavor = "current_thread")]
async fn a_whole_visit_leaves_no_word_about_its_people_in_the_log() {
    let captured = Captured::default();
    let subscriber = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_env_filter("info,medmesh_control=trace,medmesh_store=trace,sqlx=debug")
        .with_writer(captured.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let _second = ask_every_subscriber();

    let world = World::new().await;
    let clinician = world.signed_in("clinician").await;
    let mut booking = world.booking("patient", "clinician", 1);
    booking.reason = Some(Phi::new("CANARY-reason".into()));
    let booked = clinician
        .appointment_create(&IdempotencyKey::fresh(), &booking)
        .await
        .unwrap();
    // Twice, so that a conflict is on record too.
    let _ = clinician
        .appointment_create(&IdempotencyKey::fresh(), &booking)
        .await
        .unwrap_err();
    let update = AppointmentUpdate {
        reason: Some(Phi::new("CANARY-update".into())),
        ..AppointmentUpdate::default()
    };
    clinician.appointment_update(booked.id, 1, &update).await.unwrap();
    clinician.visit_open(booked.visit_id).await.unwrap();
    clinician
        .message_create(&IdempotencyKey::fresh(), booked.visit_id, "CANARY-message")
        .await
        .unwrap();
    let cancel = AppointmentCancel {
        reason: Some(Phi::new("CANARY-cancel".into())),
    };
    let _ = clinician
        .appointment_cancel(booked.id, 99, &cancel)
        .await
        .unwrap_err();
    let _ = world
        .node
        .client()
        .login("CANARY-login@riverside.test", "CANARY-password")
        .await
        .unwrap_err();
    let path = format!("{}/v1/CANARY-path?q=CANARY-query", world.node.url());
    let _ = plain_http().get(path).send().await.unwrap();

    let metrics = plain_http()
        .get(format!("{}/metrics", world.node.admin_url()))
        .send()
        .await
        .unwrap();
    let metrics = metrics.text().await.unwrap();
    let log = String::from_utf8(captured.0.lock().unwrap().clone()).unwrap();
    let answered = log
        .lines()
        .filter(|line| line.contains("request answered"))
        .count();
    assert!(answered >= 9, "the log was captured: {answered}\n{log}");
    let ids = [
        booked.id.to_string(),
        booked.visit_id.to_string(),
        world.clinic.person("patient").to_string(),
    ];
    let names = ["CANARY", "Paula", "Clara", "riverside.test", "medmesh_session="].map(str::to_owned);
    for secret in names.iter().chain(&ids) {
        for (place, text) in [("log", &log), ("metrics", &metrics)] {
            let line = text.lines().find(|line| line.contains(secret.as_str()));
            assert!(line.is_none(), "{secret} in the {place}: {line:?}");
        }
    }
    for line in log.lines().filter(|line| line.contains("request answered")) {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(line["span"]["request_id"].is_string(), "{line}");
    }
    assert!(
        metrics.contains(
            r#"medmesh_http_requests_total{method="POST",route="/v1/appointments",status="201"} 1"#
        ),
        "{metrics}"
    );
    assert!(metrics.contains(r#"route="unmatched""#));
    assert!(metrics.contains(r#"medmesh_logins_total{outcome="refused"} 1"#));
}
