//! Who may come in: media tokens verified offline (RFC 7519, ES256), each join
//! token once, each resume token only with a proof of possession (RFC 9449).
//!
//! Checking changes nothing; [`Admission::spend`] does, and comes last, so that a
//! request which fails for another reason leaves the token usable.

mod dpop;
mod once;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use jsonwebtoken::{Algorithm, Validation};
use medmesh_base::media_token::{AUDIENCE, ISSUER, JOIN_LIFE_SECONDS, MediaClaims, TokenUse};
use medmesh_base::{EdgeId, ParticipantId, ProblemCode, RoomId};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::settings::Settings;
use once::Once;

/// How far an issuer's clock may differ from ours. Both are servers under NTP.
const CLOCK_SKEW_SECONDS: i64 = 5;
/// Longest token looked at: a real one with four edges is under 3 KiB.
pub const TOKEN_LENGTH_MAX: usize = 8 * 1024;
/// Participants whose newest epoch is remembered; far above what one host carries in a day.
const EPOCHS_MAX: usize = 65_536;

/// Why a token was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No `Authorization: Bearer`.
    #[error("no bearer token")]
    Missing,
    /// Not a JWT of ours, or an algorithm other than ES256.
    #[error("the token is malformed")]
    Malformed,
    /// No key of that `kid`, or the signature is wrong.
    #[error("the token was not signed by a known issuer")]
    Foreign,
    /// Past its expiry, or not valid yet.
    #[error("the token has expired")]
    Expired,
    /// A join token that lives longer than one may.
    #[error("the token's life is too long")]
    TooLongLived,
    /// On the revocation list.
    #[error("the token was revoked")]
    Revoked,
    /// Spent already.
    #[error("the token was used before")]
    Replayed,
    /// This edge is not in it.
    #[error("the token is for another edge")]
    WrongEdge,
    /// The resource belongs to another room or participant.
    #[error("the token is for another room")]
    WrongRoom,
    /// A newer assignment is known.
    #[error("the token belongs to an older assignment")]
    StaleEpoch,
    /// A resume token without a `DPoP` header.
    #[error("a proof of possession is required")]
    ProofMissing,
    /// A proof that is malformed, old, for another request, or by another key.
    #[error("the proof of possession does not hold")]
    ProofWrong,
    /// A proof seen before.
    #[error("the proof of possession was used before")]
    ProofReplayed,
    /// Too many live tokens are remembered; never expected.
    #[error("too many tokens in use")]
    Full,
}

impl Refusal {
    /// Every reason, so that each has its metric from the start.
    pub const ALL: &'static [Self] = &[
        Self::Missing,
        Self::Malformed,
        Self::Foreign,
        Self::Expired,
        Self::TooLongLived,
        Self::Revoked,
        Self::Replayed,
        Self::WrongEdge,
        Self::WrongRoom,
        Self::StaleEpoch,
        Self::ProofMissing,
        Self::ProofWrong,
        Self::ProofReplayed,
        Self::Full,
    ];

    /// The metric's label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Malformed => "malformed",
            Self::Foreign => "foreign",
            Self::Expired => "expired",
            Self::TooLongLived => "too_long_lived",
            Self::Revoked => "revoked",
            Self::Replayed => "replayed",
            Self::WrongEdge => "wrong_edge",
            Self::WrongRoom => "wrong_room",
            Self::StaleEpoch => "stale_epoch",
            Self::ProofMissing => "proof_missing",
            Self::ProofWrong => "proof_wrong",
            Self::ProofReplayed => "proof_replayed",
            Self::Full => "full",
        }
    }

    /// What the client is told.
    #[must_use]
    pub const fn problem(self) -> ProblemCode {
        match self {
            Self::StaleEpoch => ProblemCode::StaleEpoch,
            Self::Missing => ProblemCode::Unauthenticated,
            Self::Full => ProblemCode::Unavailable,
            _ => ProblemCode::TokenRefused,
        }
    }
}

/// The credentials of one request.
#[derive(Clone, Copy, Debug)]
pub struct Credentials<'a> {
    /// The bearer token.
    pub token: Option<&'a str>,
    /// The `DPoP` header.
    pub proof: Option<&'a str>,
    /// The request's method.
    pub method: &'a str,
    /// The request's public URL, without query.
    pub url: &'a str,
}

/// Verifies tokens against the settings in force.
pub struct Admission {
    edge: EdgeId,
    settings: watch::Receiver<Arc<Settings>>,
    spent: Mutex<Once>,
    proofs: Mutex<Once>,
    epochs: Mutex<HashMap<(RoomId, ParticipantId), u64>>,
}

impl Admission {
    /// An admission desk for this edge.
    #[must_use]
    pub fn new(edge: EdgeId, settings: watch::Receiver<Arc<Settings>>) -> Self {
        Self {
            edge,
            settings,
            spent: Mutex::new(Once::new()),
            proofs: Mutex::new(Once::new()),
            epochs: Mutex::new(HashMap::new()),
        }
    }

    /// Checks a request to join. Spends the proof of a resume, not the token itself.
    ///
    /// # Errors
    /// The reason, first found first.
    pub fn check(&self, credentials: &Credentials<'_>, now_unix_s: i64) -> Result<MediaClaims, Refusal> {
        let claims = self.signed(credentials.token)?;
        self.check_time(&claims, now_unix_s)?;
        if !claims.edges.iter().any(|edge| edge.id == self.edge) {
            return Err(Refusal::WrongEdge);
        }
        let newest = self.epochs.lock().get(&(claims.room, claims.sub)).copied();
        if newest.is_some_and(|epoch| claims.epoch < epoch) {
            return Err(Refusal::StaleEpoch);
        }
        match claims.token_use {
            TokenUse::Join if self.spent.lock().holds(&claims.jti) => return Err(Refusal::Replayed),
            TokenUse::Join => {}
            TokenUse::Resume => self.check_proof(&claims, credentials, now_unix_s)?,
        }
        Ok(claims)
    }

