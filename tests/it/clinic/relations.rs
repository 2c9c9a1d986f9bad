//! Care teams, referrals, consent, broken glass, the privacy officer: what each opens, who is told,
//! and what stays on record.

use medmesh_api_client::IdempotencyKey;
use medmesh_api_types::appointment::{AppointmentQuery, Segment};
use medmesh_api_types::break_glass::{BreakGlassOpen, BreakGlassQuery, BreakGlassReview, Finding};
use medmesh_api_types::care::{CareRole, CareTeamAdd, CareTeamQuery, ReferralCreate};
use medmesh_api_types::consent::{
    ConsentDecision, ConsentPurpose, ConsentRecord, ConsentText, ConsentTextQuery, SignedBy,
};
use medmesh_api_types::page::PageQuery;
use medmesh_api_types::person::Locale;
use medmesh_base::{PersonId, Phi, ProblemCode};
use medmesh_tests::control::Wishes;
use medmesh_tests::smtp::SmtpSink;
use time::{Duration, OffsetDateTime};

use super::{World, refused};

fn key() -> IdempotencyKey {
    IdempotencyKey::fresh()
}

fn member(person_id: PersonId) -> CareTeamAdd {
    CareTeamAdd {
        person_id,
        role: CareRole::Clinician,
        until_at: None,
    }
}

fn emergency() -> BreakGlassOpen {
    BreakGlassOpen {
        reason: Phi::new("found unconscious".into()),
        minutes: None,
    }
}

async fn leaves(world: &World, action: &str, patient: PersonId) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM audit WHERE action = $1 AND patient_id = $2")
        .bind(action)
        .bind(patient.as_uuid())
        .fetch_one(&mut world.admin().await)
        .await
        .unwrap()
}

#[tokio::test]
async fn a_care_team_opens_the_record_while_it_lasts() {
    let world = World::new().await;
    let (patient, colleague) = (world.clinic.person("patient"), world.clinic.person("colleague"));
    let appointment = world.booked_now().await;
    let (treating, other) = (
        world.signed_in("clinician").await,
        world.signed_in("colleague").await,
    );
    assert_eq!(
        refused(other.appointment_get(appointment.id).await),
        ProblemCode::NotFound
    );
    // Who has nothing to do with a patient puts nobody on their team, least of all themselves.
    let denied = other.care_team_add(&key(), patient, &member(colleague)).await;
    assert_eq!(refused(denied), ProblemCode::Forbidden);
    let once = key();
    let added = treating
        .care_team_add(&once, patient, &member(colleague))
        .await
        .unwrap();
    let replayed = treating
        .care_team_add(&once, patient, &member(colleague))
        .await
        .unwrap();
    assert_eq!((added.clone(), added.version), (replayed, 1));
    other.appointment_get(appointment.id).await.unwrap();
    let twice = treating.care_team_add(&key(), patient, &member(colleague)).await;
    assert_eq!(refused(twice), ProblemCode::StateConflict);
    for (who, as_what) in [
        ("second", CareRole::Nurse),
        ("colleague", CareRole::Nurse),
        ("patient", CareRole::Clinician),
    ] {
        let new = CareTeamAdd {
            role: as_what,
            ..member(world.clinic.person(who))
        };
        let unfit = treating.care_team_add(&key(), patient, &new).await;
        assert_eq!(refused(unfit), ProblemCode::Unprocessable, "{who}");
    }
    // The patient sees who it is, another patient does not even learn that there is somebody.
    let own = world.signed_in("patient").await;
    let seen = own
        .care_team_list(patient, &CareTeamQuery::default())
        .await
        .unwrap();
    assert_eq!(seen.items, std::slice::from_ref(&added));
    let stranger = world.signed_in("second").await;
    let hidden = stranger.care_team_list(patient, &CareTeamQuery::default()).await;
    assert_eq!(refused(hidden), ProblemCode::NotFound);
    assert_eq!(
        refused(stranger.care_team_end(added.id, 1).await),
        ProblemCode::Forbidden
    );
    let stale = treating.care_team_end(added.id, 7).await;
    assert_eq!(refused(stale), ProblemCode::VersionMismatch);
    let ended = treating.care_team_end(added.id, 1).await.unwrap();
    assert!(ended.until_at.is_some() && ended.version == 2);
    assert_eq!(
        refused(treating.care_team_end(added.id, 2).await),
        ProblemCode::StateConflict
    );
    assert_eq!(
        refused(other.appointment_get(appointment.id).await),
        ProblemCode::NotFound
    );
    let now = own
        .care_team_list(patient, &CareTeamQuery::default())
        .await
        .unwrap();
    let past = CareTeamQuery {
        past: Some(true),
        ..CareTeamQuery::default()
    };
    assert!(now.items.is_empty() && own.care_team_list(patient, &past).await.unwrap().items.len() == 1);
    for (action, count) in [("care_team_add", 1), ("care_team_end", 1), ("care_team_read", 3)] {
        assert_eq!(leaves(&world, action, patient).await, count, "{action}");
    }
}

