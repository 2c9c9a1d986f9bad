//! `medmesh-control cluster-init`: the files all control nodes share.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::Context as _;
use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use medmesh_link::ClusterCa;
use medmesh_vault::ClusterSecret;
use medmesh_vault::kms::{FileKms, Unlock};
use time::OffsetDateTime;

/// Random bytes in an operator token.
const OPERATOR_TOKEN_BYTES: usize = 32;

/// Makes `cluster.secret`, `ca.pem`, `ca.key`, `operator.token` and the embedded KMS's
/// `vault.unlock` and `vault.keys` in `dir` where they are missing; what is there stays, so doing it again is harmless.
///
/// # Errors
/// When a file cannot be written, or an existing one is not what its name says.
pub fn init(dir: &Path, cluster: &str) -> anyhow::Result<()> {
    std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    ClusterSecret::load_or_create(&dir.join("cluster.secret"))?;
    let (cert_file, key_file) = (dir.join("ca.pem"), dir.join("ca.key"));
    let cluster = cluster
        .parse()
        .context("not a cluster name: 1 to 32 of a-z, 0-9 and '-' expected")?;
    if cert_file.exists() {
        ClusterCa::load(cluster, &cert_file, &key_file).context("the CA in this directory is not usable")?;
    } else {
        ClusterCa::create(cluster, OffsetDateTime::now_utc())?.save(&cert_file, &key_file)?;
    }
    let unlock = Unlock::credential_file_or_create(&dir.join("vault.unlock"))?;
    FileKms::load_or_create(&dir.join("vault.keys"), &unlock)?;
    operator_token(&dir.join("operator.token"))
}

fn operator_token(path: &Path) -> anyhow::Result<()> {
    let mut bytes = [0; OPERATOR_TOKEN_BYTES];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| anyhow::anyhow!("no randomness"))?;
    match OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
    {
        Ok(mut file) => {
            file.write_all(BASE64_URL_SAFE_NO_PAD.encode(bytes).as_bytes())?;
            Ok(file.sync_all()?)
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error).with_context(|| format!("cannot write {}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    #[test]
    fn a_second_init_keeps_every_key() {
        let dir = tempfile::tempdir().unwrap();
        let read = || {
            [
                "cluster.secret",
                "ca.pem",
                "ca.key",
                "operator.token",
                "vault.unlock",
                "vault.keys",
            ]
            .map(|name| fs::read(dir.path().join(name)).unwrap())
        };
        super::init(dir.path(), "north").unwrap();
        let first = read();
        super::init(dir.path(), "north").unwrap();
        assert_eq!(first, read());
        assert!(
            super::init(dir.path(), "south").is_err(),
            "another cluster's CA must be refused"
        );
        assert!(super::init(dir.path(), "Not A Name").is_err());
    }
}
