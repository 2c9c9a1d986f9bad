mod cache;
mod root;
mod sealing;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use medmesh_base::media_token::{
    AUDIENCE, Confirmation, Grants, ISSUER, MediaClaims, PublicJwk, Source, TokenUse,
};
use medmesh_base::{ParticipantId, RoomId};

use crate::{ClusterSecret, Jwks, TokenSigner, VaultError, public_jwk_check, turn};

fn key_of(signer: &TokenSigner) -> PublicJwk {
    serde_json::from_str(&signer.public_jwk_json()).unwrap()
}

fn claims(signer: &TokenSigner) -> MediaClaims {
    let now = time::OffsetDateTime::now_utc().unix_timestamp();
    MediaClaims {
        iss: ISSUER.into(),
        aud: AUDIENCE.into(),
        sub: ParticipantId::generate(),
        jti: "j-1".into(),
        iat: now,
        nbf: now,
        exp: now + 60,
        token_use: TokenUse::Join,
        room: RoomId::generate(),
        epoch: 3,
        grants: Grants {
            publish: vec![Source::Mic, Source::Camera],
            subscribe: true,
        },
        edges: vec![],
        mesh: vec![],
        cnf: Confirmation { jwk: key_of(signer) },
    }
}

#[test]
fn a_token_verifies_with_the_published_key_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let signer = TokenSigner::load_or_create(&dir.path().join("a.p8")).unwrap();
    let other = TokenSigner::load_or_create(&dir.path().join("b.p8")).unwrap();
    let claims = claims(&signer);
    let token = signer.sign(&claims).unwrap();
    assert_eq!(
        jsonwebtoken::decode_header(&token).unwrap().kid.as_deref(),
        Some(signer.key_id())
    );

    let mut rules = Validation::new(Algorithm::ES256);
    rules.set_audience(&[AUDIENCE]);
    let verify = |signer: &TokenSigner| {
        let jwk: Jwk = serde_json::from_str(&signer.public_jwk_json()).unwrap();
        jsonwebtoken::decode::<MediaClaims>(&token, &DecodingKey::from_jwk(&jwk).unwrap(), &rules)
    };
    assert_eq!(verify(&signer).unwrap().claims, claims);
    assert!(verify(&other).is_err());
}

#[test]
fn keys_survive_a_restart_and_refuse_to_be_public() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys/token.p8");
    let first = TokenSigner::load_or_create(&path).unwrap();
    let again = TokenSigner::load_or_create(&path).unwrap();
    assert_eq!(first.key_id(), again.key_id());
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);

    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    assert!(matches!(
        TokenSigner::load_or_create(&path),
        Err(VaultError::Exposed(_))
    ));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&path, b"not a key").unwrap();
    assert!(matches!(
        TokenSigner::load_or_create(&path),
        Err(VaultError::Malformed(_))
    ));
    assert!(matches!(
        ClusterSecret::load_or_create(&path),
        Err(VaultError::Malformed(_))
    ));
}

#[test]
fn turn_secrets_differ_by_epoch_and_agree_between_nodes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cluster.secret");
    let one = ClusterSecret::load_or_create(&path).unwrap();
    let two = ClusterSecret::load_or_create(&path).unwrap();
    assert_eq!(one.turn_secret(7), two.turn_secret(7));
    assert_ne!(one.turn_secret(7), one.turn_secret(8));
    assert_eq!(format!("{one:?}"), "ClusterSecret");
}

/// Computed independently: `printf %s '1700000000:00000000-0000-0000-0000-000000000000' |
/// openssl dgst -sha1 -hmac north -binary | base64`.
#[test]
fn turn_passwords_are_those_of_the_convention() {
    let nobody = ParticipantId::from_slice(&[0; 16]).unwrap();
    let made = turn::credentials("north", nobody, 1_700_000_000);
    assert_eq!(made.username, "1700000000:00000000-0000-0000-0000-000000000000");
    assert_eq!(made.password, "WLicnZche6KJWOPqFFjtz/SZGys=");
}

#[test]
fn only_points_on_the_curve_are_bound_to_tokens() {
    let dir = tempfile::tempdir().unwrap();
    let good = key_of(&TokenSigner::load_or_create(&dir.path().join("a.p8")).unwrap());
    assert!(public_jwk_check(&good).is_ok());
    let off_curve = PublicJwk {
        y: good.x.clone(),
        ..good.clone()
    };
    let short = PublicJwk {
        x: "AAAA".into(),
        ..good.clone()
    };
    let other_curve = PublicJwk {
        crv: "P-384".into(),
        ..good.clone()
    };
    for bad in [off_curve, short, other_curve] {
        assert!(matches!(public_jwk_check(&bad), Err(VaultError::NotAPublicKey)));
    }
}

#[test]
fn a_key_set_holds_every_node() {
    let dir = tempfile::tempdir().unwrap();
    let one = TokenSigner::load_or_create(&dir.path().join("a.p8")).unwrap();
    let two = TokenSigner::load_or_create(&dir.path().join("b.p8")).unwrap();
    let keys = [one.public_jwk_json(), two.public_jwk_json()];
    let set: jsonwebtoken::jwk::JwkSet =
        serde_json::from_str(&Jwks::from_keys(keys.iter().map(String::as_str)).to_json()).unwrap();
    assert!(set.find(one.key_id()).is_some() && set.find(two.key_id()).is_some());
}
