use std::sync::Arc;

use medmesh_base::media_token::{MediaClaims, TokenUse};
use medmesh_base::{EdgeId, ParticipantId, RoomId};
use medmesh_wire::fleet::EdgeConfig;
use tokio::sync::watch;

use super::{Admission, Credentials, Owner, Refusal};
use crate::settings::Settings;

#[path = "../../tests/it/issuer.rs"]
mod issuer;

use issuer::{Key, join_claims};

const NOW: i64 = 1_800_000_000;
const URL: &str = "https://fra-1.example.net/v1/whip";

struct Desk {
    admission: Admission,
    issuer: Key,
    holder: Key,
    claims: MediaClaims,
}

fn desk() -> Desk {
    let issuer = Key::generate("k1");
    let holder = Key::generate("browser");
    let edge = EdgeId::generate();
    let claims = join_claims(RoomId::generate(), edge, &holder, NOW);
    let settings = Settings::from_wire(&EdgeConfig {
        version: 1,
        jwks: issuer.jwks(),
        revoked_jti: vec!["revoked".into()],
        ..EdgeConfig::default()
    })
    .unwrap();
    let (_, receiver) = watch::channel(Arc::new(settings));
    Desk {
        admission: Admission::new(edge, receiver),
        issuer,
        holder,
        claims,
    }
}

impl Desk {
    fn check(&self, claims: &MediaClaims, proof: Option<&str>, now: i64) -> Result<MediaClaims, Refusal> {
        self.check_text(&self.issuer.sign(claims), proof, now)
    }

    fn check_text(&self, token: &str, proof: Option<&str>, now: i64) -> Result<MediaClaims, Refusal> {
        let credentials = Credentials {
            token: Some(token),
            proof,
            method: "POST",
            url: URL,
        };
        self.admission.check(&credentials, now)
    }

    fn resume(&self) -> MediaClaims {
        MediaClaims {
            token_use: TokenUse::Resume,
            exp: NOW + 3600,
            jti: "resume".into(),
            ..self.claims.clone()
        }
    }
}

#[test]
fn a_join_token_opens_once() {
    let desk = desk();
    assert_eq!(desk.check(&desk.claims, None, NOW).as_ref(), Ok(&desk.claims));
    // Looking does not spend it.
    let claims = desk.check(&desk.claims, None, NOW).unwrap();
    assert_eq!(desk.admission.spend(&claims, NOW), Ok(()));
    assert_eq!(desk.admission.spend(&claims, NOW), Err(Refusal::Replayed));
    assert_eq!(desk.check(&desk.claims, None, NOW + 59), Err(Refusal::Replayed));
    desk.admission.restore(&claims);
    assert_eq!(desk.admission.spend(&claims, NOW), Ok(()));
}

#[test]
fn a_token_is_good_in_its_time_only() {
    let desk = desk();
    assert!(desk.check(&desk.claims, None, NOW + 64).is_ok());
    assert_eq!(desk.check(&desk.claims, None, NOW + 65), Err(Refusal::Expired));
    assert_eq!(desk.check(&desk.claims, None, NOW - 6), Err(Refusal::Expired));
    let long = MediaClaims {
        exp: NOW + 61,
        ..desk.claims.clone()
    };
    assert_eq!(desk.check(&long, None, NOW), Err(Refusal::TooLongLived));
}

#[test]
fn a_foreign_or_bent_token_is_refused() {
    let desk = desk();
    let stranger = Key::generate("k2").sign(&desk.claims);
    assert_eq!(desk.check_text(&stranger, None, NOW), Err(Refusal::Foreign));
    let impostor = Key::generate("k1").sign(&desk.claims);
    assert_eq!(desk.check_text(&impostor, None, NOW), Err(Refusal::Foreign));
    assert_eq!(desk.check_text("a.b.c", None, NOW), Err(Refusal::Malformed));
    assert_eq!(
        desk.check_text(&"x".repeat(10_000), None, NOW),
        Err(Refusal::Malformed)
    );
    let other_audience = MediaClaims {
        aud: "control".into(),
        ..desk.claims.clone()
    };
    assert_eq!(desk.check(&other_audience, None, NOW), Err(Refusal::Foreign));
    let revoked = MediaClaims {
        jti: "revoked".into(),
        ..desk.claims.clone()
    };
    assert_eq!(desk.check(&revoked, None, NOW), Err(Refusal::Revoked));
}

