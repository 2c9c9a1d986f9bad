//! The descriptions against what was pushed: every place for text had a canary, and every place
//! for free text took one, or is exempt by name.

use std::collections::BTreeSet;

use medmesh_tests::control::TestClinic;
use uuid::Uuid;

use super::call::{Call, Who};
use super::described::{Description, In, Place};
use super::push::{Push, signed_in};

/// Kept as they are, because they configure the system and say nothing about people; and so no
/// canary is written there in a form that would be taken.
const KEPT: &[(&str, &str)] = &[
    (
        "clinic_update body.media_regions[]",
        "names of places where edges are",
    ),
    ("client_create body.name", "the name of a system"),
    ("client_update body.name", "the name of a system"),
    ("client_create body.jwks.keys[].*", "public keys"),
    ("client_update body.jwks.keys[].*", "public keys"),
    ("oidc_provider_set body.issuer", "an address of the provider's"),
    (
        "oidc_provider_set body.client_id",
        "the clinic's name at its provider",
    ),
    (
        "oidc_provider_set body.second_factor[]",
        "words of the provider's",
    ),
    (
        "audit_log_resume body.reason",
        "an operator's, published on purpose with the log",
    ),
    (
        "raft_add_learner body.link_address",
        "the address of a control node",
    ),
];

/// Text to the description, and refused whatever it is unless it is the one thing meant. A canary
/// is pushed, and is not taken. A star stands for every operation.
const REFUSED: &[(&str, &str)] = &[
    ("* header.x-csrf-token", "the session's own, or nothing"),
    ("* header.If-Match", "the tag of a version"),
    ("* query.cursor", "a cursor of ours"),
    ("audit_list query.action", "a word of the audit log's"),
    ("audit_export query.action", "a word of the audit log's"),
    ("record_export_create body.*", "it has no members"),
    ("oauth_token body.grant_type", "a word of the protocol"),
    ("oauth_token body.client_assertion_type", "a word of the protocol"),
    ("oauth_token body.client_assertion", "signed by a machine"),
    ("oauth_token body.scope", "words of the protocol"),
    ("oauth_token body.client_id", "an id of ours"),
    ("link_redeem body.token", "a secret of ours"),
    ("registration_complete body.token", "a secret of ours"),
    ("oidc_accept body.token", "a secret of ours"),
    (
        "oidc_callback query.state",
        "ours; answered with a redirect, whatever it is",
    ),
    (
        "oidc_callback query.code",
        "the provider's; answered with a redirect",
    ),
    (
        "oidc_callback query.error",
        "the provider's; answered with a redirect",
    ),
    (
        "oidc_callback query.iss",
        "the provider's; answered with a redirect",
    ),
    ("passkey_add body.id", "an authenticator's, in base64url"),
    (
        "passkey_add body.response.clientDataJSON",
        "answers our challenge",
    ),
    (
        "passkey_add body.response.attestationObject",
        "CBOR of an authenticator",
    ),
    ("passkey_login body.id", "an authenticator's, in base64url"),
    (
        "passkey_login body.response.clientDataJSON",
        "answers our challenge",
    ),
    (
        "passkey_login body.response.authenticatorData",
        "an authenticator's",
    ),
    ("passkey_login body.response.signature", "an authenticator's"),
    ("passkey_login body.response.userHandle", "an id of ours"),
    ("* body.credential.id", "an authenticator's, in base64url"),
    (
        "* body.credential.response.clientDataJSON",
        "answers our challenge",
    ),
    (
        "* body.credential.response.authenticatorData",
        "an authenticator's",
    ),
    ("* body.credential.response.signature", "an authenticator's"),
    ("* body.credential.response.userHandle", "an id of ours"),
    ("* body.code", "six digits, or a recovery code"),
    ("mfa_verify body.password", "no second factor"),
    ("* body.key.kty", "a public key on one curve"),
    ("* body.key.crv", "a public key on one curve"),
    ("* body.key.x", "a public key on one curve"),
    ("* body.key.y", "a public key on one curve"),
    ("credential_submit body.state", "the code of a state"),
    ("consent_record body.text_sha256", "a digest"),
    ("consent_record body.proof_sha256", "a digest"),
];

