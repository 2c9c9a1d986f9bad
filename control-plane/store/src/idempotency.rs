//! A creating request that is repeated has one effect and one answer.
//!
//! The protocol, all in the transaction of the effect:
//! 1. [`Tx::idempotency_claim`] with the key and a digest of the request. A lock
//!    on the key that is not to be had means the first one is still running.
//! 2. On [`Claim::New`], do the work, make the answer, [`Tx::idempotency_answer`]
//!    with exactly what will be sent, commit, send.
//! 3. On [`Claim::Replay`], commit (reading an answer is a read of health data) and
//!    send what was stored.
//!
//! A crash or an error undoes claim and effect together, so the key is free
//! again; a deferred trigger refuses to commit a claim without its answer.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use medmesh_base::Phi;
use medmesh_clinic::Actor;
use medmesh_clinic::audit::{Action, Object, ObjectKind};
use sqlx::types::Json;
use uuid::Uuid;

use crate::keys::{Column, Owner, Sealed, WRITTEN_ONCE};
use crate::{Result, StoreError, Tx};

/// The `Idempotency-Key` of a request: 8 to 64 visible ASCII characters. Held and stored as its
/// digest: who calls writes into it what they like, and that may be a name.
#[derive(Clone, PartialEq, Eq)]
pub struct IdempotencyKey(String);

impl FromStr for IdempotencyKey {
    type Err = InvalidKey;
    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        let fits = (8..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        if fits {
            let digest = digest::digest(&digest::SHA256, text.as_bytes());
            Ok(Self(URL_SAFE_NO_PAD.encode(digest)))
        } else {
            Err(InvalidKey)
        }
    }
}

impl fmt::Debug for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdempotencyKey(…)")
    }
}

/// The text cannot be an idempotency key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an idempotency key has 8 to 64 visible ASCII characters")]
pub struct InvalidKey;

/// SHA-256 over what makes a request the same request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestDigest([u8; 32]);

impl RequestDigest {
    /// Over the parts (path, query, body …), each with its length before it, so
    /// that no two lists of parts run together.
    #[must_use]
    pub fn of(parts: &[&[u8]]) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        Self(
            context
                .finish()
                .as_ref()
                .try_into()
                .expect("a SHA-256 has 32 bytes"),
        )
    }
}

/// An answer as it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredResponse {
    /// The status.
    pub status: u16,
    /// The headers that belong to the answer (content type, location, entity tag), in order.
    pub headers: Vec<(String, String)>,
    /// The body, byte for byte.
    pub body: Phi<Vec<u8>>,
}

/// The right to answer a claimed key, once.
#[derive(Debug)]
#[must_use = "a claim without an answer cannot be committed"]
pub struct Ticket {
    account: Uuid,
    route: &'static str,
    key: IdempotencyKey,
}

/// What a key turned out to be.
#[derive(Debug)]
pub enum Claim {
    /// Never seen: do the work.
    New(Ticket),
    /// Done before: this was the answer.
    Replay(StoredResponse),
}

