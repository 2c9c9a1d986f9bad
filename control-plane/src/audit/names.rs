//! What a clinic's log is called and who signs its heads.

use medmesh_base::ClinicId;
use medmesh_tlog::note::Signer;
use medmesh_vault::ClusterSecret;

/// The keys of all logs of a cluster: each is derived, none is stored.
#[derive(Clone, Debug)]
pub struct LogKeys {
    cluster: String,
    secret: ClusterSecret,
}

impl LogKeys {
    /// Of a cluster.
    #[must_use]
    pub const fn new(cluster: String, secret: ClusterSecret) -> Self {
        Self { cluster, secret }
    }

    /// The log's name, first line of its checkpoints and name of its key.
    #[must_use]
    pub fn origin(&self, clinic: ClinicId) -> String {
        format!("medmesh/{}/audit/{clinic}", self.cluster)
    }

    /// Who signs the clinic's heads.
    #[must_use]
    pub fn signer(&self, clinic: ClinicId) -> Signer {
        Signer::from_seed(&self.origin(clinic), &self.secret.audit_seed(clinic))
            .expect("cluster names have neither spaces nor a plus")
    }
}