#[test]
fn a_token_for_another_edge_is_refused() {
    let desk = desk();
    let mut claims = desk.claims.clone();
    claims.edges[0].id = EdgeId::generate();
    assert_eq!(desk.check(&claims, None, NOW), Err(Refusal::WrongEdge));
}

#[test]
fn an_older_epoch_of_the_same_participant_is_stale() {
    let desk = desk();
    desk.admission.spend(&desk.claims, NOW).unwrap();
    let older = MediaClaims {
        epoch: 6,
        jti: "another".into(),
        ..desk.claims.clone()
    };
    assert_eq!(desk.check(&older, None, NOW), Err(Refusal::StaleEpoch));
    // The epoch counts assignments of the room; somebody else's may lag behind.
    let other = MediaClaims {
        sub: ParticipantId::generate(),
        ..older
    };
    assert!(desk.check(&other, None, NOW).is_ok());
}

#[test]
fn a_resume_needs_a_fresh_proof_each_time() {
    let desk = desk();
    let resume = desk.resume();
    let late = NOW + 1800;
    assert_eq!(desk.check(&resume, None, late), Err(Refusal::ProofMissing));
    let proof = desk.holder.proof("POST", URL, late, "p1");
    assert!(desk.check(&resume, Some(&proof), late).is_ok());
    assert_eq!(
        desk.check(&resume, Some(&proof), late),
        Err(Refusal::ProofReplayed)
    );
    let second = desk.holder.proof("POST", &format!("{URL}?x=1"), late, "p2");
    assert!(desk.check(&resume, Some(&second), late).is_ok());
}

#[test]
fn a_proof_holds_for_one_key_request_and_time() {
    let desk = desk();
    let resume = desk.resume();
    let thief = Key::generate("thief");
    let wrong = [
        thief.proof("POST", URL, NOW, "a"),
        desk.holder.proof("DELETE", URL, NOW, "b"),
        desk.holder
            .proof("POST", "https://ams-1.example.net/v1/whip", NOW, "c"),
        desk.holder.proof("POST", URL, NOW - 301, "d"),
        desk.holder.proof("POST", URL, i64::MIN, "e"),
        desk.holder.proof("POST", URL, NOW, ""),
        desk.issuer.sign(&resume),
        "garbage".into(),
    ];
    for proof in wrong {
        assert_eq!(desk.check(&resume, Some(&proof), NOW), Err(Refusal::ProofWrong));
    }
}

#[test]
fn a_resource_obeys_its_owner() {
    let desk = desk();
    let owner = Owner {
        room: desk.claims.room,
        participant: desk.claims.sub,
        jti: desk.claims.jti.clone(),
    };
    let ask = |claims: &MediaClaims, proof: Option<&str>| {
        let token = desk.issuer.sign(claims);
        let credentials = Credentials {
            token: Some(&token),
            proof,
            method: "DELETE",
            url: URL,
        };
        desk.admission.check_owner(&credentials, &owner, NOW + 600)
    };
    assert_eq!(ask(&desk.claims, None), Ok(()));
    let other_room = MediaClaims {
        room: RoomId::generate(),
        ..desk.claims.clone()
    };
    assert_eq!(ask(&other_room, None), Err(Refusal::WrongRoom));
    let newer = MediaClaims {
        jti: "newer".into(),
        ..desk.claims.clone()
    };
    assert_eq!(ask(&newer, None), Err(Refusal::Replayed));
    assert_eq!(ask(&desk.resume(), None), Err(Refusal::ProofMissing));
    let proof = desk.holder.proof("DELETE", URL, NOW + 600, "p");
    assert_eq!(ask(&desk.resume(), Some(&proof)), Ok(()));
}