#[tokio::test]
async fn a_referral_opens_the_record_to_one_and_ends() {
    let world = World::new().await;
    let (patient, colleague) = (world.clinic.person("patient"), world.clinic.person("colleague"));
    let appointment = world.booked_now().await;
    let (treating, other) = (
        world.signed_in("clinician").await,
        world.signed_in("colleague").await,
    );
    let new = |to_id, until_at| ReferralCreate {
        to_id,
        reason: Some(Phi::new("a second opinion".into())),
        until_at,
    };
    let now = OffsetDateTime::now_utc();
    for until in [now - Duration::HOUR, now + Duration::days(400)] {
        let refusal = treating
            .referral_create(&key(), patient, &new(colleague, Some(until)))
            .await;
        assert_eq!(refused(refusal), ProblemCode::Unprocessable);
    }
    let myself = new(world.clinic.person("clinician"), None);
    let refusal = treating.referral_create(&key(), patient, &myself).await;
    assert_eq!(refused(refusal), ProblemCode::Unprocessable);
    let made = treating
        .referral_create(&key(), patient, &new(colleague, None))
        .await
        .unwrap();
    assert!(made.until_at > now + Duration::days(89));
    other.appointment_get(appointment.id).await.unwrap();
    let own = world.signed_in("patient").await;
    for _ in 0..2 {
        treating
            .referral_create(&key(), patient, &new(colleague, None))
            .await
            .unwrap();
    }
    // Three in pages of two, the latest first, none twice.
    let query = |cursor| PageQuery {
        cursor,
        limit: Some(2),
    };
    let first = own.referral_list(patient, &query(None)).await.unwrap();
    let second = own
        .referral_list(patient, &query(first.next_cursor.clone()))
        .await
        .unwrap();
    assert_eq!(
        (first.items.len(), second.items.len(), second.next_cursor),
        (2, 1, None)
    );
    assert_eq!(second.items[0], made);
    assert_eq!(made.reason.as_ref().unwrap().expose(), "a second opinion");
    for referral in first.items.iter().chain(&second.items) {
        treating.referral_end(referral.id, 1).await.unwrap();
    }
    assert_eq!(
        refused(other.appointment_get(appointment.id).await),
        ProblemCode::NotFound
    );
    assert_eq!(leaves(&world, "referral_end", patient).await, 3);
}

async fn text(
    client: &medmesh_api_client::Clinic,
    decision: ConsentDecision,
    segment: Segment,
) -> ConsentText {
    let query = ConsentTextQuery {
        purpose: ConsentPurpose::Treatment,
        segment: Some(segment),
        decision,
        locale: Some(Locale::Es),
    };
    client.consent_text_get(&query).await.unwrap()
}

fn signed(decision: ConsentDecision, segment: Segment, text: &ConsentText) -> ConsentRecord {
    ConsentRecord {
        purpose: ConsentPurpose::Treatment,
        segment,
        decision,
        signed_by: SignedBy::Session,
        document: text.document.clone(),
        text_sha256: Some(text.text_sha256.clone()),
        proof_sha256: None,
    }
}

