//! From a visit to its edges: placement, tokens, TURN credentials.
//!
//! Knows rooms and participants, never people. Where edges stand and who leads the
//! fleet is behind [`Placer`]; keys are `vault`'s.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::future::BoxFuture;
use medmesh_base::media_token::{
    AUDIENCE, Confirmation, Grants, ISSUER, JOIN_LIFE_SECONDS, MediaClaims, MeshEdge, PublicJwk,
    SignallingEdge, Source, TokenUse,
};
use medmesh_base::{ClientPrefix, EdgeId, ParticipantId, ProblemCode, Region, RoomId};
use medmesh_vault::turn::{self, TurnCredentials};
use medmesh_vault::{ClusterSecret, TokenSigner, VaultError};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::relays::{Handed, Relays};

/// Edges a browser is asked to time: more costs it seconds on a slow line.
pub const CANDIDATES_MAX: usize = 4;
/// Clocks of edges may be behind ours by this much, seconds.
const CLOCK_SKEW_SECONDS: i64 = 5;

/// How long a room outlives the window in which its visit lets people in: a join token given at
/// the last moment lives a minute, clocks of machines differ by seconds, and who is in the
/// middle of a sentence may end it.
pub const ROOM_GRACE: time::Duration = time::Duration::minutes(5);

/// What the fleet does for a visit. One implementation, in `fleet`; behind a trait so
/// that the HTTP side starts, and says 503, while there is no quorum yet.
pub trait Placer: Send + Sync {
    /// Edges worth timing for a participant bound to these regions (empty: any), at
    /// most [`CANDIDATES_MAX`], best guess first.
    fn candidates<'a>(&'a self, residency: &'a [Region]) -> BoxFuture<'a, Result<Vec<Edge>, PlaceError>>;

    /// A place for the participant, committed to the ledger before it is answered.
    fn place<'a>(&'a self, wish: &'a Wish) -> BoxFuture<'a, Result<Placed, PlaceError>>;

    /// Ends a room: its places are forgotten and its edges let everybody go. Ending it again is fine.
    fn close(&self, room: RoomId) -> BoxFuture<'_, Result<(), PlaceError>>;
}

/// Who wants to be placed.
#[derive(Clone, Debug)]
pub struct Wish {
    /// The visit, as the media plane knows it.
    pub room: RoomId,
    /// The person, as the media plane knows them.
    pub participant: ParticipantId,
    /// The client's own round trips.
    pub probes: Vec<(EdgeId, Duration)>,
    /// The network they ask from: round trips of its people are known from earlier visits.
    pub network: Option<ClientPrefix>,
    /// Regions the media may pass; empty for any.
    pub residency: Vec<Region>,
    /// When the visit's window closes: nobody comes (back) in after that.
    pub until: OffsetDateTime,
}

impl Wish {
    /// When the room ends for those who are still in it.
    #[must_use]
    pub fn room_ends_at(&self) -> OffsetDateTime {
        self.until + ROOM_GRACE
    }
}

/// An edge as a browser and other edges reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edge {
    /// Which edge.
    pub id: EdgeId,
    /// What it is called.
    pub name: String,
    /// Where it stands.
    pub region: Region,
    /// Base URL of its signalling.
    pub signalling_url: String,
    /// `host:port` other edges dial.
    pub link_address: String,
    /// `turn:host:port?transport=udp` and the like.
    pub turn_urls: Vec<String>,
}

/// Where a participant goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// The assignment's epoch.
    pub epoch: u64,
    /// In order: home first, then fall-backs; not empty.
    pub edges: Vec<Edge>,
    /// The edges the room is on, home included.
    pub mesh: Vec<MeshEdge>,
    /// The TURN secret in force.
    pub turn_epoch: u64,
}

/// Why there is no place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlaceError {
    /// No edge has room.
    #[error("no edge can take the participant")]
    NoCapacity,
    /// No edge stands where this visit may run.
    #[error("no edge stands in a region that may carry the visit")]
    OutsideResidency,
    /// No leader, no quorum, or it did not answer in time.
    #[error("placement is not available: {0}")]
    Unavailable(String),
}

impl PlaceError {
    /// The public code.
    #[must_use]
    pub const fn problem(&self) -> ProblemCode {
        match self {
            Self::NoCapacity => ProblemCode::NoCapacity,
            Self::OutsideResidency => ProblemCode::OutsideResidency,
            Self::Unavailable(_) => ProblemCode::Unavailable,
        }
    }
}

/// What a browser needs to join.
#[derive(Clone, Debug)]
pub struct Admission {
    /// Where.
    pub placed: Placed,
    /// For the first connection.
    pub join_token: String,
    /// For later ones.
    pub resume_token: String,
    /// When the resume token ends.
    pub resume_expires_at: OffsetDateTime,
    /// For the edges' TURN servers.
    pub turn: TurnCredentials,
    /// Relays that stand by themselves, best first.
    pub relays: Vec<Handed>,
}

/// The media side of the API. Cheap to clone.
#[derive(Clone)]
pub struct Media {
    placer: Arc<OnceLock<Arc<dyn Placer>>>,
    keys: Arc<Keys>,
    relays: Relays,
}

struct Keys {
    signer: TokenSigner,
    secret: ClusterSecret,
}

impl Media {
    /// Signs with these keys, and tells of these relays; places nobody until [`Media::adopt`].
    #[must_use]
    pub fn new(signer: TokenSigner, secret: ClusterSecret, relays: Relays) -> Self {
        Self {
            placer: Arc::default(),
            keys: Arc::new(Keys { signer, secret }),
            relays,
        }
    }

