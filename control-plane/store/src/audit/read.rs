//! Reading the log back, trusting nothing of it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use medmesh_base::AuditId;
use medmesh_clinic::audit::{Event, SALT_BYTES};
use medmesh_tlog::Hash;
use sqlx::FromRow;
use time::OffsetDateTime;
use uuid::Uuid;

use super::seal;
use super::tree::{made_at, unsigned};
use crate::keys::Opener;
use crate::{Result, StoreError, Tx};

/// Leaves read by one call.
pub const AUDIT_READ_MAX: u32 = 4_096;

/// Leaves without a place looked at, at most: more than the sequencer leaves waiting.
const UNPLACED_MAX: i64 = 65_536;

/// A leaf as it was found.
#[derive(Clone, Debug)]
pub struct AuditLeaf {
    /// Its place in the tree, once it has one.
    pub tree_index: Option<u64>,
    /// Which.
    pub id: AuditId,
    /// What it holds, or what is wrong with it.
    pub content: Result<AuditContent, LeafFault>,
    /// Whether it waits for a place.
    pub is_pending: bool,
}

impl AuditLeaf {
    /// When it was written, as its id says.
    #[must_use]
    pub fn written_at(&self) -> Option<OffsetDateTime> {
        made_at(self.id.as_uuid())
    }
}

/// A leaf that is sound in itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditContent {
    /// What happened.
    pub event: Event,
    /// The event's canonical encoding.
    pub encoding: Vec<u8>,
    /// The salt of the commitment.
    pub salt: [u8; SALT_BYTES],
    /// SHA-256 over salt and encoding: the tree's leaf.
    pub commitment: Hash,
}

/// What is wrong with a leaf, whatever the tree says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeafFault {
    /// It has a place and is gone.
    #[error("the leaf is gone")]
    Missing,
    /// Nobody who had the clinic's key wrote this.
    #[error("the sealed event was not written by us, or for another leaf")]
    Sealed,
    /// What was sealed is no event.
    #[error("the sealed event cannot be read")]
    Encoding,
    /// The event is not the one that was committed to.
    #[error("the event is not what the leaf commits to")]
    Commitment,
    /// A column says something else than the event.
    #[error("the row says something else than its sealed event")]
    Columns,
}

/// What opens sealed events, by the version of the clinic's key.
pub(super) struct Openers(HashMap<u32, Option<Opener>>);

impl Openers {
    fn of(&self, bytes: &[u8]) -> Option<&Opener> {
        self.0.get(&seal::key_version(bytes)?)?.as_ref()
    }

    /// A sealed event of a leaf; `None` for one that was not written by us, which verifying tells.
    pub(super) fn event(&self, leaf: Uuid, bytes: &[u8]) -> Option<Event> {
        let opened = seal::open(self.of(bytes)?, leaf, bytes).ok()?;
        Event::decode(&opened.encoding).ok()
    }
}

#[derive(FromRow)]
struct Row {
    tree_index: Option<i64>,
    leaf_id: Uuid,
    is_pending: bool,
    clinic_id: Option<Uuid>,
    at: Option<OffsetDateTime>,
    actor_kind: Option<String>,
    actor_id: Option<Uuid>,
    session_id: Option<Uuid>,
    action: Option<String>,
    object_kind: Option<String>,
    object_id: Option<Uuid>,
    patient_id: Option<Uuid>,
    purpose: Option<String>,
    request_id: Option<Uuid>,
    break_glass_id: Option<Uuid>,
    denied_action: Option<String>,
    denied_reason: Option<String>,
    sealed: Option<Vec<u8>>,
    commitment: Option<Vec<u8>>,
}

macro_rules! select {
    ($head:literal, $tail:literal) => {
        concat!(
            "SELECT ",
            $head,
            ", a.clinic_id, a.at, a.actor_kind, a.actor_id, a.session_id, a.action, a.object_kind,
                 a.object_id, a.patient_id, a.purpose, a.request_id, a.break_glass_id, a.denied_action,
                 a.denied_reason, a.sealed, a.commitment ",
            $tail
        )
    };
}

impl Row {
    fn check(self, opener: Option<&Opener>) -> Result<AuditContent, LeafFault> {
        let (Some(sealed), Some(commitment)) = (&self.sealed, &self.commitment) else {
            return Err(LeafFault::Missing);
        };
        let opened = opener.and_then(|opener| seal::open(opener, self.leaf_id, sealed).ok());
        let opened = opened.ok_or(LeafFault::Sealed)?;
        if opened.commitment().0.as_slice() != commitment.as_slice() {
            return Err(LeafFault::Commitment);
        }
        let event = Event::decode(&opened.encoding).map_err(|_| LeafFault::Encoding)?;
        let commitment = opened.commitment();
        let found = self.event(&event).ok_or(LeafFault::Columns)?;
        if found == event {
            Ok(AuditContent {
                event,
                commitment,
                salt: opened.salt,
                encoding: opened.encoding,
            })
        } else {
            Err(LeafFault::Columns)
        }
    }

    /// The event as the plain columns have it; what has no column is `sealed`'s.
    fn event(self, sealed: &Event) -> Option<Event> {
        Some(Event {
            clinic_id: self.clinic_id?,
            id: self.leaf_id,
            at: self.at?,
            actor_kind: self.actor_kind?,
            actor_id: self.actor_id,
            session_id: self.session_id,
            action: self.action?,
            object_kind: self.object_kind?,
            object_id: self.object_id,
            patient_id: self.patient_id,
            purpose: self.purpose?,
            request_id: self.request_id?,
            break_glass_id: self.break_glass_id,
            denied_action: self.denied_action,
            denied_reason: self.denied_reason,
            roles: sealed.roles.clone(),
        })
    }
}

