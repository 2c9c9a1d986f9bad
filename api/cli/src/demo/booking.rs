//! Today's visit, booked the way a clinic books: through the REST API.

use anyhow::Context as _;
use medmesh_api_client::{Clinic, IdempotencyKey};
use medmesh_api_types::Secret;
use medmesh_api_types::appointment::{AppointmentCreate, AppointmentQuery, AppointmentStatus, Segment};
use medmesh_api_types::factor::{Proof, Standing};
use medmesh_api_types::person::PersonQuery;
use medmesh_base::{PersonId, Phi, VisitId};
use time::{Duration, OffsetDateTime};

use super::code;
use super::people::Login;

/// Length of the visit.
const VISIT: Duration = Duration::minutes(60);
/// A visit that ends sooner than this is not worth signing in for.
const LEFT_MIN: Duration = Duration::minutes(10);
/// Visits begin on the five minutes.
const GRID_SECONDS: i64 = 300;

/// The visit of the first patient and the clinician that is on or about to begin; booked if there is none.
pub(super) async fn visit_of_today(base_url: &str, logins: &[Login]) -> anyhow::Result<VisitId> {
    let login = |key: &str| {
        logins
            .iter()
            .find(|login| login.key == key)
            .context("a login is missing")
    };
    let (patient, clinician) = (login("patient")?, login("clinician")?);
    let client = Clinic::new(base_url, None)?;
    sign_in(&client, clinician)
        .await
        .context("the clinician cannot sign in")?;
    let patient_id = person(&client, patient).await?;
    let clinician_id = client.session().await?.person.id;

    let now = OffsetDateTime::now_utc();
    let query = AppointmentQuery {
        from: Some(now - VISIT),
        to: Some(now + VISIT),
        cursor: None,
        limit: None,
    };
    let booked = client
        .appointment_list(&query)
        .await?
        .items
        .into_iter()
        .find(|appointment| {
            appointment.status == AppointmentStatus::Booked
                && appointment.patient.id == patient_id
                && appointment.starts_at <= now + Duration::minutes(5)
                && appointment.ends_at > now + LEFT_MIN
        });
    if let Some(appointment) = booked {
        return Ok(appointment.visit_id);
    }
    let begins = now.unix_timestamp() / GRID_SECONDS * GRID_SECONDS;
    let starts_at = OffsetDateTime::from_unix_timestamp(begins)?;
    let new = AppointmentCreate {
        patient_id,
        clinician_id,
        starts_at,
        ends_at: starts_at + VISIT,
        reason: Some(Phi::new("Follow-up".to_owned())),
        segment: Segment::General,
    };
    let made = client.appointment_create(&IdempotencyKey::fresh(), &new).await?;
    client.logout().await?;
    Ok(made.visit_id)
}

/// Signs in with password and code. A demo that was started twice within half a minute has used
/// the first code already; then the next one serves.
async fn sign_in(client: &Clinic, login: &Login) -> anyhow::Result<()> {
    let session = client.login(&login.email, &login.password).await?;
    if session.standing == Standing::Full {
        return Ok(());
    }
    let mut refusal = None;
    for code in code::codes(login)? {
        let proof = Proof::Totp {
            code: Secret::new(code),
        };
        match client.mfa_verify(&proof).await {
            Ok(_) => return Ok(()),
            Err(error) => refusal = Some(error),
        }
    }
    Err(refusal.context("there is no code to try")?.into())
}

async fn person(client: &Clinic, wanted: &Login) -> anyhow::Result<PersonId> {
    let people = client
        .person_list(&PersonQuery {
            role: None,
            cursor: None,
            limit: None,
        })
        .await?;
    let found = people
        .items
        .into_iter()
        .find(|person| *person.display_name.expose() == wanted.display_name);
    Ok(found.context("the patient is not in the clinic")?.id)
}
