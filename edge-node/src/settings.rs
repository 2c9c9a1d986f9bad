//! What the control plane last told this edge, parsed once and kept on disk, so
//! that an edge starts and admits people while the control plane is away.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, JwkSet};
use medmesh_base::EdgeId;
use medmesh_wire::fleet::EdgeConfig;
use parking_lot::Mutex;
use prost::Message as _;
use tokio::sync::watch;

use crate::files;

/// Name of the file in the data directory. It holds TURN secrets: mode 0600.
const FILE: &str = "edge-config.pb";
/// Most revoked token ids kept. Join tokens live a minute and resume tokens a visit;
/// a fleet that revokes more than this at once has lost a signing key and drops that instead.
const REVOKED_MAX: usize = 100_000;

/// An [`EdgeConfig`] as the edge uses it.
pub struct Settings {
    /// Counts up with each change.
    pub version: u64,
    /// Token issuers' keys by `kid`.
    pub keys: HashMap<String, DecodingKey>,
    /// TURN secrets, newest epoch first.
    pub turn_secrets: Vec<TurnSecret>,
    /// The other edges of the fleet.
    pub peers: Vec<Peer>,
    /// Take no new rooms.
    pub cordoned: bool,
    /// Move participants away.
    pub draining: bool,
    /// Tokens that are void before they expire.
    pub revoked: HashSet<String>,
    /// Edges whose certificates count no more.
    pub removed: Vec<EdgeId>,
    /// Origins browsers may call from.
    pub origins: HashSet<String>,
}

/// A secret of TURN credentials: the text whose HMAC is a password.
#[derive(Clone, PartialEq, Eq)]
pub struct TurnSecret {
    /// Counts up with each rotation.
    pub epoch: u64,
    /// The text.
    pub text: String,
}

/// Another edge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Which.
    pub edge: EdgeId,
    /// `host:port` to dial.
    pub link: String,
}

/// A pushed configuration this edge cannot use.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The JWKS does not parse.
    #[error("the key set is not a JSON Web Key Set")]
    Jwks,
    /// An id in it is no id.
    #[error("an edge id in it is not 16 bytes")]
    EdgeId,
    /// A TURN secret is not the text it should be.
    #[error("a TURN secret in it is not text")]
    TurnSecret,
    /// The stored copy does not parse.
    #[error("the stored configuration is damaged")]
    Damaged,
    /// Disk.
    #[error("cannot store the configuration")]
    File(#[from] std::io::Error),
}

impl Settings {
    /// Parses what the control plane sent. Keys that are not P-256 signing keys are left out.
    ///
    /// # Errors
    /// When the key set or an edge id is malformed.
    pub fn from_wire(wire: &EdgeConfig) -> Result<Self, SettingsError> {
        let mut turn_secrets = wire
            .turn_secrets
            .iter()
            .map(|secret| {
                let text = String::from_utf8(secret.secret.clone()).map_err(|_| SettingsError::TurnSecret)?;
                Ok(TurnSecret {
                    epoch: secret.epoch,
                    text,
                })
            })
            .collect::<Result<Vec<_>, SettingsError>>()?;
        turn_secrets.sort_by_key(|secret| std::cmp::Reverse(secret.epoch));
        let peers = wire
            .peers
            .iter()
            .map(|peer| {
                let edge = EdgeId::from_slice(&peer.edge_id).map_err(|_| SettingsError::EdgeId)?;
                Ok(Peer {
                    edge,
                    link: peer.link_address.clone(),
                })
            })
            .collect::<Result<_, SettingsError>>()?;
        Ok(Self {
            version: wire.version,
            keys: keys(&wire.jwks)?,
            turn_secrets,
            peers,
            cordoned: wire.cordoned,
            draining: wire.draining,
            revoked: wire.revoked_jti.iter().take(REVOKED_MAX).cloned().collect(),
            removed: wire
                .removed_edges
                .iter()
                .map(|edge| EdgeId::from_slice(edge).map_err(|_| SettingsError::EdgeId))
                .collect::<Result<_, SettingsError>>()?,
            origins: wire.allowed_origins.iter().cloned().collect(),
        })
    }
}

