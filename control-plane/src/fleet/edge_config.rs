//! What an edge needs to work with the control plane gone. Pure, but for the secrets.

use std::collections::BTreeMap;

use medmesh_base::EdgeId;
use medmesh_ledger::{Edge, State};
use medmesh_vault::{ClusterSecret, Jwks};
use medmesh_wire::fleet::{EdgeConfig, PeerEdge, TurnSecret};

/// The part that is the same for every edge; made once per change, not once per edge.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SharedConfig {
    config: EdgeConfig,
    /// Edges that are cordoned or draining; both are rare.
    flagged: BTreeMap<EdgeId, Flags>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Flags {
    cordoned: bool,
    draining: bool,
}

impl SharedConfig {
    /// Derives it from the ledger as of `version`, the log index it was read at:
    /// the same number on every control node, so that an edge can tell an older
    /// configuration from a newer one whoever sent it.
    #[must_use]
    pub fn derive(state: &State, version: u64, secret: &ClusterSecret, origins: &[String]) -> Self {
        let turn = &state.turn;
        let epochs = std::iter::once(turn.current)
            .filter(|current| *current > 0)
            .chain(turn.previous);
        let config = EdgeConfig {
            version,
            jwks: Jwks::from_keys(state.token_keys.values().map(|key| key.jwk.as_str())).to_json(),
            turn_secrets: epochs
                .map(|epoch| TurnSecret {
                    epoch,
                    secret: secret.turn_secret(epoch).as_bytes().to_vec(),
                })
                .collect(),
            peers: state
                .edges
                .iter()
                .map(|(edge, known)| PeerEdge {
                    edge_id: edge.to_vec(),
                    name: known.descriptor.name.clone(),
                    region: known.descriptor.region.to_string(),
                    link_address: known.descriptor.link_address.clone(),
                })
                .collect(),
            cordoned: false,
            draining: false,
            revoked_jti: state.revocations.keys().cloned().collect(),
            allowed_origins: origins.to_vec(),
            removed_edges: state.removed.keys().map(EdgeId::to_vec).collect(),
        };
        let flagged = state
            .edges
            .iter()
            .filter(|(_, known)| known.cordoned || known.draining);
        let flags = |known: &Edge| Flags {
            cordoned: known.cordoned,
            draining: known.draining,
        };
        Self {
            config,
            flagged: flagged.map(|(edge, known)| (*edge, flags(known))).collect(),
        }
    }

    /// The configuration of one edge.
    #[must_use]
    pub fn for_edge(&self, edge: EdgeId) -> EdgeConfig {
        let mut config = self.config.clone();
        let own = edge.to_vec();
        config.peers.retain(|peer| peer.edge_id != own);
        let flags = self.flagged.get(&edge).copied().unwrap_or_default();
        config.cordoned = flags.cordoned;
        config.draining = flags.draining;
        config
    }
}

/// Whether two configurations differ in more than their version.
#[must_use]
pub(super) fn differs(a: &EdgeConfig, b: &EdgeConfig) -> bool {
    let mut same_version = b.clone();
    same_version.version = a.version;
    *a != same_version
}