    /// Places through this fleet from now on. A second one is ignored.
    pub fn adopt(&self, placer: Arc<dyn Placer>) {
        let _ = self.placer.set(placer);
    }

    /// Edges worth timing.
    ///
    /// # Errors
    /// [`PlaceError::Unavailable`] while there is no fleet.
    pub async fn candidates(&self, residency: &[Region]) -> Result<Vec<Edge>, PlaceError> {
        let mut edges = self.placer()?.candidates(residency).await?;
        edges.truncate(CANDIDATES_MAX);
        Ok(edges)
    }

    /// Places a participant who may join until the wish's end, bound to their key.
    ///
    /// # Errors
    /// As the placement says; a signing failure is [`PlaceError::Unavailable`].
    pub async fn admit(
        &self,
        wish: &Wish,
        key: PublicJwk,
        now: OffsetDateTime,
    ) -> Result<Admission, PlaceError> {
        let placed = self.placer()?.place(wish).await?;
        let (now, until) = (now.unix_timestamp(), wish.until.unix_timestamp());
        let join = claims(
            wish,
            &placed,
            key.clone(),
            TokenUse::Join,
            now,
            now + JOIN_LIFE_SECONDS,
        );
        let resume = claims(wish, &placed, key, TokenUse::Resume, now, until);
        let sign = |claims: &MediaClaims| self.keys.signer.sign(claims).map_err(|error| unsigned(&error));
        let secret = self.keys.secret.turn_secret(placed.turn_epoch);
        let regions: Vec<&Region> = placed.edges.iter().map(|edge| &edge.region).collect();
        // Relayed people refresh their allocations with these for as long as the room lasts.
        let relayed_until = wish.room_ends_at();
        let relays = &self.relays;
        Ok(Admission {
            join_token: sign(&join)?,
            resume_token: sign(&resume)?,
            resume_expires_at: OffsetDateTime::from_unix_timestamp(until)
                .expect("it came from such an instant"),
            turn: turn::credentials(&secret, wish.participant, relayed_until.unix_timestamp()),
            relays: relays.hand_out(&regions, &wish.residency, wish.participant, relayed_until),
            placed,
        })
    }

    /// Ends a room's media.
    ///
    /// # Errors
    /// [`PlaceError::Unavailable`] when nobody could decide it; the room then ends by itself, hours later.
    pub async fn close(&self, room: RoomId) -> Result<(), PlaceError> {
        self.placer()?.close(room).await
    }

    fn placer(&self) -> Result<&dyn Placer, PlaceError> {
        let placer = self.placer.get().map(Arc::as_ref);
        placer.ok_or_else(|| PlaceError::Unavailable("the fleet is not joined yet".into()))
    }
}

fn unsigned(error: &VaultError) -> PlaceError {
    PlaceError::Unavailable(error.to_string())
}

fn claims(
    wish: &Wish,
    placed: &Placed,
    key: PublicJwk,
    token_use: TokenUse,
    now: i64,
    exp: i64,
) -> MediaClaims {
    let edge = |edge: &Edge| SignallingEdge {
        id: edge.id,
        url: edge.signalling_url.clone(),
        link: edge.link_address.clone(),
    };
    MediaClaims {
        iss: ISSUER.into(),
        aud: AUDIENCE.into(),
        sub: wish.participant,
        // Random, not of time order: it says nothing of when others joined.
        jti: Uuid::new_v4().to_string(),
        iat: now,
        nbf: now - CLOCK_SKEW_SECONDS,
        exp,
        token_use,
        room: wish.room,
        epoch: placed.epoch,
        grants: Grants {
            publish: vec![Source::Mic, Source::Camera, Source::Screen],
            subscribe: true,
        },
        edges: placed.edges.iter().map(edge).collect(),
        mesh: placed.mesh.clone(),
        cnf: Confirmation { jwk: key },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_say_who_where_and_how_long_and_nothing_else() {
        let wish = Wish {
            room: RoomId::generate(),
            participant: ParticipantId::generate(),
            probes: Vec::new(),
            network: None,
            residency: Vec::new(),
            until: OffsetDateTime::UNIX_EPOCH,
        };
        let edge = Edge {
            id: EdgeId::generate(),
            name: "fra-1".into(),
            region: "eu-central".parse().unwrap(),
            signalling_url: "https://fra-1.test".into(),
            link_address: "fra-1.test:7000".into(),
            turn_urls: vec!["turn:fra-1.test:3478?transport=udp".into()],
        };
        let placed = Placed {
            epoch: 7,
            mesh: vec![MeshEdge {
                id: edge.id,
                link: edge.link_address.clone(),
            }],
            edges: vec![edge.clone()],
            turn_epoch: 1,
        };
        let key = PublicJwk {
            kty: "EC".into(),
            crv: "P-256".into(),
            x: "x".into(),
            y: "y".into(),
        };
        let join = claims(
            &wish,
            &placed,
            key.clone(),
            TokenUse::Join,
            1_000,
            1_000 + JOIN_LIFE_SECONDS,
        );
        let resume = claims(&wish, &placed, key.clone(), TokenUse::Resume, 1_000, 9_000);
        assert!(join.exp - join.iat <= 60 && join.nbf <= join.iat);
        assert_ne!(join.jti, resume.jti);
        for token in [&join, &resume] {
            assert_eq!(
                (token.sub, token.room, token.epoch),
                (wish.participant, wish.room, 7)
            );
            assert_eq!(
                (token.edges[0].id, token.edges[0].url.as_str()),
                (edge.id, "https://fra-1.test")
            );
            assert_eq!(token.cnf.jwk, key);
        }
    }
}