fn keys(jwks: &str) -> Result<HashMap<String, DecodingKey>, SettingsError> {
    if jwks.is_empty() {
        return Ok(HashMap::new());
    }
    let set: JwkSet = serde_json::from_str(jwks).map_err(|_| SettingsError::Jwks)?;
    let usable = set.keys.iter().filter_map(|jwk| {
        let AlgorithmParameters::EllipticCurve(curve) = &jwk.algorithm else {
            return None;
        };
        let key = (curve.curve == EllipticCurve::P256).then(|| DecodingKey::from_jwk(jwk).ok())??;
        Some((jwk.common.key_id.clone()?, key))
    });
    Ok(usable.collect())
}

/// The settings in force; readers hold a [`watch::Receiver`].
pub struct SettingsStore {
    file: PathBuf,
    sender: watch::Sender<Arc<Settings>>,
    /// One taker at a time: every control node sends the same news at the same moment.
    taking: Mutex<()>,
}

impl SettingsStore {
    /// Opens the store with what is on disk; with nothing there, nobody is admitted
    /// until the control plane has spoken.
    ///
    /// # Errors
    /// When a stored copy exists and cannot be read.
    pub fn open(data_dir: &Path) -> Result<Self, SettingsError> {
        let file = data_dir.join(FILE);
        let wire = match std::fs::read(&file) {
            Ok(bytes) => EdgeConfig::decode(bytes.as_slice()).map_err(|_| SettingsError::Damaged)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => EdgeConfig::default(),
            Err(error) => return Err(error.into()),
        };
        let (sender, _) = watch::channel(Arc::new(Settings::from_wire(&wire)?));
        Ok(Self {
            file,
            sender,
            taking: Mutex::new(()),
        })
    }

    /// A reader that sees every later change.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Arc<Settings>> {
        self.sender.subscribe()
    }

    /// The version in force.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.sender.borrow().version
    }

    /// Puts a newer configuration in force and on disk. Several control nodes send the
    /// same one, so an older or equal version is ignored; returns whether it was taken.
    ///
    /// # Errors
    /// When it is malformed or cannot be stored; the old one stays in force.
    pub fn apply(&self, wire: &EdgeConfig) -> Result<bool, SettingsError> {
        let _taking = self.taking.lock();
        if wire.version <= self.version() {
            return Ok(false);
        }
        let settings = Settings::from_wire(wire)?;
        files::write_private(&self.file, &wire.encode_to_vec())?;
        self.sender.send_replace(Arc::new(settings));
        Ok(true)
    }
}

/// Writes the file an edge starts from when no control node answers.
///
/// # Errors
/// When the file cannot be written.
pub fn write_stored(data_dir: &Path, wire: &EdgeConfig) -> std::io::Result<()> {
    files::write_private(&data_dir.join(FILE), &wire.encode_to_vec())
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use medmesh_wire::fleet::EdgeConfig;

    use super::SettingsStore;

    #[test]
    fn news_from_several_control_nodes_at_once_is_taken_once() {
        const NODES: usize = 5;
        let dir = tempfile::tempdir().unwrap();
        let store = SettingsStore::open(dir.path()).unwrap();
        for version in 1..=20 {
            let wire = EdgeConfig {
                version,
                ..EdgeConfig::default()
            };
            let together = Barrier::new(NODES);
            let takes = std::thread::scope(|scope| {
                let nodes = [(); NODES].map(|()| {
                    scope.spawn(|| {
                        together.wait();
                        store.apply(&wire).unwrap()
                    })
                });
                nodes.map(|node| node.join().unwrap())
            });
            assert_eq!(
                takes.iter().filter(|taken| **taken).count(),
                1,
                "version {version}"
            );
        }
        assert_eq!(SettingsStore::open(dir.path()).unwrap().version(), 20);
    }
}