#[tokio::test]
async fn consent_keeps_every_version_with_the_words_that_were_signed() {
    let world = World::new().await;
    let patient = world.clinic.person("patient");
    let own = world.signed_in("patient").await;
    let (yes, no) = (ConsentDecision::Granted, ConsentDecision::Withdrawn);
    let words = text(&own, yes, Segment::Part2).await;
    assert!(words.text.contains("Parte 2") && words.document.ends_with("/es/1"));
    let first = own
        .consent_record(&key(), patient, &signed(yes, Segment::Part2, &words))
        .await
        .unwrap();
    assert_eq!((first.version, first.recorded_by.id), (1, patient));
    assert!(first.session_id.is_some() && first.text_sha256 == Some(words.text_sha256.clone()));
    let against = text(&own, no, Segment::Part2).await;
    let second = own
        .consent_record(&key(), patient, &signed(no, Segment::Part2, &against))
        .await
        .unwrap();
    assert_eq!(second.version, 2);
    let all = own.consent_list(patient, &PageQuery::default()).await.unwrap();
    assert_eq!(all.items, [second, first]);
    // Other words than were shown, words of something else, or a signature for somebody else.
    let forged = ConsentRecord {
        text_sha256: Some("0".repeat(64)),
        ..signed(yes, Segment::Part2, &words)
    };
    for (record, code) in [
        (forged, ProblemCode::StateConflict),
        (signed(no, Segment::Part2, &words), ProblemCode::StateConflict),
        (signed(yes, Segment::Hiv, &words), ProblemCode::StateConflict),
        (
            ConsentRecord {
                signed_by: SignedBy::Witness,
                text_sha256: None,
                ..signed(yes, Segment::Part2, &words)
            },
            ProblemCode::Unprocessable,
        ),
    ] {
        assert_eq!(refused(own.consent_record(&key(), patient, &record).await), code);
    }
    world.booked_now().await;
    let treating = world.signed_in("clinician").await;
    let theirs = treating
        .consent_record(&key(), patient, &signed(yes, Segment::Part2, &words))
        .await;
    assert_eq!(
        refused(theirs),
        ProblemCode::Unprocessable,
        "nobody signs for a patient"
    );
    let paper = ConsentRecord {
        signed_by: SignedBy::Paper,
        document: "forms/part2-2025".into(),
        text_sha256: None,
        proof_sha256: Some("ab".repeat(32)),
        ..signed(yes, Segment::Part2, &words)
    };
    let third = treating.consent_record(&key(), patient, &paper).await.unwrap();
    assert_eq!((third.version, third.session_id), (3, None));
    let unproved = ConsentRecord {
        proof_sha256: None,
        ..paper.clone()
    };
    assert_eq!(
        refused(treating.consent_record(&key(), patient, &unproved).await),
        ProblemCode::Unprocessable
    );
    let stranger = world.signed_in("second").await;
    assert_eq!(
        refused(stranger.consent_list(patient, &PageQuery::default()).await),
        ProblemCode::NotFound
    );
    // Many at once are numbered one after the other.
    let at_once = (0..6).map(|_| {
        let (own, record) = (own.clone(), signed(yes, Segment::General, &words));
        async move {
            let words = text(&own, yes, Segment::General).await;
            let record = ConsentRecord {
                document: words.document,
                text_sha256: Some(words.text_sha256),
                ..record
            };
            own.consent_record(&key(), patient, &record)
                .await
                .unwrap()
                .version
        }
    });
    let mut versions = futures::future::join_all(at_once).await;
    versions.sort_unstable();
    assert_eq!(versions, [1, 2, 3, 4, 5, 6]);
}