    /// Checks a request about an existing connection: the join token that made it
    /// (which by now may have expired), or a resume token with its proof.
    ///
    /// # Errors
    /// The reason; [`Refusal::WrongRoom`] for somebody else's token.
    pub fn check_owner(
        &self,
        credentials: &Credentials<'_>,
        owner: &Owner,
        now_unix_s: i64,
    ) -> Result<(), Refusal> {
        let claims = self.signed(credentials.token)?;
        if (claims.room, claims.sub) != (owner.room, owner.participant) {
            return Err(Refusal::WrongRoom);
        }
        match claims.token_use {
            TokenUse::Join if claims.jti == owner.jti => Ok(()),
            TokenUse::Join => Err(Refusal::Replayed),
            TokenUse::Resume => {
                self.check_time(&claims, now_unix_s)?;
                self.check_proof(&claims, credentials, now_unix_s)
            }
        }
    }

    /// Takes the token out of circulation and notes its epoch. Of two requests with
    /// one join token exactly one gets `Ok`.
    ///
    /// # Errors
    /// [`Refusal::Replayed`] or [`Refusal::Full`].
    pub fn spend(&self, claims: &MediaClaims, now_unix_s: i64) -> Result<(), Refusal> {
        if claims.token_use == TokenUse::Join {
            let until = claims.exp + CLOCK_SKEW_SECONDS;
            self.spent
                .lock()
                .insert(&claims.jti, until, now_unix_s)
                .map_err(|full| if full { Refusal::Full } else { Refusal::Replayed })?;
        }
        let mut epochs = self.epochs.lock();
        if epochs.len() >= EPOCHS_MAX {
            // Rather forget whom we saw than refuse whom we have not: the token's
            // signature and expiry still hold.
            epochs.clear();
        }
        let newest = epochs.entry((claims.room, claims.sub)).or_default();
        *newest = claims.epoch.max(*newest);
        Ok(())
    }

    /// Gives a spent join token back: the request it was spent for failed for a reason of
    /// its own, so the browser may try again.
    pub fn restore(&self, claims: &MediaClaims) {
        if claims.token_use == TokenUse::Join {
            self.spent.lock().remove(&claims.jti);
        }
    }

    fn signed(&self, token: Option<&str>) -> Result<MediaClaims, Refusal> {
        let token = token.ok_or(Refusal::Missing)?;
        if token.len() > TOKEN_LENGTH_MAX {
            return Err(Refusal::Malformed);
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| Refusal::Malformed)?;
        if header.alg != Algorithm::ES256 || header.crit.is_some() {
            return Err(Refusal::Malformed);
        }
        let settings = self.settings.borrow().clone();
        let kid = header.kid.ok_or(Refusal::Foreign)?;
        let key = settings.keys.get(&kid).ok_or(Refusal::Foreign)?;
        let mut validation = Validation::new(Algorithm::ES256);
        // Times are checked against the caller's clock, see `check_time`.
        validation.validate_exp = false;
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[AUDIENCE]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub", "nbf"]);
        let claims = jsonwebtoken::decode::<MediaClaims>(token, key, &validation)
            .map_err(|error| match error.kind() {
                jsonwebtoken::errors::ErrorKind::InvalidSignature
                | jsonwebtoken::errors::ErrorKind::InvalidIssuer
                | jsonwebtoken::errors::ErrorKind::InvalidAudience => Refusal::Foreign,
                _ => Refusal::Malformed,
            })?
            .claims;
        if settings.revoked.contains(&claims.jti) {
            return Err(Refusal::Revoked);
        }
        Ok(claims)
    }

    fn check_time(&self, claims: &MediaClaims, now_unix_s: i64) -> Result<(), Refusal> {
        if now_unix_s >= claims.exp + CLOCK_SKEW_SECONDS || now_unix_s + CLOCK_SKEW_SECONDS < claims.nbf {
            return Err(Refusal::Expired);
        }
        // The replay cache need only remember a minute because no join token lives longer.
        if claims.token_use == TokenUse::Join && claims.exp - claims.iat > JOIN_LIFE_SECONDS {
            return Err(Refusal::TooLongLived);
        }
        Ok(())
    }

    fn check_proof(
        &self,
        claims: &MediaClaims,
        credentials: &Credentials<'_>,
        now_unix_s: i64,
    ) -> Result<(), Refusal> {
        let proof = credentials.proof.ok_or(Refusal::ProofMissing)?;
        let token = credentials.token.ok_or(Refusal::Missing)?;
        let verified = dpop::verify(
            proof,
            &claims.cnf.jwk,
            &dpop::Request {
                method: credentials.method,
                url: credentials.url,
                token,
            },
            now_unix_s,
        )
        .ok_or(Refusal::ProofWrong)?;
        // Bound to the key, so that one person cannot burn another's proof ids.
        let id = format!("{}.{}", claims.cnf.jwk.x, verified.jti);
        self.proofs
            .lock()
            .insert(&id, verified.until_unix_s, now_unix_s)
            .map_err(|full| {
                if full {
                    Refusal::Full
                } else {
                    Refusal::ProofReplayed
                }
            })
    }
}

/// Whose connection a resource is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The room it is in.
    pub room: RoomId,
    /// The participant.
    pub participant: ParticipantId,
    /// The token that made it.
    pub jti: String,
}
