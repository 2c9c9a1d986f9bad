//! A token issuer and a browser's key, made by hand.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use medmesh_base::media_token::{
    AUDIENCE, Confirmation, Grants, ISSUER, MediaClaims, MeshEdge, PublicJwk, SignallingEdge, Source,
    TokenUse,
};
use medmesh_base::{EdgeId, ParticipantId, RoomId};

/// A P-256 key that signs tokens or proofs.
pub(crate) struct Key {
    signing: EncodingKey,
    pub(crate) public: PublicJwk,
    kid: String,
}

impl Key {
    pub(crate) fn generate(kid: &str) -> Self {
        let pkcs8 =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref()).unwrap();
        let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
        Self {
            signing: EncodingKey::from_ec_der(pkcs8.as_ref()),
            public: PublicJwk {
                kty: "EC".into(),
                crv: "P-256".into(),
                x: BASE64_URL_SAFE_NO_PAD.encode(x),
                y: BASE64_URL_SAFE_NO_PAD.encode(y),
            },
            kid: kid.into(),
        }
    }

    pub(crate) fn jwks(&self) -> String {
        let PublicJwk { kty, crv, x, y } = &self.public;
        serde_json::json!({"keys": [{"kty": kty, "crv": crv, "x": x, "y": y, "kid": self.kid, "alg": "ES256"}]})
            .to_string()
    }

    pub(crate) fn sign(&self, claims: &MediaClaims) -> String {
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(self.kid.clone());
        jsonwebtoken::encode(&header, claims, &self.signing).unwrap()
    }

    /// A `DPoP` header by this key.
    pub(crate) fn proof(&self, method: &str, url: &str, iat: i64, jti: &str) -> String {
        let mut header = Header::new(Algorithm::ES256);
        header.typ = Some("dpop+jwt".into());
        header.jwk = Some(serde_json::from_value(serde_json::to_value(&self.public).unwrap()).unwrap());
        let claims = serde_json::json!({"htm": method, "htu": url, "iat": iat, "jti": jti});
        jsonwebtoken::encode(&header, &claims, &self.signing).unwrap()
    }
}

/// Claims of a join token for `room` at `edge`, made at `now`.
pub(crate) fn join_claims(room: RoomId, edge: EdgeId, holder: &Key, now: i64) -> MediaClaims {
    MediaClaims {
        iss: ISSUER.into(),
        aud: AUDIENCE.into(),
        sub: ParticipantId::generate(),
        jti: uuid::Uuid::now_v7().to_string(),
        iat: now,
        nbf: now,
        exp: now + 60,
        token_use: TokenUse::Join,
        room,
        epoch: 7,
        grants: Grants {
            publish: vec![Source::Mic, Source::Camera, Source::Screen],
            subscribe: true,
        },
        edges: vec![SignallingEdge {
            id: edge,
            url: "http://localhost".into(),
            link: "127.0.0.1:1".into(),
        }],
        mesh: vec![MeshEdge {
            id: edge,
            link: "127.0.0.1:1".into(),
        }],
        cnf: Confirmation {
            jwk: holder.public.clone(),
        },
    }
}