#[tokio::test]
async fn broken_glass_is_told_shown_and_settled_by_somebody_else() {
    let sink = SmtpSink::start().await;
    let wishes = Wishes {
        smtp_port: Some(sink.port()),
        ..Wishes::default()
    };
    let world = World::with(&wishes).await;
    let (patient, officer) = (world.clinic.person("patient"), world.clinic.person("clinician"));
    let appointment = world.booked_now().await;
    let admin = world.signed_in("admin").await;
    let nobody = admin.privacy_officer_get().await.unwrap();
    assert_eq!((nobody.person, nobody.version), (None, 0));
    assert_eq!(
        refused(admin.privacy_officer_set(patient, 0).await),
        ProblemCode::Unprocessable
    );
    let colleague = world.signed_in("colleague").await;
    let own = world.signed_in("patient").await;
    assert_eq!(
        refused(own.break_glass_open(&key(), patient, &emergency()).await),
        ProblemCode::Forbidden
    );
    let glass = colleague
        .break_glass_open(&key(), patient, &emergency())
        .await
        .unwrap();
    assert_eq!(glass.until_at - glass.opened_at, Duration::HOUR);
    colleague.appointment_get(appointment.id).await.unwrap();
    // Nobody is named yet: an admin is told, and of nothing but that there is something.
    let mail = sink.mail(0).await;
    assert_eq!(mail.to, [world.clinic.email("admin")]);
    for word in [
        "Paula",
        "Patient",
        "Colin",
        "unconscious",
        &patient.to_string(),
        &glass.id.to_string(),
    ] {
        assert!(!mail.data.contains(word), "{word} in {}", mail.data);
    }
    let named = admin.privacy_officer_set(officer, 0).await.unwrap();
    assert_eq!(named.version, 1);
    assert_eq!(
        refused(admin.privacy_officer_set(officer, 0).await),
        ProblemCode::VersionMismatch
    );
    assert_eq!(
        own.privacy_officer_get().await.unwrap().person.unwrap().id,
        officer
    );
    let again = colleague
        .break_glass_open(&key(), patient, &emergency())
        .await
        .unwrap();
    assert_eq!(sink.mail(1).await.to, [world.clinic.email("clinician")]);
    // The patient sees it, the officer finds it, nobody else does.
    assert_eq!(
        own.break_glass_list(patient, &PageQuery::default())
            .await
            .unwrap()
            .items
            .len(),
        2
    );
    let officers = world.signed_in("clinician").await;
    let unsettled = BreakGlassQuery {
        unsettled: Some(true),
        ..BreakGlassQuery::default()
    };
    let alerts = officers.break_glass_alerts(&unsettled).await.unwrap();
    assert_eq!(alerts.items, [again.clone(), glass.clone()]);
    for other in [&admin, &colleague] {
        assert_eq!(
            refused(other.break_glass_alerts(&unsettled).await),
            ProblemCode::Forbidden
        );
    }
    let justified = BreakGlassReview {
        finding: Finding::Justified,
    };
    assert_eq!(
        refused(colleague.break_glass_review(glass.id, 1, &justified).await),
        ProblemCode::Forbidden
    );
    assert_eq!(
        refused(officers.break_glass_review(glass.id, 3, &justified).await),
        ProblemCode::VersionMismatch
    );
    let settled = officers
        .break_glass_review(glass.id, 1, &justified)
        .await
        .unwrap();
    assert_eq!((settled.finding, settled.version), (Some(Finding::Justified), 2));
    assert_eq!(
        refused(officers.break_glass_review(glass.id, 2, &justified).await),
        ProblemCode::StateConflict
    );
    let mine = officers
        .break_glass_open(&key(), patient, &emergency())
        .await
        .unwrap();
    assert_eq!(
        refused(officers.break_glass_review(mine.id, 1, &justified).await),
        ProblemCode::Unprocessable
    );
    assert_eq!(
        officers.break_glass_alerts(&unsettled).await.unwrap().items.len(),
        2
    );
}

#[tokio::test]
async fn broken_glass_takes_a_fresh_proof_and_closes_by_itself() {
    let world = World::new().await;
    let patient = world.clinic.person("patient");
    let appointment = world.booked_now().await;
    let colleague = world.signed_in("colleague").await;
    let mut database = world.admin().await;
    let short = BreakGlassOpen {
        minutes: Some(5),
        ..emergency()
    };
    let glass = colleague.break_glass_open(&key(), patient, &short).await.unwrap();
    let list = AppointmentQuery::default();
    assert_eq!(colleague.appointment_list(&list).await.unwrap().items.len(), 1);
    sqlx::query("UPDATE break_glass SET opened_at = opened_at - interval '1 hour', until_at = until_at - interval '5 minutes' WHERE id = $1")
        .bind(glass.id.as_uuid())
        .execute(&mut database)
        .await
        .unwrap();
    assert_eq!(
        refused(colleague.appointment_get(appointment.id).await),
        ProblemCode::NotFound
    );
    assert!(colleague.appointment_list(&list).await.unwrap().items.is_empty());
    sqlx::query("UPDATE session SET authenticated_at = authenticated_at - interval '1 hour'")
        .execute(&mut database)
        .await
        .unwrap();
    let stale = colleague.break_glass_open(&key(), patient, &emergency()).await;
    assert_eq!(refused(stale), ProblemCode::StepUpRequired);
    let too_long = BreakGlassOpen {
        minutes: Some(241),
        ..emergency()
    };
    let refusal = colleague.break_glass_open(&key(), patient, &too_long).await;
    assert_eq!(refused(refusal), ProblemCode::InvalidRequest);
}
