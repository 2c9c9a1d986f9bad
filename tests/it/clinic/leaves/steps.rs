//! A record's life, and everything that tells of it.

use http::Method;
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

use super::super::eventually;
use super::{Walk, Who};

pub(super) async fn life_of_a_record(walk: &mut Walk<'_>) {
    let world = walk.world;
    let patient_id = world.clinic.person("patient").to_string();
    let patient = Some(patient_id.as_str());
    let clinician = world.credentials("clinician").await;
    let theirs = world.credentials("patient").await;
    let starts_at = OffsetDateTime::now_utc() + Duration::minutes(1);
    let rfc3339 = &time::format_description::well_known::Rfc3339;
    let booking = json!({
        "patient_id": patient_id, "clinician_id": world.clinic.person("clinician").to_string(),
        "starts_at": starts_at.format(rfc3339).unwrap(),
        "ends_at": (starts_at + Duration::minutes(30)).format(rfc3339).unwrap(),
        "reason": "a persistent cough", "segment": "general",
    });
    let path = "/v1/appointments";
    let booked = walk
        .post("appointment_create", &clinician, path, booking, patient)
        .await;
    let visit = format!("/v1/visits/{}", booked["visit_id"].as_str().unwrap());
    let appointment = format!("{path}/{}", booked["id"].as_str().unwrap());
    walk.get("appointment_list", &clinician, path, patient).await;
    walk.get("appointment_get", &theirs, &appointment, patient).await;
    let update = json!({"if_match": 1, "json": {"reason": "a worse cough"}});
    walk.step(
        "appointment_update",
        &clinician,
        (Method::PATCH, &appointment),
        update,
        patient,
    )
    .await;
    walk.get("visit_list", &clinician, "/v1/visits", patient).await;
    walk.get("visit_get", &theirs, &visit, patient).await;
    let at = |tail: &str| format!("{visit}{tail}");
    let waiting = walk
        .post("visit_check_in", &theirs, &at("/check-in"), Value::Null, patient)
        .await;
    walk.post("visit_open", &clinician, &at("/open"), Value::Null, patient)
        .await;
    let admit = json!({"participant_id": waiting["you"]});
    walk.post("visit_admit", &clinician, &at("/admit"), admit, patient)
        .await;
    let message = json!({"body": "it began on Monday"});
    walk.post("message_create", &theirs, &at("/messages"), message, patient)
        .await;
    walk.get("message_list", &clinician, &at("/messages"), patient)
        .await;
    walk.get("visit_events", &clinician, &at("/events"), patient)
        .await;
    let colleague = json!({"person_id": world.clinic.person("colleague").to_string()});
    walk.post(
        "participant_add",
        &clinician,
        &at("/participants"),
        colleague,
        patient,
    )
    .await;
    walk.post("visit_end", &clinician, &at("/end"), Value::Null, patient)
        .await;

    let later = starts_at + Duration::days(2);
    let booking = json!({
        "patient_id": patient_id, "clinician_id": world.clinic.person("clinician").to_string(),
        "starts_at": later.format(rfc3339).unwrap(),
        "ends_at": (later + Duration::minutes(30)).format(rfc3339).unwrap(), "segment": "general",
    });
    let booked = walk
        .post("appointment_create", &clinician, path, booking, patient)
        .await;
    let cancel = format!("{path}/{}/cancel", booked["id"].as_str().unwrap());
    let body = json!({"if_match": 1, "json": {"reason": "better"}});
    walk.post("appointment_cancel", &clinician, &cancel, body, patient)
        .await;
}

