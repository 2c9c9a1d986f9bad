//! Machines of a clinic: registered by an admin, let in for minutes at a time.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::{digest, rand};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use medmesh_base::{ClientId, ClientKeyId, ClientTokenId, ClinicId};
use medmesh_clinic::audit::{Action, ObjectKind};
use medmesh_clinic::client::{
    ACCESS_TOKEN_LIFETIME, Assertion, Client, ClientChange, ClientKey, ClientKeys, NewClient, Scope, Scopes,
};
use medmesh_clinic::{Actor, ClientCaller, Refusal, Version, authz};
use serde_json::{Map, Value};
use sqlx::types::Json;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::error::matching;
use crate::relationship::Target;
use crate::{Cursor, Page, PageRequest, Result, Store, StoreError, Tx};

/// Most machines of one clinic: a large hospital's systems, each with a test beside it.
pub const CLIENTS_MAX: i64 = 200;
/// Most live tokens of one machine; one more ends the oldest. Each instance of it needs one.
pub const TOKENS_MAX: i64 = 100;

const TOKEN_BYTES: usize = 32;
/// Begins every access token, so that none is taken for a session and tools find one that leaked.
const TOKEN_PREFIX: &str = "mm_at_";

/// What a machine shows with each request. Never stored, never formatted by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessToken([u8; TOKEN_BYTES]);

impl AccessToken {
    /// A fresh token.
    #[must_use]
    pub fn generate() -> Self {
        let mut bytes = [0; TOKEN_BYTES];
        rand::fill(&mut bytes).expect("the system has random bytes");
        Self(bytes)
    }

    /// The text that is sent.
    #[must_use]
    pub fn expose(&self) -> String {
        format!("{TOKEN_PREFIX}{}", URL_SAFE_NO_PAD.encode(self.0))
    }

    fn sha256(&self) -> Vec<u8> {
        digest::digest(&digest::SHA256, &self.0).as_ref().to_vec()
    }
}

impl FromStr for AccessToken {
    type Err = StoreError;

    /// Reads what was sent.
    fn from_str(text: &str) -> Result<Self> {
        let encoded = text.strip_prefix(TOKEN_PREFIX).ok_or(StoreError::NotFound)?;
        let bytes = URL_SAFE_NO_PAD
            .decode(encoded)
            .map_err(|_| StoreError::NotFound)?;
        bytes.try_into().map(Self).map_err(|_| StoreError::NotFound)
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessToken(…)")
    }
}

/// A machine that is let in, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientAccess {
    /// The clinic it is of.
    pub clinic_id: ClinicId,
    /// The machine and what it may now, for [`Store::begin`].
    pub caller: ClientCaller,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    name: String,
    scopes: Vec<String>,
    enabled: bool,
    created_at: OffsetDateTime,
    last_used_at: Option<OffsetDateTime>,
    version: i64,
    jwks: Json<Vec<Map<String, Value>>>,
}

macro_rules! client_rows {
    ($tail:literal) => {
        concat!(
            "SELECT c.id, c.name, c.scopes, c.enabled, c.created_at, c.last_used_at, c.version,
                 (SELECT coalesce(jsonb_agg(k.jwk ORDER BY k.id), '[]') FROM oauth_client_key k
                  WHERE k.clinic_id = c.clinic_id AND k.client_id = c.id) AS jwks
             FROM oauth_client c ",
            $tail
        )
    };
}

impl Store {
    /// The clinic whose machine that is; `None` when it is nobody's.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn client_clinic(&self, id: ClientId) -> Result<Option<ClinicId>> {
        let clinic: Option<Uuid> = sqlx::query_scalar("SELECT oauth_client_lookup($1)")
            .bind(id.as_uuid())
            .fetch_one(&self.pool)
            .await?;
        Ok(clinic.map(ClinicId::from_uuid))
    }

    /// The machine behind an access token; `None` when the token is unknown or its time is over, when
    /// the key it was obtained with is gone, or the machine is shut out.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn client_resume(
        &self,
        token: &AccessToken,
        now: OffsetDateTime,
    ) -> Result<Option<ClientAccess>> {
        let row: Option<(Uuid, Uuid, Uuid, Vec<String>)> =
            sqlx::query_as("SELECT clinic_id, client_id, token_id, scopes FROM oauth_token_lookup($1, $2)")
                .bind(token.sha256())
                .bind(now)
                .fetch_optional(&self.pool)
                .await?;
        row.map(|(clinic, client, token, scopes)| {
            Ok(ClientAccess {
                clinic_id: ClinicId::from_uuid(clinic),
                caller: ClientCaller {
                    client_id: ClientId::from_uuid(client),
                    token_id: ClientTokenId::from_uuid(token),
                    scopes: scopes_from(&scopes)?,
                },
            })
        })
        .transpose()
    }
}