impl Tx {
    /// Claims `key` for the caller's account, or the machine, on `route` (the operation's name).
    ///
    /// # Errors
    /// [`StoreError::RequestInFlight`], [`StoreError::IdempotencyKeyReused`];
    /// [`StoreError::NotFound`] when nobody is signed in.
    pub async fn idempotency_claim(
        &mut self,
        route: &'static str,
        key: IdempotencyKey,
        request: RequestDigest,
    ) -> Result<Claim> {
        let account = self.keys_of().ok_or(StoreError::NotFound)?;
        let (clinic, now) = (self.clinic(), self.now());
        let ours: bool = sqlx::query_scalar(
            "SELECT pg_try_advisory_xact_lock(
                 hashtextextended(concat_ws('/', 'idempotency', $1::uuid, $2::uuid, $3::text, $4::text), 0))",
        )
        .bind(clinic)
        .bind(account)
        .bind(route)
        .bind(&key.0)
        .fetch_one(self.db())
        .await?;
        if !ours {
            return Err(StoreError::RequestInFlight);
        }
        let fresh = sqlx::query(
            "INSERT INTO idempotency (clinic_id, account_id, route, key, request_sha256, created_at)
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
        )
        .bind(clinic)
        .bind(account)
        .bind(route)
        .bind(&key.0)
        .bind(request.0.as_slice())
        .bind(now)
        .execute(self.db())
        .await?
        .rows_affected()
            == 1;
        if fresh {
            return Ok(Claim::New(Ticket { account, route, key }));
        }
        // The answer was given under a decision; what is asked anew is whether the caller may
        // still do such things at all.
        if let Some(action) = self.declared_action() {
            self.authorise_listing(action).await?;
        }
        let response = self.idempotency_replay(account, route, &key, request).await?;
        self.audit(Action::AnswerReplay, Object::none_of(ObjectKind::Answer), None)
            .await?;
        Ok(Claim::Replay(response))
    }

    /// Whose keys the actor's are: ids are UUIDv7, so no machine has an account's.
    const fn keys_of(&self) -> Option<Uuid> {
        match self.actor() {
            Actor::Person(caller) => Some(caller.account_id.as_uuid()),
            Actor::Client(caller) => Some(caller.client_id.as_uuid()),
            Actor::System(_) => None,
        }
    }

    async fn idempotency_replay(
        &mut self,
        account: Uuid,
        route: &str,
        key: &IdempotencyKey,
        request: RequestDigest,
    ) -> Result<StoredResponse> {
        type Row = (
            Vec<u8>,
            Option<i16>,
            Option<Json<Vec<(String, String)>>>,
            Option<Vec<u8>>,
        );
        let row: Row = sqlx::query_as(
            "SELECT request_sha256, response_status, response_headers, response_body
             FROM idempotency WHERE account_id = $1 AND route = $2 AND key = $3",
        )
        .bind(account)
        .bind(route)
        .bind(&key.0)
        .fetch_one(self.db())
        .await?;
        let (sha256, status, headers, body) = row;
        if sha256 != request.0 {
            return Err(StoreError::IdempotencyKeyReused);
        }
        // Without an answer it is this very transaction's claim, made twice.
        let (Some(status), Some(Json(headers)), Some(body)) = (status, headers, body) else {
            return Err(StoreError::RequestInFlight);
        };
        let status = u16::try_from(status).map_err(|_| StoreError::corrupt("idempotency.response_status"))?;
        let sealed = Sealed {
            column: Column::IdempotencyResponseBody,
            row: row_of(account, route, key),
            version: WRITTEN_ONCE,
            patient: None,
            bytes: &body,
        };
        let body = self.open(&sealed).await?.to_vec();
        Ok(StoredResponse {
            status,
            headers,
            body: Phi::new(body),
        })
    }

    /// Stores the answer that will be sent after the commit.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn idempotency_answer(&mut self, ticket: Ticket, response: &StoredResponse) -> Result<()> {
        let Ticket { account, route, key } = ticket;
        // The clinic's key: an answer may be about anyone, and is gone within a day.
        let body = self
            .seal(
                Column::IdempotencyResponseBody,
                row_of(account, route, &key),
                WRITTEN_ONCE,
                Owner::Clinic,
                response.body.expose(),
            )
            .await?;
        // An answer about somebody goes when they do.
        let about = self.about;
        sqlx::query(
            "UPDATE idempotency SET response_status = $4, response_headers = $5, response_body = $6, patient_id = $7
             WHERE account_id = $1 AND route = $2 AND key = $3",
        )
        .bind(account)
        .bind(route)
        .bind(&key.0)
        .bind(i16::try_from(response.status).map_err(|_| StoreError::corrupt("idempotency.response_status"))?)
        .bind(Json(&response.headers))
        .bind(body)
        .bind(about.map(|patient| patient.as_uuid()))
        .execute(self.db())
        .await?;
        Ok(())
    }
}

/// A stored answer has a key of three parts; this stands for it where one id is wanted.
fn row_of(account: Uuid, route: &str, key: &IdempotencyKey) -> Uuid {
    let digest = RequestDigest::of(&[account.as_bytes(), route.as_bytes(), key.0.as_bytes()]);
    Uuid::from_slice(&digest.0[..16]).expect("sixteen bytes of a SHA-256")
}
