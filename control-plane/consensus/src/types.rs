//! What openraft is told about us. Nothing in here is public.

use std::fmt;
use std::sync::Arc;

use medmesh_ledger::Response;
use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

openraft::declare_raft_types!(
    /// Standard Raft ids: at most one leader per term, which is what operators expect of a term.
    pub(crate) Types:
        D = Proposal,
        R = Reply,
        NodeId = u64,
        Node = Member,
        LeaderId = openraft::impls::leader_id_std::LeaderId<u64, u64>,
        AsyncRuntime = openraft_rt_tokio::TokioRuntime,
);

pub(crate) type Raft = openraft::Raft<Types, crate::machine::Machine>;
pub(crate) type Entry = openraft::type_config::alias::EntryOf<Types>;
pub(crate) type LogId = openraft::type_config::alias::LogIdOf<Types>;
pub(crate) type Vote = openraft::type_config::alias::VoteOf<Types>;
pub(crate) type Metrics = openraft::RaftMetrics<Types>;
pub(crate) type SnapshotMeta = openraft::type_config::alias::SnapshotMetaOf<Types>;
pub(crate) type Snapshot = openraft::type_config::alias::SnapshotOf<Types, SnapshotBytes>;
pub(crate) type StoredMembership = openraft::type_config::alias::StoredMembershipOf<Types>;

/// An encoded state; shared, because it is sent to several peers and written to disk.
pub(crate) type SnapshotBytes = bytes::Bytes;

/// One encoded ledger command (usually a batch). Shared between the log's
/// memory, the network and the state machine.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Proposal(pub(crate) Arc<[u8]>);

impl fmt::Debug for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proposal({} bytes)", self.0.len())
    }
}

impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl Serialize for Proposal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Proposal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = Proposal;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Proposal, E> {
                Ok(Proposal(bytes.into()))
            }
            fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Proposal, E> {
                Ok(Proposal(bytes.into()))
            }
        }
        deserializer.deserialize_bytes(Bytes)
    }
}

/// What applying an entry answered; `None` for entries that carry no command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reply(pub(crate) Option<Response>);

/// Where a member of the Raft group is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Member {
    /// `host:port` of its link.
    pub(crate) link_address: String,
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.link_address)
    }
}
