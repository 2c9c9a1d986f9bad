//! What authenticators, machines and witnesses say, and what an audit leaf commits to.

use aws_lc_rs::digest::{SHA256, digest};
use medmesh_clinic::audit::{Event, RolesHeld};
use medmesh_fuzz::input::chunk;
use medmesh_fuzz::passkey::{CREATED, GOT, RP_ID, cose};
use medmesh_tlog::note::Signer;
use medmesh_tlog::{Checkpoint, Frontier, Hash, leaf_hash, tile};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{join, write};

/// Authenticator data: user present and verified, with a new key inside or not.
fn authenticator_data(key: Option<&[u8]>) -> Vec<u8> {
    let mut data = digest(&SHA256, RP_ID.as_bytes()).as_ref().to_vec();
    data.push(if key.is_some() { 0x45 } else { 0x05 });
    data.extend([0, 0, 0, 1]);
    if let Some(key) = key {
        data.extend([0; 16]);
        data.extend([0, 16]);
        data.extend([9; 16]);
        data.extend(key);
    }
    data
}

pub(crate) fn passkeys() {
    let target = "passkey";
    let data = authenticator_data(Some(&cose()));
    let length = u16::try_from(data.len())
        .expect("some hundred bytes")
        .to_be_bytes();
    let none = b"\xa3\x63fmt\x64none\x67attStmt\xa0\x68authData\x59";
    write(target, "attested", join(&[&[0], none, &length, &data]));
    let packed = b"\xa3\x63fmt\x66packed\x67attStmt\xa2\x63alg\x26\x63sig\x42\x30\x00\x68authData\x59";
    write(target, "packed", join(&[&[0], packed, &length, &data]));
    write(target, "created", join(&[&[1], CREATED.as_bytes()]));
    write(target, "got", join(&[&[1], GOT.as_bytes()]));
    let asserted = authenticator_data(None);
    write(
        target,
        "asserted",
        join(&[&[2], &chunk(&asserted), &chunk(&[0x30, 0]), b"owner"]),
    );
    write(
        target,
        "stored",
        join(&[&[3], &chunk(&cose()), &chunk(&asserted), &[0x30, 0]]),
    );
    let okp = join(&[b"\xa4\x01\x01\x03\x27\x20\x06\x21\x58\x20", &[5; 32]]);
    write(
        target,
        "ed25519",
        join(&[&[3], &chunk(&okp), &chunk(&asserted), &[0; 64]]),
    );
    let rsa = join(&[
        b"\xa4\x01\x03\x03\x39\x01\x00\x20\x59\x01\x00",
        &[0xff; 256],
        b"\x21\x43\x01\x00\x01",
    ]);
    write(
        target,
        "rsa",
        join(&[&[3], &chunk(&rsa), &chunk(&asserted), &[0; 256]]),
    );
}

pub(crate) fn events() {
    let id = Uuid::from_u128;
    let plain = Event {
        clinic_id: id(1),
        id: id(2),
        at: OffsetDateTime::UNIX_EPOCH,
        actor_kind: "person".to_owned(),
        actor_id: None,
        session_id: None,
        action: "visit_read".to_owned(),
        object_kind: "visit".to_owned(),
        object_id: None,
        patient_id: None,
        purpose: "treatment".to_owned(),
        request_id: id(3),
        break_glass_id: None,
        denied_action: None,
        denied_reason: None,
        roles: None,
    };
    write("audit_event", "plain", plain.encode());
    let whole = Event {
        actor_id: Some(id(4)),
        session_id: Some(id(5)),
        object_id: Some(id(6)),
        patient_id: Some(id(7)),
        break_glass_id: Some(id(8)),
        denied_action: Some("record_read".to_owned()),
        denied_reason: Some("relationship".to_owned()),
        roles: Some(RolesHeld {
            before: vec!["nurse".to_owned()],
            after: vec!["nurse".to_owned(), "scheduler".to_owned()],
        }),
        ..plain
    };
    write("audit_event", "whole", whole.encode());
}

pub(crate) fn logs() {
    let target = "tlog_text";
    // Of seeds the target does not have: it has to be able to refuse.
    let log = Signer::from_seed("log.test", &[3; 32]).expect("a good name");
    let witness = Signer::witness_from_seed("witness.test", &[4; 32]).expect("a good name");
    let head = Checkpoint {
        origin: "log.test".to_owned(),
        size: 1_000,
        root: leaf_hash(b"root"),
    };
    let text = head.to_string();
    let note = head.sign(&log);
    write(target, "checkpoint", join(&[&[0], text.as_bytes()]));
    for (name, signer) in [("key", &log), ("witness", &witness)] {
        write(
            target,
            name,
            join(&[&[1], signer.verifier().to_string().as_bytes()]),
        );
    }
    write(target, "note", join(&[&[2], note.as_bytes()]));
    write(target, "text", join(&[&[2], text.as_bytes()]));
    let cosigned = format!("{note}{}", witness.cosign(&text, 7));
    write(target, "cosigned", join(&[&[2], cosigned.as_bytes()]));
    let entries = [leaf_hash(b"a").0, leaf_hash(b"b").0];
    let bundle = tile::bundle(entries.iter().map(|entry| &entry[..]));
    write(target, "bundle", join(&[&[3], &bundle]));
    let mut frontier = Frontier::new();
    for leaf in 0..5_u8 {
        frontier.append(leaf_hash(&[leaf]), |_, _, _: Hash| {});
    }
    let size = frontier.size().to_be_bytes();
    write(target, "frontier", join(&[&[4], &size, &frontier.to_bytes()]));
    let (one, eight) = (1_u64.to_be_bytes(), 8_u64.to_be_bytes());
    let path: String = (0..4_u8)
        .map(|leaf| format!("{}\n", leaf_hash(&[leaf])))
        .collect();
    write(target, "proof", join(&[&[5], &one, &eight, path.as_bytes()]));
    let notice = format!(
        "medmesh audit notice v1\nkey\nlog.test\n5\n{}\n{}\n5\n{}\n1\n-\n",
        head.root,
        log.verifier(),
        head.root
    );
    write(target, "notice", join(&[&[6], notice.as_bytes()]));
    write(target, "successors", join(&[&[7], log.sign(&notice).as_bytes()]));
}

pub(crate) fn machines() {
    let target = "client_keys";
    let keys = r#"[{"kty":"EC","crv":"P-384","kid":"a","alg":"ES384","use":"sig","x":"XX","y":"XX"}]"#;
    write(
        target,
        "keys",
        join(&[&[0], keys.replace("XX", &"A".repeat(64)).as_bytes()]),
    );
    let rsa = format!(
        r#"[{{"kty":"RSA","kid":"b","alg":"RS384","n":"{}w","e":"AQAB"}}]"#,
        "_".repeat(341)
    );
    write(target, "rsa", join(&[&[0], rsa.as_bytes()]));
    let client = Uuid::from_u128(1);
    let claims = format!(
        r#"{{"iss":"{client}","sub":"{client}","aud":"https://portal.test/oauth/token","exp":1800000060,"iat":1800000000,"jti":"0123456789abcdef"}}"#
    );
    write(target, "claims", join(&[&[1], claims.as_bytes()]));
    write(
        target,
        "scopes",
        b"\x02system/Appointment.rs system/Appointment.cu",
    );
    write(target, "name", b"\x02Riverside EHR");
}