impl Tx {
    /// Leaves with a place, from `from` on, in order, at most [`AUDIT_READ_MAX`].
    ///
    /// # Errors
    /// When the database or the keys fail. A leaf that is wrong is not an error of this call.
    pub async fn audit_leaves(&mut self, from: u64) -> Result<Vec<AuditLeaf>> {
        let rows: Vec<Row> = sqlx::query_as(select!(
            "o.tree_index, o.leaf_id, false AS is_pending",
            "FROM audit_order o LEFT JOIN audit a ON a.clinic_id = o.clinic_id AND a.id = o.leaf_id
             WHERE o.clinic_id = $1 AND o.tree_index >= $2 ORDER BY o.tree_index LIMIT $3"
        ))
        .bind(self.clinic())
        .bind(i64::try_from(from).map_err(|_| StoreError::corrupt("audit_order.tree_index"))?)
        .bind(i64::from(AUDIT_READ_MAX))
        .fetch_all(self.db())
        .await?;
        self.audit_check(rows).await
    }

    /// One leaf.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn audit_leaf(&mut self, id: AuditId) -> Result<AuditLeaf> {
        let rows: Vec<Row> = sqlx::query_as(select!(
            "o.tree_index, a.id AS leaf_id, o.tree_index IS NULL AS is_pending",
            "FROM audit a LEFT JOIN audit_order o ON o.clinic_id = a.clinic_id AND o.leaf_id = a.id
             WHERE a.clinic_id = $1 AND a.id = $2"
        ))
        .bind(self.clinic())
        .bind(id.as_uuid())
        .fetch_all(self.db())
        .await?;
        let mut leaves = self.audit_check(rows).await?;
        leaves.pop().ok_or(StoreError::NotFound)
    }

    /// Leaves without a place, and places waited for without a leaf. One look: the sequencer
    /// moves leaves between the tables meanwhile.
    ///
    /// # Errors
    /// As [`Tx::audit_leaves`].
    pub async fn audit_unplaced(&mut self) -> Result<Vec<AuditLeaf>> {
        let rows: Vec<Row> = sqlx::query_as(select!(
            "NULL::bigint AS tree_index, coalesce(a.id, p.leaf_id) AS leaf_id, p.leaf_id IS NOT NULL AS is_pending",
            "FROM (SELECT * FROM audit WHERE clinic_id = $1) a
             FULL JOIN (SELECT * FROM audit_pending WHERE clinic_id = $1) p ON p.leaf_id = a.id
             WHERE p.leaf_id IS NOT NULL
                 OR NOT EXISTS (SELECT FROM audit_order o WHERE o.clinic_id = $1 AND o.leaf_id = a.id)
             ORDER BY 2 LIMIT $2"
        ))
        .bind(self.clinic())
        .bind(UNPLACED_MAX)
        .fetch_all(self.db())
        .await?;
        self.audit_check(rows).await
    }

    /// How far the clinic's tree is, as the database has it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn audit_tree(&mut self) -> Result<Option<super::AuditTree>> {
        let clinic_id = self.clinic_id();
        let row: Option<(i64, i64, Option<String>)> =
            sqlx::query_as("SELECT size, published_size, note FROM audit_tree WHERE clinic_id = $1")
                .bind(clinic_id.as_uuid())
                .fetch_optional(self.db())
                .await?;
        row.map(|(size, published_size, note)| {
            Ok(super::AuditTree {
                clinic_id,
                size: unsigned(size)?,
                published_size: unsigned(published_size)?,
                note,
            })
        })
        .transpose()
    }

    /// How many leaves have a place.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn audit_places(&mut self) -> Result<u64> {
        let clinic = self.clinic();
        let count: i64 = sqlx::query_scalar("SELECT count(*) FROM audit_order WHERE clinic_id = $1")
            .bind(clinic)
            .fetch_one(self.db())
            .await?;
        unsigned(count)
    }

    async fn audit_check(&mut self, rows: Vec<Row>) -> Result<Vec<AuditLeaf>> {
        let sealed: Vec<_> = rows
            .iter()
            .filter_map(|row| Some((row.leaf_id, row.sealed.as_deref()?)))
            .collect();
        let openers = self.audit_openers(&sealed).await?;
        let checked = rows.into_iter().map(|row| {
            let opener = row.sealed.as_deref().and_then(|bytes| openers.of(bytes));
            Ok(AuditLeaf {
                tree_index: row.tree_index.map(unsigned).transpose()?,
                id: AuditId::from_uuid(row.leaf_id),
                is_pending: row.is_pending,
                content: row.check(opener),
            })
        });
        checked.collect()
    }

    /// What opens these sealed events. An envelope that names no key we have does not stop the rest from
    /// being opened.
    pub(super) async fn audit_openers(&mut self, sealed: &[(Uuid, &[u8])]) -> Result<Openers> {
        let mut openers = HashMap::new();
        for (leaf, bytes) in sealed {
            let Some(version) = seal::key_version(bytes) else {
                continue;
            };
            if let Entry::Vacant(entry) = openers.entry(version) {
                entry.insert(match self.opener([seal::place(*leaf, bytes)]).await {
                    Ok(opener) => Some(opener),
                    Err(error @ StoreError::Unavailable(_)) => return Err(error),
                    Err(_) => None,
                });
            }
        }
        Ok(Openers(openers))
    }
}
