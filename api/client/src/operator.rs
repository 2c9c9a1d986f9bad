//! The operator's routes.

use medmesh_api_types::audit::{
    AuditAnnouncement, AuditLogHead, AuditProof, AuditResumeCreate, AuditVerification,
};
use medmesh_api_types::fleet::{
    EdgeNode, Explanation, FleetHeadroom, JoinToken, JoinTokenCreate, LearnerAdd, Nodes, Raft, RaftNode,
    Sessions,
};
use medmesh_api_types::job::Job;
use medmesh_api_types::key::{ErasuresHeld, KeyList, KeyRestored, KeyRotation, KeyRotationCreate};
use medmesh_api_types::page::List;
use medmesh_base::{AuditId, ClinicId, ControlId, EdgeId, JobId, RoomId, VisitId};

use reqwest::Method;
use reqwest::header::HeaderMap;

use crate::transport::{Transport, encode};
use crate::{ClientError, IdempotencyKey};

/// An operator at one control node. Any node will do: followers ask the leader.
#[derive(Clone, Debug)]
pub struct Operator {
    transport: Transport,
}

impl Operator {
    /// Speaks to the control node at `base_url` with the cluster's operator token.
    /// With `ca_pem` only certificates under it are trusted, else the system's.
    ///
    /// # Errors
    /// When an argument is unusable.
    pub fn new(base_url: &str, token: &str, ca_pem: Option<&[u8]>) -> Result<Self, ClientError> {
        Ok(Self {
            transport: Transport::new(base_url, Some(token), ca_pem)?,
        })
    }

    /// Every machine of the cluster.
    ///
    /// # Errors
    /// [`ClientError`], as for every call below.
    pub async fn nodes(&self) -> Result<Nodes, ClientError> {
        self.transport.get("/v1/fleet/nodes").await
    }