impl Tx {
    /// Registers a machine.
    ///
    /// # Errors
    /// [`StoreError::Denied`]; [`Refusal::TooManyClients`].
    pub async fn client_create(&mut self, new: &NewClient) -> Result<Client> {
        self.authorise(authz::Action::ClientCreate, Target::Clinic)
            .await?;
        let (id, clinic, now, by) = (
            ClientId::generate(),
            self.clinic(),
            self.now(),
            self.own_person()?,
        );
        // Two at once queue here, so that the count holds.
        sqlx::query("SELECT FROM clinic FOR UPDATE")
            .execute(self.db())
            .await?;
        let held: i64 = sqlx::query_scalar("SELECT count(*) FROM oauth_client")
            .fetch_one(self.db())
            .await?;
        if held >= CLIENTS_MAX {
            return Err(Refusal::TooManyClients.into());
        }
        sqlx::query(
            "INSERT INTO oauth_client (clinic_id, id, name, scopes, created_by, created_at)
             VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(clinic)
        .bind(id.as_uuid())
        .bind(new.name.as_str())
        .bind(words(new.scopes))
        .bind(by.as_uuid())
        .bind(now)
        .execute(self.db())
        .await?;
        self.client_keys_insert(id, new.keys.as_slice().iter()).await?;
        self.audit(Action::ClientCreate, id, None).await?;
        Ok(Client {
            id,
            name: new.name.as_str().to_owned(),
            scopes: new.scopes,
            keys: new.keys.clone(),
            enabled: true,
            created_at: now,
            last_used_at: None,
            version: Version(1),
        })
    }

    /// The clinic's machines, oldest first.
    ///
    /// # Errors
    /// [`StoreError::Denied`].
    pub async fn client_list(&mut self, page: PageRequest) -> Result<Page<Client>> {
        self.authorise_listing(authz::Action::ClientList).await?;
        let rows: Vec<Row> = sqlx::query_as(client_rows!(
            "WHERE ($1::uuid IS NULL OR c.id > $1) ORDER BY c.id LIMIT $2"
        ))
        .bind(page.id())
        .bind(page.fetch())
        .fetch_all(self.db())
        .await?;
        let page = Page::of(rows, page, |row| Cursor::by_id(row.id)).try_map(client_from)?;
        let leaves: Vec<_> = page
            .items
            .iter()
            .map(|client| (client.id.into(), None, None))
            .collect();
        self.audit_each_or_none(Action::ClientRead, ObjectKind::Client, &leaves)
            .await?;
        Ok(page)
    }

    /// One of the clinic's machines.
    ///
    /// # Errors
    /// [`StoreError::Denied`], [`StoreError::NotFound`].
    pub async fn client_get(&mut self, id: ClientId) -> Result<Client> {
        self.authorise(authz::Action::ClientGet, Target::Clinic).await?;
        let client = self.client_find(id).await?.ok_or(StoreError::NotFound)?;
        self.audit(Action::ClientRead, id, None).await?;
        Ok(client)
    }

    /// Changes a machine. From the commit on the next request under a token feels it, on every node.
    ///
    /// # Errors
    /// [`StoreError::VersionMismatch`], [`StoreError::Denied`], [`StoreError::NotFound`].
    pub async fn client_update(
        &mut self,
        id: ClientId,
        if_match: Version,
        change: &ClientChange,
    ) -> Result<Client> {
        self.authorise(authz::Action::ClientUpdate, Target::Clinic)
            .await?;
        let row: Option<Row> = sqlx::query_as(client_rows!("WHERE c.id = $1 FOR UPDATE OF c"))
            .bind(id.as_uuid())
            .fetch_optional(self.db())
            .await?;
        let before = client_from(row.ok_or(StoreError::NotFound)?)?;
        matching(if_match, before.version.0)?;
        let after = Client {
            id,
            name: change
                .name
                .as_ref()
                .map_or_else(|| before.name.clone(), |name| name.as_str().to_owned()),
            scopes: change.scopes.unwrap_or(before.scopes),
            keys: change.keys.clone().unwrap_or_else(|| before.keys.clone()),
            enabled: change.enabled.unwrap_or(before.enabled),
            created_at: before.created_at,
            last_used_at: before.last_used_at,
            version: Version(before.version.0 + 1),
        };
        sqlx::query(
            "UPDATE oauth_client SET name = $2, scopes = $3, enabled = $4, version = $5 WHERE id = $1",
        )
        .bind(id.as_uuid())
        .bind(&after.name)
        .bind(words(after.scopes))
        .bind(after.enabled)
        .bind(after.version.0)
        .execute(self.db())
        .await?;
        self.client_keys_replace(id, &before.keys, &after.keys).await?;
        if before.enabled && !after.enabled {
            // Let in again one day, it begins anew.
            sqlx::query("DELETE FROM oauth_token WHERE client_id = $1")
                .bind(id.as_uuid())
                .execute(self.db())
                .await?;
        }
        for (action, happened) in [
            (Action::ClientKeysUpdate, before.keys != after.keys),
            (Action::ClientDisable, before.enabled && !after.enabled),
            (Action::ClientEnable, !before.enabled && after.enabled),
        ] {
            if happened {
                self.audit(action, id, None).await?;
            }
        }
        self.audit(Action::ClientUpdate, id, None).await?;
        Ok(after)
    }

    /// Those of the old set that are not in the new one go, with what was obtained with them; a key
    /// that is in both stays as it is. The same name for other numbers is another key.
    async fn client_keys_replace(
        &mut self,
        id: ClientId,
        before: &ClientKeys,
        after: &ClientKeys,
    ) -> Result<()> {
        let missing = |from: &ClientKeys, key: &ClientKey| from.get(key.id()) != Some(key);
        let gone: Vec<&str> = before
            .as_slice()
            .iter()
            .filter(|key| missing(after, key))
            .map(ClientKey::id)
            .collect();
        sqlx::query("DELETE FROM oauth_client_key WHERE client_id = $1 AND kid = ANY ($2)")
            .bind(id.as_uuid())
            .bind(gone)
            .execute(self.db())
            .await?;
        let added = after.as_slice().iter().filter(|key| missing(before, key));
        self.client_keys_insert(id, added).await
    }

    async fn client_keys_insert(
        &mut self,
        id: ClientId,
        keys: impl Iterator<Item = &ClientKey>,
    ) -> Result<()> {
        let (clinic, now) = (self.clinic(), self.now());
        for key in keys {
            sqlx::query(
                "INSERT INTO oauth_client_key (clinic_id, id, client_id, kid, jwk, added_at)
                 VALUES ($1, $2, $3, $4, $5, $6)",
            )
            .bind(clinic)
            .bind(ClientKeyId::generate().as_uuid())
            .bind(id.as_uuid())
            .bind(key.id())
            .bind(Json(key.to_jwk()))
            .bind(now)
            .execute(self.db())
            .await?;
        }
        Ok(())
    }

    /// A machine of this clinic, for checking what it says about itself.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn client_find(&mut self, id: ClientId) -> Result<Option<Client>> {
        let row: Option<Row> = sqlx::query_as(client_rows!("WHERE c.id = $1"))
            .bind(id.as_uuid())
            .fetch_optional(self.db())
            .await?;
        row.map(client_from).transpose()
    }