fn is_among(list: &[(&str, &str)], name: &str) -> bool {
    let at = name.split_once(' ').map_or("", |(_, at)| at);
    list.iter()
        .any(|(known, _)| *known == name || known.strip_prefix("* ") == Some(at))
}

/// Writes a canary into every place that has not taken one yet, and says what is wrong with the lists.
pub(super) async fn walk(push: &Push, clinic: &TestClinic) -> Vec<String> {
    let mut places = Description::read("clinic.json").places();
    let fleet = Description::read("fleet.json").places();
    let of_the_fleet: BTreeSet<String> = fleet.iter().map(|place| place.name.clone()).collect();
    places.extend(fleet);
    let (taken, _) = push.taken();
    // Whoever walks ends their own session at the worst.
    let walkers = [
        signed_in(&push.url, clinic, "colleague").await,
        signed_in(&push.url, clinic, "admin").await,
    ];
    for place in &places {
        if taken.contains(&place.name) || is_among(KEPT, &place.name) {
            continue;
        }
        let calls = match of_the_fleet.contains(&place.name) {
            true => vec![write(push, place, None)],
            false => walkers.iter().map(|who| write(push, place, Some(who))).collect(),
        };
        for call in calls {
            let (status, said) = push.call(call).await;
            assert_ne!(status, 500, "{}: {said}", place.name);
        }
    }
    amiss(push, &places)
}

/// A request with a canary in this place, as this person or as the operator.
fn write<'a>(push: &Push, place: &Place, who: Option<&'a Who>) -> Call<'a> {
    let id = |name: &str| match (name, place.path.split('/').nth(2)) {
        ("id", Some("visits")) => push.visit_id.clone(),
        ("id", Some("patients")) => push.patient_id.clone(),
        ("id", Some("appointments")) => push.appointment_id.clone(),
        _ => Uuid::new_v4().to_string(),
    };
    let request = place.request(&push.word(&place.name), id);
    let mut call = Call::new(place.method.clone(), request.path, who);
    if who.is_none() {
        call = call.header("authorization", format!("Bearer {}", push.operator_token));
    }
    call = call.header("if-match", "\"1\"".into());
    if let Some((media_type, body)) = request.body {
        call = call.header("content-type", media_type).raw(body);
    }
    match request.header {
        Some((name, value)) => call.header_after(&name, value),
        None => call,
    }
}

/// Places without a canary, free text that was never taken, and exemptions of nothing.
fn amiss(push: &Push, places: &[Place]) -> Vec<String> {
    let (taken, refused) = push.taken();
    let mut amiss = Vec::new();
    for place in places {
        let name = &place.name;
        let was_pushed = taken.contains(name) || refused.contains_key(name);
        if !was_pushed && !is_among(KEPT, name) {
            amiss.push(format!("{name}: no canary was pushed"));
        } else if place.is_free && !taken.contains(name) && !is_among(KEPT, name) && !is_among(REFUSED, name)
        {
            // Ids in paths are text to some descriptions; what they name is looked up and never written.
            if !matches!(place.place, In::Path(_)) {
                let said = refused.get(name).map_or("", String::as_str);
                amiss.push(format!("{name}: no canary was taken; the last: {said}"));
            }
        }
    }
    for (known, _) in KEPT.iter().chain(REFUSED) {
        let of_it = |name: &str| is_among(&[(known, "")], name);
        if !places.iter().any(|place| of_it(&place.name)) {
            amiss.push(format!("{known}: exempt, and nowhere described"));
        }
        if !known.starts_with('*') && taken.iter().any(|name| of_it(name)) {
            amiss.push(format!("{known}: exempt, and a canary was taken"));
        }
    }
    amiss
}