    /// The latest `limit` rooms, and totals.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn sessions(&self, limit: Option<u32>) -> Result<Sessions, ClientError> {
        let query = limit.map_or_else(String::new, |limit| format!("?limit={limit}"));
        self.transport.get(&format!("/v1/fleet/sessions{query}")).await
    }

    /// The Raft group.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn raft(&self) -> Result<Raft, ClientError> {
        self.transport.get("/v1/fleet/raft").await
    }

    /// Sends nobody new to an edge.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn edge_cordon(&self, edge: EdgeId) -> Result<(), ClientError> {
        self.transport
            .post(&format!("/v1/fleet/edges/{edge}/cordon"), &())
            .await
    }

    /// Sends people to an edge again.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn edge_uncordon(&self, edge: EdgeId) -> Result<(), ClientError> {
        self.transport
            .post(&format!("/v1/fleet/edges/{edge}/uncordon"), &())
            .await
    }

    /// Moves an edge's people away.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn edge_drain(&self, edge: EdgeId) -> Result<(), ClientError> {
        self.transport
            .post(&format!("/v1/fleet/edges/{edge}/drain"), &())
            .await
    }

    /// Ends a drain.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn edge_undrain(&self, edge: EdgeId) -> Result<(), ClientError> {
        self.transport
            .post(&format!("/v1/fleet/edges/{edge}/undrain"), &())
            .await
    }

    /// One edge.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn edge(&self, edge: EdgeId) -> Result<EdgeNode, ClientError> {
        self.transport.get(&format!("/v1/fleet/edges/{edge}")).await
    }

    /// Takes an edge out of the fleet; with `force` even while it carries people.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn edge_remove(&self, edge: EdgeId, force: bool) -> Result<(), ClientError> {
        self.transport
            .delete(&format!("/v1/fleet/edges/{edge}?force={force}"))
            .await
    }

    /// How many more people fit.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn headroom(&self) -> Result<FleetHeadroom, ClientError> {
        self.transport.get("/v1/fleet/headroom").await
    }

    /// Why the people of a room are where they are.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn explain(&self, room: RoomId) -> Result<Explanation, ClientError> {
        self.transport
            .get(&format!("/v1/fleet/rooms/{room}/explain"))
            .await
    }

    /// Why the people of a visit are where they are.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn visit_explain(&self, visit: VisitId) -> Result<Explanation, ClientError> {
        self.transport
            .get(&format!("/v1/fleet/visits/{visit}/explain"))
            .await
    }

    /// The witnessed heads of all audit logs.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn audit_logs(&self) -> Result<List<AuditLogHead>, ClientError> {
        self.transport.get("/v1/fleet/audit").await
    }

    /// Gives a clinic's audit log its next signing key.
    ///
    /// # Errors
    /// When the service refuses or is away.
    pub async fn audit_key_rotate(&self, clinic: ClinicId) -> Result<AuditAnnouncement, ClientError> {
        self.transport
            .post_patiently(&format!("/v1/fleet/audit/{clinic}/keys"))
            .await
    }

    /// Lets a clinic's audit log go on whose database was put back.
    ///
    /// # Errors
    /// When the service refuses or is away.
    pub async fn audit_resume(
        &self,
        clinic: ClinicId,
        reason: &str,
    ) -> Result<AuditAnnouncement, ClientError> {
        let body = AuditResumeCreate {
            reason: reason.to_owned(),
        };
        self.transport
            .post(&format!("/v1/fleet/audit/{clinic}/resume"), &body)
            .await
    }

    /// Has a clinic's audit log read again; takes as long as it takes.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn audit_verify(&self, clinic: ClinicId) -> Result<AuditVerification, ClientError> {
        self.transport
            .post_patiently(&format!("/v1/fleet/audit/{clinic}/verify"))
            .await
    }

    /// Proof of one leaf.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn audit_prove(&self, clinic: ClinicId, leaf: AuditId) -> Result<AuditProof, ClientError> {
        self.transport
            .get(&format!("/v1/fleet/audit/{clinic}/leaves/{leaf}/proof"))
            .await
    }

    /// Work that waits, runs or was given up; only the latter with `dead`.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn job_list(&self, dead: Option<bool>) -> Result<List<Job>, ClientError> {
        let query = dead.map_or_else(String::new, |dead| format!("?dead={dead}"));
        self.transport.get(&format!("/v1/fleet/jobs{query}")).await
    }

    /// Gives work that was given up its tries again.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn job_retry(&self, id: JobId) -> Result<(), ClientError> {
        self.transport
            .post(&format!("/v1/fleet/jobs/{id}/retry"), &())
            .await
    }

    /// Every key's versions, without a key.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn key_list(&self) -> Result<KeyList, ClientError> {
        self.transport.get("/v1/fleet/keys").await
    }

    /// Replaces a key.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn key_rotate(&self, wanted: &KeyRotationCreate) -> Result<KeyRotation, ClientError> {
        self.transport.post("/v1/fleet/keys/rotations", wanted).await
    }

    /// Accepts the keys of a database that was put back on purpose.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn key_restored(&self, clinic_id: ClinicId) -> Result<(), ClientError> {
        self.transport
            .post("/v1/fleet/keys/restored", &KeyRestored { clinic_id })
            .await
    }

    /// Holds the register of the erased against the database.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn erasure_enforce(&self) -> Result<ErasuresHeld, ClientError> {
        self.transport.post("/v1/fleet/erasures/enforce", &()).await
    }

    /// A token that lets one edge in, once; the same one for the same key.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn join_token_create(
        &self,
        key: &IdempotencyKey,
        life_seconds: Option<u32>,
    ) -> Result<JoinToken, ClientError> {
        let (headers, body) = (
            HeaderMap::from_iter([key.header()?]),
            JoinTokenCreate { life_seconds },
        );
        let path = "/v1/fleet/join-tokens";
        let answer = self
            .transport
            .send(Method::POST, path, headers, Some(encode(&body)?))
            .await?;
        answer.json()
    }

    /// Adds a node to the Raft group, without a vote.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn raft_add_learner(&self, node: ControlId, link_address: String) -> Result<Raft, ClientError> {
        self.transport
            .post("/v1/fleet/raft/add-learner", &LearnerAdd { node, link_address })
            .await
    }

    /// Gives a learner a vote.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn raft_promote(&self, node: ControlId) -> Result<Raft, ClientError> {
        self.transport
            .post("/v1/fleet/raft/promote", &RaftNode { node })
            .await
    }

    /// Takes a node out of the Raft group.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn raft_remove(&self, node: ControlId) -> Result<Raft, ClientError> {
        self.transport
            .post("/v1/fleet/raft/remove", &RaftNode { node })
            .await
    }
}