    /// Gives a machine that proved itself with this key a token for these scopes. `None` when the
    /// assertion was used before, on any node, or the key or the machine has gone meanwhile.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn client_token_create(
        &mut self,
        id: ClientId,
        key: &ClientKey,
        scopes: Scopes,
        assertion: &Assertion,
        token: &AccessToken,
    ) -> Result<Option<ClientCaller>> {
        if !self
            .use_once(used_as(id, &assertion.jti), assertion.until)
            .await?
        {
            return Ok(None);
        }
        let (clinic, now, token_id) = (self.clinic(), self.now(), ClientTokenId::generate());
        let made = sqlx::query(
            "INSERT INTO oauth_token (clinic_id, id, client_id, key_id, token_sha256, scopes, created_at, expires_at)
             SELECT $1, $2, c.id, k.id, $5, $6, $7, $8
             FROM oauth_client c JOIN oauth_client_key k ON k.clinic_id = c.clinic_id AND k.client_id = c.id
             WHERE c.id = $3 AND c.enabled AND k.kid = $4 AND k.jwk = $9",
        )
        .bind(clinic)
        .bind(token_id.as_uuid())
        .bind(id.as_uuid())
        .bind(key.id())
        .bind(token.sha256())
        .bind(words(scopes))
        .bind(now)
        .bind(now + ACCESS_TOKEN_LIFETIME)
        .bind(Json(key.to_jwk()))
        .execute(self.db())
        .await?;
        if made.rows_affected() != 1 {
            return Ok(None);
        }
        sqlx::query(
            "DELETE FROM oauth_token WHERE client_id = $1 AND id IN (
                 SELECT t.id FROM oauth_token t WHERE t.client_id = $1
                 ORDER BY t.expires_at DESC, t.id DESC OFFSET $2)",
        )
        .bind(id.as_uuid())
        .bind(TOKENS_MAX)
        .execute(self.db())
        .await?;
        // No version: whoever is changing the machine meanwhile has nothing to look at again.
        sqlx::query("UPDATE oauth_client SET last_used_at = $2 WHERE id = $1")
            .bind(id.as_uuid())
            .bind(now)
            .execute(self.db())
            .await?;
        let caller = ClientCaller {
            client_id: id,
            token_id,
            scopes,
        };
        self.actor = Actor::Client(caller);
        self.audit(Action::ClientToken, id, None).await?;
        Ok(Some(caller))
    }

    /// Records that somebody gave a machine's name and did not prove to be it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn client_refused(&mut self, id: ClientId) -> Result<()> {
        self.audit(Action::ClientRefused, id, None).await
    }

    /// What these machines are called.
    pub(crate) async fn clients_named(&mut self, ids: &[Uuid]) -> Result<Vec<(ClientId, String)>> {
        let rows: Vec<(Uuid, String)> =
            sqlx::query_as("SELECT id, name FROM oauth_client WHERE id = ANY ($1)")
                .bind(ids)
                .fetch_all(self.db())
                .await?;
        let named = rows.into_iter().map(|(id, name)| (ClientId::from_uuid(id), name));
        Ok(named.collect())
    }
}

/// What stands for one assertion of one machine: `jti` need only be its own.
fn used_as(id: ClientId, jti: &str) -> [u8; 32] {
    let text = format!("client assertion\n{id}\n{jti}");
    let digest = digest::digest(&digest::SHA256, text.as_bytes());
    digest.as_ref().try_into().expect("a SHA-256 has 32 bytes")
}

fn words(scopes: Scopes) -> Vec<&'static str> {
    scopes.iter().map(Scope::as_str).collect()
}

fn scopes_from(words: &[String]) -> Result<Scopes> {
    let scopes = words.iter().map(|word| {
        word.parse::<Scope>()
            .map_err(|_| StoreError::corrupt("oauth_client.scopes"))
    });
    scopes.collect()
}

fn client_from(row: Row) -> Result<Client> {
    Ok(Client {
        id: ClientId::from_uuid(row.id),
        name: row.name,
        scopes: scopes_from(&row.scopes)?,
        keys: ClientKeys::read(&row.jwks.0).map_err(|_| StoreError::corrupt("oauth_client_key.jwk"))?,
        enabled: row.enabled,
        created_at: row.created_at,
        last_used_at: row.last_used_at,
        version: Version(row.version),
    })
}