pub(super) async fn those_who_run_the_clinic(walk: &mut Walk<'_>) {
    let world = walk.world;
    let patient_id = world.clinic.person("patient").to_string();
    let patient = Some(patient_id.as_str());
    let admin = world.credentials("admin").await;
    walk.get("person_list", &admin, "/v1/people", patient).await;
    let search = json!({"q": "Paula"});
    walk.post("patient_search", &admin, "/v1/patients/search", search, patient)
        .await;
    let person = json!({"display_name": "Nora New", "email": "nora@riverside.test", "roles": ["patient"],
        "password": "eleven green lanterns"});
    walk.post("person_create", &admin, "/v1/people", person, None)
        .await;
    let third = world.clinic.person("third").to_string();
    let out = json!({"if_match": 1, "json": {"active": false}});
    let path = format!("/v1/people/{third}");
    let update = (Method::PATCH, path.as_str());
    walk.step("person_update", &admin, update, out, Some(&third))
        .await;
    let invitation =
        json!({"display_name": "Ivan Invited", "email": "ivan@riverside.test", "roles": ["nurse"]});
    walk.post("invitation_create", &admin, "/v1/invitations", invitation, None)
        .await;
    walk.get("audit_list", &admin, "/v1/audit", patient).await;
    let mine = format!("/v1/audit/export?patient_id={patient_id}");
    walk.get("audit_export", &admin, &mine, patient).await;
    let booked = "/v1/audit?action=appointment_create&limit=1";
    let listed = walk.get("audit_list", &admin, booked, patient).await;
    let entry = listed["items"][0]["id"].as_str().unwrap().to_owned();
    walk.covered(&entry).await;
    let proof = format!("/v1/audit/{entry}/proof");
    walk.get("audit_prove", &admin, &proof, patient).await;
}

pub(super) async fn the_accounts_of_a_record(walk: &mut Walk<'_>) {
    let world = walk.world;
    let patient_id = world.clinic.person("patient").to_string();
    let patient = Some(patient_id.as_str());
    let officer = world.credentials("admin").await;
    let named = json!({"if_match": 0, "json": {"person_id": world.clinic.person("admin").to_string()}});
    let path = "/v1/privacy-officer";
    walk.step("privacy_officer_set", &officer, (Method::PUT, path), named, None)
        .await;
    let disclosures = format!("/v1/patients/{patient_id}/disclosures");
    let yesterday = OffsetDateTime::now_utc() - Duration::days(1);
    let yesterday = yesterday
        .format(&time::format_description::well_known::Rfc3339)
        .unwrap();
    let disclosed = json!({"disclosed_at": yesterday, "recipient": "County court",
        "description": "the visit's summary", "purpose": "a subpoena", "basis": "judicial"});
    walk.post("disclosure_create", &officer, &disclosures, disclosed, patient)
        .await;
    let theirs = world.credentials("patient").await;
    walk.get("disclosure_list", &theirs, &disclosures, patient).await;
    let accesses = format!("/v1/patients/{patient_id}/accesses");
    walk.get("record_access_list", &theirs, &accesses, patient).await;
}

pub(super) async fn those_who_care(walk: &mut Walk<'_>) {
    let world = walk.world;
    let patient_id = world.clinic.person("patient").to_string();
    let patient = Some(patient_id.as_str());
    let (clinician, colleague) = (
        world.credentials("clinician").await,
        world.credentials("colleague").await,
    );
    let (theirs, officer) = (
        world.credentials("patient").await,
        world.credentials("admin").await,
    );
    let colleague_id = world.clinic.person("colleague").to_string();
    let at = |tail: &str| format!("/v1/patients/{patient_id}/{tail}");
    let id = |answer: &Value| answer["id"].as_str().unwrap().to_owned();
    let at_first = || json!({"if_match": 1, "json": null});

    let member = json!({"person_id": colleague_id, "role": "clinician"});
    let member = walk
        .post("care_team_add", &clinician, &at("care-team"), member, patient)
        .await;
    walk.get("care_team_list", &theirs, &at("care-team"), patient)
        .await;
    let end = format!("/v1/care-team/{}/end", id(&member));
    walk.post("care_team_end", &clinician, &end, at_first(), patient)
        .await;

    let referral = json!({"to_id": colleague_id, "reason": "a second opinion"});
    let referral = walk
        .post("referral_create", &clinician, &at("referrals"), referral, patient)
        .await;
    walk.get("referral_list", &theirs, &at("referrals"), patient)
        .await;
    let end = format!("/v1/referrals/{}/end", id(&referral));
    walk.post("referral_end", &clinician, &end, at_first(), patient)
        .await;

    let said = json!({"purpose": "treatment", "segment": "general", "decision": "granted", "signed_by": "witness",
        "document": "treatment/1"});
    walk.post("consent_record", &clinician, &at("consents"), said, patient)
        .await;
    walk.get("consent_list", &theirs, &at("consents"), patient).await;

    let emergency = json!({"reason": "unconscious, no history known"});
    let glass = walk
        .post(
            "break_glass_open",
            &colleague,
            &at("break-glass"),
            emergency,
            patient,
        )
        .await;
    walk.get("break_glass_list", &theirs, &at("break-glass"), patient)
        .await;
    walk.get("break_glass_alerts", &officer, "/v1/break-glass", patient)
        .await;
    let review = format!("/v1/break-glass/{}/review", id(&glass));
    let finding = json!({"if_match": 1, "json": {"finding": "justified"}});
    walk.post("break_glass_review", &officer, &review, finding, patient)
        .await;

    what_patients_ask_of_it(walk, &theirs, &clinician, &patient_id).await;

    // Last, because a record that rests is reached by few.
    walk.get("record_rights_get", &theirs, &at("rights"), patient)
        .await;
    let wish = json!({"if_match": 0, "json": {"restricted": true, "erasure": false}});
    walk.step(
        "record_rights_set",
        &theirs,
        (Method::PUT, &at("rights")),
        wish,
        patient,
    )
    .await;
}

/// Corrections, and a copy of everything.
async fn what_patients_ask_of_it(walk: &mut Walk<'_>, theirs: &Who, clinician: &Who, patient_id: &str) {
    let patient = Some(patient_id);
    let at = |tail: &str| format!("/v1/patients/{patient_id}/{tail}");
    let corrections = at("corrections");
    let wrong = json!({"what": "the left knee", "why": "it is the right one"});
    for (then, said) in [
        ("accept", Value::Null),
        ("decline", json!({"reason": "it was the left one"})),
    ] {
        let asked = walk
            .post("correction_create", theirs, &corrections, wrong.clone(), patient)
            .await;
        let path = format!("/v1/corrections/{}/{then}", asked["id"].as_str().unwrap());
        let body = json!({"if_match": 1, "json": said});
        let operation = if then == "accept" {
            "correction_accept"
        } else {
            "correction_decline"
        };
        walk.post(operation, clinician, &path, body, patient).await;
        if then == "decline" {
            let path = path.replace("/decline", "/disagree");
            let body = json!({"if_match": 2, "json": {"statement": "it was not"}});
            walk.post("correction_disagree", theirs, &path, body, patient)
                .await;
        }
    }
    walk.get("correction_list", theirs, &corrections, patient).await;
    walk.get("correction_queue", clinician, "/v1/corrections", patient)
        .await;

    let exports = at("exports");
    let asked = walk
        .post("record_export_create", theirs, &exports, json!({}), patient)
        .await;
    walk.get("record_export_list", theirs, &exports, patient).await;
    let one = format!("{exports}/{}", asked["id"].as_str().unwrap());
    eventually(async || {
        let export = walk.get("record_export_get", theirs, &one, patient).await;
        export["state"] == "ready"
    })
    .await;
    let content = format!("{one}/content?form=fhir");
    walk.get("record_export_download", theirs, &content, patient)
        .await;
}

pub(super) async fn what_staff_may_act_upon(walk: &mut Walk<'_>) {
    let world = walk.world;
    let (clinician, admin) = (
        world.credentials("clinician").await,
        world.credentials("admin").await,
    );
    let path = "/v1/credentials";
    for (state, then, reason) in [
        ("NY", "verify", Value::Null),
        ("TX", "reject", json!({"reason": "not in the register"})),
        ("FL", "withdraw", Value::Null),
    ] {
        let licence = json!({"kind": "license", "profession": "clinician", "state": state,
            "number": "W1001", "expires_on": "2030-06-30"});
        let stated = walk
            .post("credential_submit", &clinician, path, licence, None)
            .await;
        let (operation, who) = match then {
            "verify" => ("credential_verify", &admin),
            "reject" => ("credential_reject", &admin),
            _ => ("credential_withdraw", &clinician),
        };
        let decide = format!("{path}/{}/{then}", stated["id"].as_str().unwrap());
        let body = json!({"if_match": stated["version"], "json": reason});
        walk.post(operation, who, &decide, body, None).await;
    }
    let mine = format!("{path}/mine");
    walk.get("credential_mine", &clinician, &mine, None).await;
    walk.get("credential_list", &admin, path, None).await;
}
